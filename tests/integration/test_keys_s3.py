"""Keys in an object store, which has no locks and no renaming."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.datastructures import Headers

from bigmodel.errors import RecipeError
from bigmodel.storage import Folder, folder
from serve.keyfile import add_key, read_keys, revoke_key
from serve.keys import KeyRing
from serve.problems import Problem


def test_a_key_there_lets_in_until_it_is_revoked(s3, monkeypatch):
    made = add_key(s3, "商城", scopes=["predict"], rate=5, days=1)
    ring = KeyRing(s3)
    sent = Headers({"Authorization": f"Bearer {made.written}"})
    assert ring.check(sent, "predict") == made.id
    assert read_keys(s3) == {made.id: made.key}
    reads = []
    read = Folder.read
    monkeypatch.setattr(Folder, "read", lambda *a: reads.append(a) or read(*a))
    other = add_key(s3, "别人", scopes=["metadata"])
    asyncio.run(ring.refresh())
    assert len(reads) == 1  # of the new one alone
    assert ring.check(Headers({"Authorization": f"Bearer {other.written}"}), "metadata") == other.id
    assert revoke_key(s3, made.id) == made.key
    asyncio.run(ring.refresh())
    with pytest.raises(Problem):
        ring.check(sent, "predict")
    with pytest.raises(RecipeError, match="no key has the id"):
        revoke_key(s3, made.id)


def test_changes_at_the_same_time_do_not_lose_each_other_there(s3):
    first = [add_key(s3, f"旧 {number}", scopes=["predict"]).id for number in range(5)]
    with ThreadPoolExecutor(4) as pool:
        revoked = [pool.submit(revoke_key, s3, key_id) for key_id in first]
        added = [
            pool.submit(add_key, s3, f"新 {number}", scopes=["predict"]) for number in range(10)
        ]
        new = {one.result().id for one in added}
        assert [one.result().name for one in revoked] == [f"旧 {number}" for number in range(5)]
    assert read_keys(s3).keys() == new


def test_a_damaged_key_there_is_told(s3):
    made = add_key(s3, "商城", scopes=["predict"])
    folder(s3).child(f"keys/{made.id}").write("key.json", b"{")
    with pytest.raises(RecipeError, match=f"keys/{made.id}/key.json.*damaged"):
        read_keys(s3)
