"""A storage that may be read but not written: one sentence, and nothing half done."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_reviews import labelled, write_csv

from bigmodel.recipe import load_recipe
from bigmodel.registry import Registry
from jobs.cli import main

NOBODY = 65534


@pytest.fixture
def read_only(mlflow_storage: str, tiny_uri: str) -> Iterator[Path]:
    """A storage with two versions of a model among others, beside a recipe for a third."""
    home = Path(tempfile.mkdtemp())  # pytest's own folders let nobody else in
    storage = home / "storage"
    shutil.copytree(mlflow_storage, storage)
    registry = Registry(str(storage))
    for number in "12":
        registry.publish("mine", tiny_uri, digest=number, metrics={}, run_id="")
    registry.promote("mine", "candidate", to=1, expected=None, why="试", numbers={})
    write_csv(home / "评论.csv", labelled())
    (home / "mine.toml").write_text('name = "mine"\ndata.train = "评论.csv"\n', encoding="utf-8")
    load_recipe(str(home / "mine.toml"))  # imports what another user may not be able to
    for path in (home, *home.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield storage
    for path in (home, *home.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(home)


def run(command: str, storage: Path) -> Result:
    """As a user whom the modes of files stop, which root isn't."""
    words = [*command.split(), "--storage", str(storage)]
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        return CliRunner().invoke(main, words)
    finally:
        if root:
            os.seteuid(0)


COMMANDS = {
    "train mine.toml -q": (2, "storage can't be written; give access there, or name another"),
    "run mine.toml -q": (2, "storage can't be written; give access there, or name another"),
    "models promote mine@2 candidate": (5, "can't be written"),
    "models rollback mine": (4, "nothing to roll back"),
    "models delete mine@2": (5, "can't be written"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_would_write_there_is_one_sentence(
    read_only: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = COMMANDS[command]
    monkeypatch.chdir(read_only.parent)
    done = run(command, read_only)
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert done.stderr.startswith("bigmodel: ") and done.stderr.count("\n") == 1
    assert said in done.stderr
    registry = Registry(str(read_only))
    assert [version.aliases for version in registry.versions("mine")] == [("candidate",), ()]
    assert len(registry.moves("mine")) == 1


@pytest.mark.parametrize("command", ["models list", "models show mine@candidate"])
def test_what_reads_it_goes_on(read_only: Path, command: str) -> None:
    done = run(command, read_only)
    assert done.exit_code == 0, done.output
