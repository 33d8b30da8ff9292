"""Names that people give: whatever stands in one, no file outside the storage, and no shell."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bigmodel.artifact import Artifact
from bigmodel.cluster import submission
from bigmodel.cluster.packing import Luggage
from bigmodel.config import NAME_PATTERN
from bigmodel.errors import RecipeError
from bigmodel.recipe import load_recipe
from bigmodel.registry import Registry
from jobs.cli import main

PIECES = (
    "../", "..", "/", "//", "\\", "~", "$HOME", "$(touch 金丝雀)", "`touch 金丝雀`",
    ";touch 金丝雀;",
    "|", "&&", ">金丝雀", "'", '"', "\n", "\r", "\t", " ", "%2e%2e%2f", "@", "@champion", "@1", "?",
    "#", "*", "{a,b}", "-", "--force", "name", "评论", "\u202e", "\ufeff", "e\u0301",
    "C:", ".toml",
)  # fmt: skip
NAMES = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1),
)
VERBS = (
    ("models", "show"),
    ("models", "rollback"),
    ("models", "delete"),
    ("keys", "revoke"),
    ("jobs", "status"),
    ("jobs", "logs"),
    ("jobs", "stop"),
    ("evaluate",),
)
many = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=int(os.environ.get("BIGMODEL_NAMES", 30)),
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, tiny_uri: str) -> Path:
    """A storage with one version, in a folder where nothing else is."""
    storage = tmp_path_factory.mktemp("names") / "within" / "store"
    digest = Artifact.load(tiny_uri).digest
    Registry(str(storage)).publish("tiny", tiny_uri, digest=digest, metrics={}, run_id="")
    return storage


@pytest.fixture
def store(published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """We are beside it."""
    monkeypatch.chdir(published.parent)
    monkeypatch.setenv("HOME", str(published.parent))
    for name in ("BIGMODEL_STORAGE", "BIGMODEL_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    return published


def outside(store: Path) -> list[Path]:
    return [path for path in store.parents[1].rglob("*") if store not in (path, *path.parents)]


def test_a_verb_takes_any_name_for_a_name(store):
    before = outside(store)

    @many
    @given(st.sampled_from(VERBS), NAMES)
    def every(verb: tuple[str, ...], name: str) -> None:
        done = CliRunner().invoke(main, [*verb, "--storage", str(store), "--", name])
        assert done.exit_code in (2, 4, 5), (verb, name, done.output, done.exception)
        assert outside(store) == before, (verb, name)

    every()


def test_a_recipes_name_is_letters_and_digits_or_refused(store):
    file = store.parent / "recipe.toml"
    file.write_text('name = "good"\n[data]\ntrain = "评论.csv"\n', encoding="utf-8")
    before = outside(store)

    @many
    @given(NAMES)
    def every(name: str) -> None:
        try:
            read = load_recipe(str(file), [f"name={shlex.quote(name)}"], storage=str(store))
        except RecipeError:
            pass
        else:
            assert re.fullmatch(NAME_PATTERN, read.name)
        assert outside(store) == before

    every()


def test_what_a_job_is_given_reaches_it_as_it_stands_through_the_clusters_shell(
    tmp_path, monkeypatch
):
    """Ray hands a job's command to a shell; `python` there says what it was given."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    python.chmod(0o700)
    terms: list[Any] = []
    monkeypatch.setattr(submission, "connect", lambda *_, **__: SimpleNamespace())
    monkeypatch.setattr(submission.versions, "check_cluster", lambda _: None)
    monkeypatch.setattr(submission, "stage", lambda *_: None)
    monkeypatch.setattr(submission, "in_line", lambda _, __, start: terms.append(start.args[1]))

    @many
    @given(st.lists(NAMES, max_size=4))
    def every(arguments: list[str]) -> None:
        submission.submit("train", Luggage("x", tuple(arguments), {}), "localhost", max_jobs=1)
        said = subprocess.run(
            terms.pop()["entrypoint"],
            shell=True,
            cwd=tmp_path,
            env={"PATH": f"{python.parent}:/usr/bin:/bin"},
            capture_output=True,
            check=True,
        ).stdout
        assert said.decode().split("\0")[:-1] == ["-m", "jobs.train", *arguments]
        assert [each.name for each in tmp_path.iterdir()] == ["bin"]

    every()
