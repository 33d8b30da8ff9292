"""Checkpoints in an object store, which can't rename: the manifest is the only commit mark."""

import pytest
import torch

from bigmodel.errors import ModelError
from bigmodel.storage import Folder, folder
from bigmodel.training.checkpoints import Checkpoint, Checkpoints


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.full((9,), float(step))}, {"note": f"第 {step} 步"})


class Killed(BaseException):
    """The end of a process, as far as a store sees it."""


def end_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that writes ends when it comes to this file."""
    write = Folder.write

    def written(place: Folder, file: str, data: bytes) -> None:
        if file == name:
            raise Killed
        write(place, file, data)

    monkeypatch.setattr(Folder, "write", written)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_one_without_its_manifest_is_none_and_is_written_again(name, s3, monkeypatch):
    kept = Checkpoints(folder(s3).child("检查点"))
    for step in (1, 2):
        kept.save(checkpoint(step))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        end_before(name, patch)
        kept.save(checkpoint(3))
    found, wrong = kept.newest()
    assert found.step == 2 and torch.equal(found.tensors["w"], torch.full((9,), 2.0))
    half = [f"{s3}/检查点/0000000003: half-written: no manifest.json; it isn't used"]
    assert wrong == ([] if name == "state.safetensors" else half)
    for step in (3, 4):
        kept.save(checkpoint(step))
        found, wrong = kept.newest()
        assert (found.step, found.about, wrong) == (step, {"note": f"第 {step} 步"}, [])
    assert kept.steps() == [3, 4]


def test_damaged_ones_are_passed_over_and_with_none_whole_nothing_begins_anew(s3):
    kept = Checkpoints(folder(s3).child("检查点"))
    for step in (1, 2):
        kept.save(checkpoint(step))
    for step in (2, 1):
        place = folder(s3).child(f"检查点/{step:010d}")
        place.write("state.json", place.read("state.json").replace(b"note", b"mote"))
        if step == 2:
            found, (wrong,) = kept.newest()
            assert found.step == 1 and "0000000002: state.json is damaged" in wrong
    for _ in range(2):
        with pytest.raises(ModelError, match="no checkpoint of this run is whole .*state.json"):
            kept.newest()
