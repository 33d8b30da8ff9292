"""Keys: who gets in, what for and how often, and how they are kept."""

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

import serve.keys
from bigmodel.errors import RecipeError
from serve.keyfile import SCOPES, NewKey, add_key, had_keys, read_keys, revoke_key
from serve.keys import Bucket, KeyRing
from serve.problems import Problem


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "存储")


def headers(written: str | None) -> Headers:
    return Headers({} if written is None else {"Authorization": f"Bearer {written}"})


def refused(ring: KeyRing, written: str | None, scope: str = "predict") -> Problem:
    with pytest.raises(Problem) as caught:
        ring.check(headers(written), scope)
    return caught.value


def granted(ring: KeyRing, made: NewKey, num_asked: int) -> int:
    """How many of some requests at the same moment get in."""
    return sum(not _is_refused(ring, made) for _ in range(num_asked))


def _is_refused(ring: KeyRing, made: NewKey) -> bool:
    try:
        return ring.check(headers(made.written), "predict") != made.id
    except Problem as problem:
        assert problem.kind == "rate"
        return True


def test_a_key_lets_its_owner_in_and_says_who_it_is(storage):
    shop = add_key(storage, "商城", scopes=["predict"])
    ops = add_key(storage, "运维", scopes=SCOPES)
    ring = KeyRing(storage)
    assert ring.check(headers(shop.written), "predict") == shop.id
    assert ring.check(headers(ops.written), "metadata") == ops.id
    assert ring.check(Headers({"authorization": f"bearer  {ops.written} "}), "predict") == ops.id


def test_a_request_without_a_key_is_told_how_to_send_one(storage):
    ring = KeyRing(storage)
    for sent in (Headers({}), Headers({"Authorization": "Basic YTpi"})):
        with pytest.raises(Problem) as caught:
            ring.check(sent, "predict")
        problem = caught.value
        assert (problem.kind, problem.status) == ("no-key", 401)
        assert problem.headers == {"WWW-Authenticate": "Bearer"}


def malformed(made: NewKey) -> list[str]:
    _, key_id, secret = made.written.split("_")
    return [
        "",
        "bmk",
        "bmk_",
        "bmk__",
        f"bmk_{key_id}",
        f"bmk_{key_id}_",
        f"bmk_{key_id}_{secret}x",
        f"bmk_{key_id}_{secret[:-1]}",
        f"bmk_{key_id}_{secret.swapcase()}",
        f"bmk_{key_id.upper()}X_{secret}",
        f"bmk_00000000_{secret}",
        f"other_{key_id}_{secret}",
        f"bmk_{key_id}_{secret} bmk_{key_id}_{secret}",
        f"bmk_{key_id}_Ã©",
    ]


def test_a_wrong_key_is_401_whatever_is_wrong_with_it_at_one_hash_each(storage, monkeypatch):
    made = add_key(storage, "商城", scopes=["predict"])
    ring = KeyRing(storage)
    work = []
    digest, compare = serve.keys.digest, serve.keys.hmac.compare_digest
    monkeypatch.setattr(serve.keys, "digest", lambda secret: work.append("hash") or digest(secret))
    monkeypatch.setattr(
        serve.keys.hmac, "compare_digest", lambda a, b: work.append("compare") or compare(a, b)
    )
    for written in malformed(made):
        work.clear()
        problem = refused(ring, written)
        assert (problem.kind, problem.status) == ("wrong-key", 401), written
        assert problem.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        assert work == ["hash", "compare"], written
    work.clear()
    for number in range(1000):
        refused(ring, f"bmk_{number:08x}_{number}")
    assert len(work) == 2000
    ring.check(headers(made.written), "predict")
    assert len(work) == 2002  # the right one takes as much as a wrong one


def test_two_keys_at_once_are_none(storage):
    made = add_key(storage, "商城", scopes=["predict"])
    sent = Headers(raw=[(b"authorization", f"Bearer {made.written}".encode())] * 2)
    with pytest.raises(Problem) as caught:
        KeyRing(storage).check(sent, "predict")
    assert caught.value.kind == "wrong-key"


def test_a_key_reaches_as_far_as_its_scopes(storage):
    made = add_key(storage, "看板", scopes=["metadata"])
    ring = KeyRing(storage)
    assert ring.check(headers(made.written), "metadata") == made.id
    problem = refused(ring, made.written, "predict")
    assert (problem.kind, problem.status) == ("missing-scope", 403)
    assert 'scope="predict"' in problem.headers["WWW-Authenticate"]


def test_an_expired_key_is_401_from_its_second_on(storage):
    made = add_key(storage, "商城", scopes=["predict"], days=3)
    now = Clock(made.key.created.timestamp())
    ring = KeyRing(storage, now=now)
    now.at += 3 * 86_400 - 1
    assert ring.check(headers(made.written), "predict") == made.id and not ring.empty
    now.at += 1
    problem = refused(ring, made.written)
    assert (problem.kind, problem.status) == ("expired-key", 401)
    assert ring.empty


