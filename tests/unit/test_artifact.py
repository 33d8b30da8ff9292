"""The artefact: what was sealed is what is loaded, and anything else is refused by its name."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bigmodel import artifact as artifact_module
from bigmodel import manifest as manifest_module
from bigmodel.artifact import Artifact
from bigmodel.errors import ModelError
from bigmodel.storage import MANIFEST

FILES = (
    "calibration.json", "encoder/ngrams.safetensors", "encoder/text.json",
    "encoder/user_dictionary.txt", "golden.json", "labels.json", "lineage.json", MANIFEST,
    "metrics.json", "recipe.json", "weights.safetensors",
)  # fmt: skip
TEXTS = ["我喜欢读书", "手机电池不耐用", "", "😀"]


@pytest.fixture
def copy(tiny_uri: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_uri, tmp_path / "copy"))


def files_of(uri: str | Path) -> dict[str, bytes]:
    here = Path(uri)
    found = (path for path in here.rglob("*") if path.is_file())
    return {path.relative_to(here).as_posix(): path.read_bytes() for path in found}


SMALL = {
    "linear": {},
    "bag": {},
    "mlp": {},
    "cnn": {"embedding_size": 8, "character_size": 4, "channels": 8},
    "rnn": {"embedding_size": 8, "hidden_size": 8},
    "transformer": {"embedding_size": 8, "width": 8, "num_layers": 1},
}


@pytest.mark.parametrize(
    ("kind", "residual"), [*((kind, False) for kind in SMALL), ("mlp", True), ("cnn", True)]
)
def test_what_was_saved_is_loaded_and_saved_again_as_the_same_bytes(
    kind, residual, train_tiny, tmp_path
):
    model = {"kind": kind, kind: {"min_count": 1} | SMALL[kind], "residual": residual}
    made = replace(
        train_tiny(kind, model=model, train={"epochs": 2, "rows_per_step": 8}),
        temperature=1.25,
        threshold=0.7,
        lineage={"data_id": "d", "prepared": "/准备"},
    )
    digest = made.save(str(tmp_path / "a"))
    found = Artifact.load(str(tmp_path / "a"), digest=digest)
    for name in ("recipe", "labels", "encoder", "temperature", "threshold", "metrics", "lineage"):
        assert getattr(found, name) == getattr(made, name), name
    assert found.digest == digest
    assert np.array_equal(found.score(TEXTS).scores, made.score(TEXTS).scores)
    assert found.save(str(tmp_path / "b")) == digest
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_the_files_of_an_artefact(tiny_uri):
    assert tuple(sorted(files_of(tiny_uri))) == FILES
    manifest = json.loads(Path(tiny_uri, MANIFEST).read_bytes())
    assert sorted([*manifest["files"], MANIFEST]) == list(FILES)
    assert {"bigmodel", "torch", "rjieba"} <= set(manifest["versions"])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes() or b"x")
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] if data else b"x")


def linked(path: Path) -> None:
    path.rename(path.parents[1 + path.parent.name.count("encoder")] / "elsewhere")
    path.symlink_to(path.parents[1 + path.parent.name.count("encoder")] / "elsewhere")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": flipped,
    "cut": cut,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b" ") and None,
    "emptied": lambda path: path.write_bytes(b"" if path.stat().st_size else b"\n") and None,
    "deleted": Path.unlink,
    "linked": linked,
    "a folder": lambda path: (path.unlink(), path.mkdir()) and None,
    "swapped": lambda path: path.write_bytes(b'{"another": "file"}') and None,
}


@pytest.mark.parametrize(
    ("name", "damage"),
    # a blank after the manifest's last bracket changes nothing that it says
    sorted({(name, damage) for name in FILES for damage in DAMAGES} - {(MANIFEST, "longer")}),
)
def test_a_damaged_file_is_refused_by_its_name(name, damage, copy, monkeypatch):
    monkeypatch.setattr(artifact_module, "_parse", lambda *_: pytest.fail("parsed before checked"))
    DAMAGES[damage](copy / name)
    with pytest.raises(ModelError) as error:
        Artifact.load(str(copy))
    assert str(error.value).startswith(f"{copy}: ") and name in str(error.value)


def test_a_damaged_file_is_told_with_the_digest_found_and_the_one_expected(copy):
    flipped(copy / "weights.safetensors")
    with pytest.raises(ModelError, match=r"bytes with SHA-256 \w{12}…, expected \d+ with \w{12}…"):
        Artifact.load(str(copy))


@pytest.mark.parametrize("name", ["extra.bin", "encoder/.weights.tmp"])
def test_an_extra_file_is_refused(name, copy):
    (copy / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=rf"{name} isn't in the manifest; remove it"):
        Artifact.load(str(copy))


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(copy):
    (copy / "labels.json").unlink()
    os.mkfifo(copy / "labels.json")
    with pytest.raises(ModelError, match=r"labels\.json is a link or no plain file"):
        Artifact.load(str(copy))


def test_a_whole_artefact_exchanged_is_found_by_the_registrys_digest(tiny, tiny_uri, tmp_path):
    other = replace(tiny, temperature=tiny.temperature * 2)
    assert other.save(str(tmp_path / "other")) != tiny.digest
    Artifact.load(str(tmp_path / "other"))
    with pytest.raises(ModelError, match=rf"knows this version with SHA-256 {tiny.digest[:12]}"):
        Artifact.load(str(tmp_path / "other"), digest=tiny.digest)
    assert Artifact.load(tiny_uri, digest=tiny.digest).digest == tiny.digest


def test_a_half_written_folder_is_told_from_none_at_all(copy, tmp_path):
    (copy / MANIFEST).unlink()
    with pytest.raises(ModelError, match=r"half-written: no manifest\.json"):
        Artifact.load(str(copy))
    with pytest.raises(ModelError, match="no such artefact"):
        Artifact.load(str(tmp_path / "没有"))


def resealed(copy: Path, name: str, change: Callable[[dict], object]) -> None:
    """Change a file and write a manifest that fits: what only the parsers can find."""
    value = json.loads((copy / name).read_bytes())
    change(value)
    (copy / name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    files = {n: data for n, data in files_of(copy).items() if n != MANIFEST}
    manifest = manifest_module.manifest(files)
    (copy / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("recipe.json", lambda v: v.update(newer=1), "written by another release of bigmodel"),
        ("labels.json", lambda v: v.append("中性"), "written by another release of bigmodel"),
        ("calibration.json", lambda v: v.clear(), "written by another release of bigmodel"),
        ("encoder/text.json", lambda v: v.update(engine_version="0.0.1"), "made with rjieba 0.0.1"),
        ("golden.json", lambda v: v["ids"][0].append(3), "makes other ids of the golden texts"),
        ("golden.json", lambda v: v["tokens"][0].pop(), "makes other tokens of the golden texts"),
        ("golden.json", lambda v: v["scores"][1].__setitem__(0, 0.5), "the golden texts score"),
        ("golden.json", lambda v: v["scores"][1].__setitem__(0, float("nan")), "score nan away"),
    ],
)
def test_an_artefact_that_this_release_or_machine_cannot_answer_with_is_refused(
    name, change, said, copy
):
    resealed(copy, name, change)
    with pytest.raises(ModelError, match=rf"^{copy}: .*{said}"):
        Artifact.load(str(copy))


def test_another_format_is_named(copy, monkeypatch):
    monkeypatch.setattr(manifest_module, "FORMAT", 2)
    with pytest.raises(ModelError, match="format 1, this release reads 2"):
        Artifact.load(str(copy))


def test_saving_over_an_artefact_replaces_it_whole(tiny, copy):
    (copy / "extra.bin").write_bytes(b"x")
    tiny.save(str(copy))
    assert Artifact.load(str(copy)).digest == tiny.digest
