"""Checkpoints: whole or not there, the newest good one, and nothing that is damaged gets parsed."""

import itertools
import json
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.errors import ModelError
from bigmodel.storage import Folder, folder
from bigmodel.training import checkpoints
from bigmodel.training.checkpoints import Checkpoint, Checkpoints

FILES = ("state.safetensors", "state.json", "manifest.json")


def checkpoint(step: int) -> Checkpoint:
    """Every number in it follows from the step."""
    tensors = {"loop.value.": torch.full((40,), float(step)), "best.偏置": torch.arange(3) + step}
    return Checkpoint(step, tensors, {"history": [], "note": f"第 {step} 步"})


def same(one: Checkpoint, other: Checkpoint) -> bool:
    equal = all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    return equal and (one.step, one.about) == (other.step, other.about)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def kept(place: Path) -> Checkpoints:
    return Checkpoints(folder(place))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the steps 1 and 2; a test that damages them takes a copy."""
    place = tmp_path_factory.mktemp("whole") / "checkpoints"
    for step in (1, 2):
        Checkpoints(folder(place)).save(checkpoint(step))
    return place


def copied(whole: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(whole, place)


def test_what_is_saved_comes_back_and_two_are_kept(kept, place):
    assert kept.newest() == (None, [])
    for step in (3, 7, 20, 21):
        kept.save(checkpoint(step))
        found, wrong = kept.newest()
        assert same(found, checkpoint(step)) and not wrong
    assert kept.steps() == [20, 21]
    assert sorted(path.name for path in place.iterdir()) == ["0000000020", "0000000021"]


def test_the_older_one_stays_until_the_newer_one_has_been_read_back(kept, monkeypatch):
    for step in (1, 2):
        kept.save(checkpoint(step))

    def unreadable(*given, **named):
        raise ModelError("state.json is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "verified", unreadable)
        with pytest.raises(ModelError):
            kept.save(checkpoint(3))
    assert kept.steps() == [1, 2, 3]


def test_the_same_step_may_be_saved_again(kept):
    kept.save(checkpoint(5))
    kept.save(checkpoint(5))
    assert kept.steps() == [5] and same(kept.newest()[0], checkpoint(5))


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def exchange(path: Path) -> None:
    """For the file of the same name of the other checkpoint."""
    shutil.copy(path.parent.with_name("0000000001") / path.name, path)


def link(path: Path) -> None:
    """The right bytes, by way of another place."""
    elsewhere = path.parents[2] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("没有")


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE = {
    "deleted": Path.unlink,
    "nothing in it": lambda path: path.write_bytes(b""),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "of another checkpoint": exchange,
    "a link": link,
    "a link to nowhere": to_nowhere,
    "a folder": to_folder,
    "a pipe": to_fifo,
    "a pickle": lambda path: path.write_bytes(b"cos\nsystem\n(S'touch /tmp/no'\ntR."),
    "deep": lambda path: path.write_bytes(b"[" * 200_000),
}


def refused_before_parsing(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 2 isn't read, its damaged file is named, it is set aside, and step 1 is found."""
    parsed = []
    monkeypatch.setattr(checkpoints, "load", lambda data: parsed.append(data) or {})
    found, (wrong,) = Checkpoints(folder(place)).newest()
    assert found.step == 1 and len(parsed) == 1
    assert f"{place}/0000000002: " in wrong and name in wrong
    assert sorted(os.listdir(place)) == ["0000000001", "damaged-0000000002"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_set_aside_and_the_one_before_is_taken(
    damage, name, whole, place, monkeypatch
):
    copied(whole, place)
    DAMAGE[damage](place / "0000000002" / name)
    if (damage, name) == ("of another checkpoint", "manifest.json"):
        name = "state.json"  # the others are what doesn't fit then
    refused_before_parsing(place, name, monkeypatch)


def test_a_file_more_is_refused(whole, place, monkeypatch):
    (copied(whole, place) / "0000000002" / "权重.bin").write_bytes(b"1")
    refused_before_parsing(place, "权重.bin", monkeypatch)


def test_a_whole_one_under_another_name_is_refused(whole, place):
    copied(whole, place)
    shutil.rmtree(place / "0000000002")
    (place / "0000000001").rename(place / "0000000002")
    with pytest.raises(ModelError, match="state.json is of step 1; it isn't used"):
        Checkpoints(folder(place)).newest()


@pytest.mark.parametrize("name", FILES)
def test_one_that_was_cut_off_anywhere_is_refused(name, whole, place, monkeypatch):
    size = (whole / "0000000002" / name).stat().st_size
    for part in range(64):
        with monkeypatch.context() as patch:
            file = copied(whole, place) / "0000000002" / name
            file.write_bytes(file.read_bytes()[: size * part // 64])
            refused_before_parsing(place, name, patch)


@pytest.mark.parametrize("name", FILES)
def test_one_with_a_flipped_bit_is_refused(name, whole, place, monkeypatch):
    chance = random.Random(7)
    for _ in range(200):
        with monkeypatch.context() as patch:
            flip(copied(whole, place) / "0000000002" / name, chance)
            refused_before_parsing(place, name, patch)


KEYS = st.sampled_from(["format", "files", "sha256", "bytes", "state.json"]) | st.text()
VALUES = st.none() | st.integers() | st.text()


@given(st.recursive(VALUES, lambda some: st.lists(some) | st.dictionaries(KEYS, some)))
def test_any_json_in_place_of_a_manifest_is_refused(tmp_path_factory, made_up):
    place = tmp_path_factory.mktemp("made-up")
    (place / "0000000001").mkdir()
    (place / "0000000001" / "manifest.json").write_text(json.dumps(made_up))
    with pytest.raises(ModelError, match="manifest.json is damaged"):
        Checkpoints(folder(place)).newest()


def test_when_all_are_damaged_nothing_begins_anew_neither_now_nor_later(whole, place):
    copied(whole, place)
    for step in place.iterdir():
        flip(step / "state.json", random.Random(1))
    for said in ("state.json is damaged", "all were set aside before"):
        with pytest.raises(ModelError, match=f"no checkpoint of this run is whole .*{said}"):
            Checkpoints(folder(place)).newest()
    assert sorted(os.listdir(place)) == ["damaged-0000000001", "damaged-0000000002"]


def test_a_run_goes_on_behind_a_damaged_one_and_saves_its_step_again(whole, place):
    flip(copied(whole, place) / "0000000002" / "state.json", random.Random(1))
    kept = Checkpoints(folder(place))
    assert kept.newest()[0].step == 1
    kept.save(checkpoint(2))
    found, wrong = kept.newest()
    assert same(found, checkpoint(2)) and not wrong and kept.steps() == [1, 2]


@pytest.mark.parametrize("name", FILES)
def test_a_gigabyte_more_is_not_read(name, whole, place, monkeypatch):
    with open(copied(whole, place) / "0000000002" / name, "ab") as file:
        file.truncate(1 << 30)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    refused_before_parsing(place, name, monkeypatch)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB
    assert time.process_time() - began < 1


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_an_end_is_not_read(name, whole, place, monkeypatch):
    file = copied(whole, place) / "0000000002" / name
    file.unlink()
    file.symlink_to("/dev/zero")
    refused_before_parsing(place, name, monkeypatch)


def write_on(place: Path, first: int, told: int) -> None:
    """One checkpoint after the other, a byte for each, until somebody kills this process."""
    try:
        for step in itertools.count(first):
            Checkpoints(folder(place)).save(checkpoint(step))
            os.write(told, b".")
    finally:
        os._exit(1)


def killed_after(place: Path, saves: int, delay_s: float, *, first: int) -> int:
    """Kill a process that writes one checkpoint after the other; the last it said was saved."""
    ours, theirs = os.pipe()
    if not (writer := os.fork()):
        write_on(place, first, theirs)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as told:
        try:
            last = first - 1 + sum(len(told.read(1)) for _ in range(saves))
            seen = Checkpoints(folder(place)).newest()[0]  # by a reader, while it is written on
            time.sleep(delay_s)
        finally:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
        assert same(seen, checkpoint(seen.step)) and seen.step >= last
        return last + len(told.read())


def test_readers_beside_writers_that_get_killed_find_the_old_one_or_the_new_one(place):
    chance, last = random.Random(3), 0
    for _ in range(50):
        said = killed_after(place, 3, chance.uniform(0, 0.02), first=last + 1)
        found, wrong = Checkpoints(folder(place)).newest()
        assert not wrong and same(found, checkpoint(found.step))
        assert said <= found.step <= said + 1
        last = found.step
    kept = Checkpoints(folder(place))
    kept.save(checkpoint(last + 1))
    assert sorted(os.listdir(place)) == [f"{step:010d}" for step in (last, last + 1)]


def test_what_a_killed_writer_left_is_no_checkpoint(kept, place):
    kept.save(checkpoint(1))
    left = place / ".0000000002.1234abcd"
    shutil.copytree(place / "0000000001", left)
    (place / f"{left.name}.lock").touch()
    assert kept.steps() == [1]
    kept.save(checkpoint(3))
    assert sorted(os.listdir(place)) == ["0000000001", "0000000003"]


def test_a_folder_that_a_killed_writer_had_nearly_removed_goes_with_the_next_one(kept, place):
    (place / "0000000001").mkdir(parents=True)
    for step in (2, 3):
        kept.save(checkpoint(step))
    assert sorted(os.listdir(place)) == ["0000000002", "0000000003"]


def test_what_is_saved_while_somebody_looks_is_found(kept, monkeypatch):
    """A worker that should be dead still saves while the next one reads."""
    for step in (1, 2):
        kept.save(checkpoint(step))
    load = Checkpoints.load

    def late(self: Checkpoints, step: int) -> Checkpoint:
        if self.steps() == [1, 2]:
            for later in (3, 4):
                self.save(checkpoint(later))
        return load(self, step)

    monkeypatch.setattr(Checkpoints, "load", late)
    found, _ = kept.newest()
    assert same(found, checkpoint(4))


def test_a_checkpoint_is_of_a_folder_of_its_own(place):
    Checkpoints(Folder(str(place / "甲"))).save(checkpoint(1))
    assert Checkpoints(Folder(str(place / "乙"))).newest() == (None, [])