def test_who_does_not_know_the_secret_is_not_told_that_a_key_has_expired(storage):
    made = add_key(storage, "商城", scopes=["predict"], days=1)
    ring = KeyRing(storage, now=Clock(made.key.created.timestamp() + 1e6))
    assert refused(ring, f"bmk_{made.id}_猜".replace("猜", "guess")).kind == "wrong-key"


def test_a_ring_is_empty_until_there_is_a_key(storage):
    ring = KeyRing(storage)
    assert ring.empty and refused(ring, "bmk_00000000_x").status == 401
    made = add_key(storage, "商城", scopes=["predict"])
    asyncio.run(ring.refresh())
    assert not ring.empty and ring.check(headers(made.written), "predict") == made.id


# ---- how often


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_key_of_100_a_second_gets_100_in_each_second_and_others_are_untouched(storage, share):
    made = add_key(storage, "商城", scopes=["predict"], rate=100)
    other = add_key(storage, "别人", scopes=["predict"], rate=100)
    clock = Clock()
    ring = KeyRing(storage, clock=clock)
    ring.share = share
    seconds = []
    for _ in range(10):
        taken = 0
        for _ in range(400):  # 400 a second are asked for
            clock.at += 1 / 400
            taken += granted(ring, made, 1)
        seconds.append(taken)
    assert all(100 * share - 25 * share <= taken <= 100 * share + 25 * share for taken in seconds)
    assert granted(ring, other, 1) == 1


def test_in_no_window_of_a_second_more_is_granted_however_the_requests_come(storage):
    made = add_key(storage, "商城", scopes=["predict"], rate=100)
    clock = Clock()
    ring = KeyRing(storage, clock=clock)
    clock.at += 3600  # idle for an hour
    first = granted(ring, made, 500)
    clock.at += 0.5
    second = granted(ring, made, 500)
    clock.at += 0.49
    third = granted(ring, made, 500)
    assert first + second + third <= 125


def test_a_refused_request_says_when_to_come_back(storage):
    made = add_key(storage, "商城", scopes=["predict"], rate=0.25)
    clock = Clock()
    ring = KeyRing(storage, clock=clock)
    assert granted(ring, made, 1) == 1
    clock.at += 1.6  # the next one is granted in 2.4 s, and the header has whole seconds
    problem = refused(ring, made.written)
    assert (problem.kind, problem.status, problem.headers) == ("rate", 429, {"Retry-After": "3"})
    clock.at += 3
    assert granted(ring, made, 2) == 1


@given(
    rate=st.floats(0.001, 10_000),
    gaps=st.lists(st.floats(0, 50), min_size=1, max_size=30),
)
def test_who_waits_as_long_as_told_gets_in(rate, gaps):
    bucket, now = Bucket(), 0.0
    for gap in gaps:
        now += gap
        wait_s = bucket.take(rate, now)
        assert 0 <= wait_s <= 1 / rate + 1e-6
        if wait_s:
            now += wait_s
            assert bucket.take(rate, now) == 0


@given(
    rate=st.floats(0.1, 1000),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_a_bucket_never_grants_more_than_its_rate_and_one_burst(rate, gaps):
    bucket, now, taken = Bucket(), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(rate, now) == 0
    assert taken <= max(1, rate * serve.keys.BURST_S) + rate * (now - gaps[0]) + 0.01


def test_a_changed_share_counts_from_the_next_request_on(storage):
    made = add_key(storage, "商城", scopes=["predict"], rate=100)
    clock = Clock()
    ring = KeyRing(storage, clock=clock)
    ring.share = 0.25
    assert granted(ring, made, 100) == 5
    ring.share = 1.0
    clock.at += 1
    assert granted(ring, made, 100) == 20


def test_what_a_request_without_the_scope_asks_for_is_not_counted(storage):
    made = add_key(storage, "商城", scopes=["predict"], rate=1)
    ring = KeyRing(storage, clock=Clock())
    refused(ring, made.written, "metadata")
    assert granted(ring, made, 2) == 1


# ---- read again


def test_a_revoked_key_is_refused_after_the_next_look_and_the_others_keep_their_rate(storage):
    made = add_key(storage, "商城", scopes=["predict"])
    other = add_key(storage, "别人", scopes=["predict"], rate=1)
    ring = KeyRing(storage, clock=Clock())
    assert granted(ring, other, 1) == 1
    revoke_key(storage, made.id)
    asyncio.run(ring.refresh())
    assert refused(ring, made.written).kind == "wrong-key"
    assert granted(ring, other, 1) == 0


def test_the_keys_are_looked_at_again_and_again(storage):
    ring = KeyRing(storage)
    made = add_key(storage, "商城", scopes=["predict"])

    async def wait_for_it() -> None:
        task = asyncio.create_task(ring.keep_current(every_s=0.001))
        async with asyncio.timeout(20):
            while ring.empty:
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(wait_for_it())
    assert ring.check(headers(made.written), "predict") == made.id


def test_every_two_seconds_is_often_enough_to_refuse_a_revoked_key_within_five(
    storage, monkeypatch
):
    ring = KeyRing(storage)
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(serve.keys.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ring.keep_current())
    assert slept == [2.0] * 3


def test_nobody_has_access_once_the_file_is_deleted(storage):
    made = add_key(storage, "商城", scopes=["predict"])
    ring = KeyRing(storage)
    Path(storage, "keys").unlink()
    asyncio.run(ring.refresh())
    assert ring.empty and refused(ring, made.written).status == 401


@pytest.mark.parametrize("damage", ["wide", "cut", "empty", "other", "folder"])
def test_a_damaged_file_leaves_the_keys_as_they_were_and_is_logged_once(storage, damage, caplog):
    made = add_key(storage, "商城", scopes=["predict"])
    ring = KeyRing(storage)
    spoil(Path(storage, "keys"), damage)
    with caplog.at_level(logging.ERROR):
        asyncio.run(ring.refresh())
        asyncio.run(ring.refresh())
    assert ring.check(headers(made.written), "predict") == made.id
    (said,) = caplog.messages
    assert said.startswith(f"the keys stay as they were: {storage}")
    with pytest.raises(RecipeError):  # a new replica has no keys as they were
        KeyRing(storage)


def spoil(path: Path, damage: str) -> None:
    data = path.read_bytes()
    if damage == "wide":
        path.chmod(0o640)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        document = json.dumps(json.loads(data) | {"format": 2}).encode()
        path.write_bytes({"cut": data[:-20], "empty": b"", "other": document}[damage])


def test_no_fault_of_the_storage_ends_the_looking(storage, monkeypatch, caplog):
    made = add_key(storage, "商城", scopes=["predict"])
    ring = KeyRing(storage)
    monkeypatch.setattr(serve.keys, "read_keys", lambda *_: 1 / 0)
    asyncio.run(ring.refresh())
    assert caplog.messages == ["the keys stay as they were: ZeroDivisionError"]
    assert ring.check(headers(made.written), "predict") == made.id


# ---- kept


def test_the_file_holds_no_secret_and_only_its_owner_may_read_it(storage):
    made = add_key(storage, "商城", scopes=["predict"], rate=2.5, days=7)
    path = Path(storage, "keys")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.written.split("_")[2] not in path.read_text()
    document = json.loads(path.read_bytes())
    assert document["format"] == 1
    assert document["keys"][made.id].keys() == {
        "name", "sha256", "scopes", "rate", "created", "expires",
    }  # fmt: skip
    assert (made.key.expires - made.key.created).days == 7
    assert abs((datetime.now(UTC) - made.key.created).total_seconds()) < 60


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o610])
def test_a_file_that_others_can_reach_is_refused_with_the_way_to_mend_it(storage, mode):
    add_key(storage, "商城", scopes=["predict"])
    path = Path(storage, "keys")
    path.chmod(mode)
    for use in (read_keys, KeyRing, lambda it: add_key(it, "x", scopes=["predict"])):
        with pytest.raises(RecipeError, match=f"has mode {mode:04o}.*chmod 600 {path}"):
            use(storage)
    path.chmod(0o600)
    assert len(read_keys(storage)) == 1


def test_a_file_is_readable_by_its_owner_only_from_its_first_moment_on(storage, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda a, b: seen.append(stat.S_IMODE(os.stat(a).st_mode)) or replace(a, b)
    )
    before = os.umask(0)
    try:
        add_key(storage, "商城", scopes=["predict"])
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_a_write_that_fails_leaves_the_keys_and_nothing_beside_them(storage, monkeypatch):
    made = add_key(storage, "商城", scopes=["predict"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecipeError, match="No space left on device"):
        add_key(storage, "别人", scopes=["predict"])
    assert list(read_keys(storage)) == [made.id]
    assert os.listdir(storage) == ["keys"]


@pytest.mark.parametrize("name", ["", "长" * 101])
def test_a_key_that_can_not_be_is_a_sentence(storage, name):
    with pytest.raises(RecipeError, match="no such key can be made"):
        add_key(storage, name, scopes=["predict"])


CHANGES = """
import sys
from serve.keyfile import add_key, revoke_key
storage, who = sys.argv[1:]
for number in range(20):
    made = add_key(storage, f"{who} {number}", scopes=["predict"])
    if number % 2:
        revoke_key(storage, made.id)
"""


def test_of_two_that_change_the_keys_at_once_none_loses_the_others_changes(storage):
    command = [sys.executable, "-c", CHANGES, storage]
    both = [subprocess.Popen([*command, who]) for who in ("甲", "乙")]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    kept = sorted(key.name for key in read_keys(storage).values())
    assert kept == sorted(f"{who} {number}" for who in "甲乙" for number in range(0, 20, 2))


def test_where_keys_were_made_they_are_asked_for_also_when_all_are_revoked(tmp_path):
    assert not had_keys(str(tmp_path))
    made = add_key(str(tmp_path), "小王", scopes=SCOPES)
    revoke_key(str(tmp_path), made.id)
    assert had_keys(str(tmp_path)) and not read_keys(str(tmp_path))
