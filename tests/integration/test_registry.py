"""Versions, aliases and moves, on a real MLflow database."""

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bigmodel.errors import BigModelError, ClusterError, ModelError, RecipeError
from bigmodel.records import read_client, read_database
from bigmodel.registry import Registry, Version
from bigmodel.tracking import database, open_client
from jobs.cli import main
from jobs.deploy import mark_deployed


@pytest.fixture(scope="module")
def registry(mlflow_storage: str) -> Registry:
    return Registry(mlflow_storage)


@pytest.fixture
def name(request: pytest.FixtureRequest, registry: Registry) -> str:
    """A model of the test's own, with three versions."""
    model = f"m{abs(hash(request.node.nodeid)) % 10**12}"
    for number in (1, 2, 3):
        publish(registry, model, number)
    return model


def publish(registry: Registry, name: str, number: int) -> Version:
    return registry.publish(
        name,
        f"/storage/模型/{name}-{number}",
        digest=f"{number:064x}",
        metrics={"accuracy": (80 + number) / 100},
        run_id="0123456789abcdef0123456789abcdef",
    )


def promote(registry: Registry, name: str, to: int, expected: int | None) -> Version:
    return registry.promote(
        name, "champion", to=to, expected=expected, why="测试集上更好", numbers={"macro_f1": 0.86}
    )


def test_a_published_version_is_found_by_its_number(registry: Registry, name: str) -> None:
    made = publish(registry, name, 4)
    found = registry.resolve(f"{name}@4")
    assert found == made == registry.versions(name)[-1]
    assert (found.name, found.version, str(found)) == (name, 4, f"{name}@4")
    assert found.uri == f"/storage/模型/{name}-4"
    assert found.digest == f"{4:064x}"
    assert found.metrics == {"accuracy": 0.84}
    assert found.aliases == ()
    assert found.created.endswith("+00:00")
    assert found.run_id == "0123456789abcdef0123456789abcdef"
    assert found in registry.list()


def test_publishing_moves_no_alias_and_promoting_moves_one(registry: Registry, name: str) -> None:
    assert registry.current(name, "champion") is None
    promote(registry, name, to=1, expected=None)
    publish(registry, name, 4)
    assert registry.resolve(f"{name}@champion").version == 1
    assert promote(registry, name, to=4, expected=1).aliases == ("champion",)
    assert registry.resolve(f"{name}@champion").version == 4 == registry.current(name, "champion")
    assert registry.resolve(f"{name}@1").aliases == ()


def test_two_aliases_move_apart(registry: Registry, name: str) -> None:
    promote(registry, name, to=1, expected=None)
    registry.promote(name, "candidate", to=1, expected=None, why="试用", numbers={})
    promote(registry, name, to=2, expected=1)
    assert registry.resolve(f"{name}@candidate").version == 1
    assert registry.resolve(f"{name}@champion").version == 2


def test_a_stale_promotion_is_told_who_was_first(registry: Registry, name: str) -> None:
    promote(registry, name, to=2, expected=None)
    with pytest.raises(ModelError) as refused:
        promote(registry, name, to=3, expected=None)
    for part in (f"{name}@champion is version 2", "not unset", "测试集上更好", f"{name}@3"):
        assert part in str(refused.value)
    assert registry.resolve(f"{name}@champion").version == 2
    assert [move.held for move in registry.moves(name)] == [True, False]


@pytest.mark.parametrize("rounds", [4, pytest.param(20, marks=pytest.mark.chaos)])
def test_of_promotions_at_once_exactly_one_wins(
    mlflow_storage: str, name: str, rounds: int
) -> None:
    expected = None
    for _ in range(rounds):
        start, outcomes = threading.Barrier(2), {}

        def attempt(to: int, expected: int | None = expected, start=start, outcomes=outcomes):
            mine = Registry(mlflow_storage)
            start.wait(timeout=30)
            try:
                outcomes[to] = promote(mine, name, to, expected)
            except ModelError as error:
                outcomes[to] = error

        targets = [number for number in (1, 2, 3) if number != expected][:2]
        threads = [threading.Thread(target=attempt, args=(to,)) for to in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        (winner,) = [to for to, outcome in outcomes.items() if isinstance(outcome, Version)]
        (loser,) = set(targets) - {winner}
        assert f"is version {winner}" in str(outcomes[loser])
        after = Registry(mlflow_storage)
        assert (
            after.resolve(f"{name}@champion").version == winner == after.current(name, "champion")
        )
        expected = winner
    assert [move.held for move in after.moves(name)].count(True) == rounds


PROMOTE = """
import sys
from bigmodel.errors import ModelError
from bigmodel.registry import Registry

registry = Registry(sys.argv[1])
registry._client
print("ready", flush=True)
for line in sys.stdin:
    name, to, expected = line.split()
    try:
        registry.promote(name, "champion", to=int(to), expected=int(expected) or None,
                         why="", numbers={})
        print("won", flush=True)
    except ModelError:
        print("lost", flush=True)
"""


@pytest.mark.chaos
def test_of_two_processes_that_promote_at_once_exactly_one_wins(
    mlflow_storage: str, name: str
) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, mlflow_storage],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in both] == ["ready\n", "ready\n"]
    expected = 0
    for _ in range(20):
        targets = [number for number in (1, 2, 3) if number != expected][:2]
        for process, to in zip(both, targets, strict=True):
            process.stdin.write(f"{name} {to} {expected}\n")
            process.stdin.flush()
        said = [process.stdout.readline().strip() for process in both]
        assert sorted(said) == ["lost", "won"]
        expected = targets[said.index("won")]
        assert Registry(mlflow_storage).resolve(f"{name}@champion").version == expected
    for process in both:
        process.communicate(timeout=60)


def command(storage: str, *arguments: str) -> Any:
    done = CliRunner().invoke(main, ["models", *arguments, "--storage", storage, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_move_is_shown_with_who_and_why(
    registry: Registry, name: str, mlflow_storage: str
) -> None:
    assert command(mlflow_storage, "show", f"{name}@1")["moves"] == []
    command(mlflow_storage, "promote", f"{name}@1", "candidate")
    command(mlflow_storage, "promote", f"{name}@2", "candidate", "--force", "线上投诉太多")
    promote(registry, name, to=2, expected=None)
    with pytest.raises(ModelError):
        promote(registry, name, to=1, expected=None)
    promote(registry, name, to=3, expected=2)
    assert command(mlflow_storage, "rollback", name)["model"] == f"{name}@2"
    shown = command(mlflow_storage, "show", f"{name}@champion")
    assert (shown["model"], shown["aliases"]) == (f"{name}@2", ["candidate", "champion"])
    columns = ("alias", "expected", "to", "why", "held")
    assert [tuple(move[key] for key in columns) for move in shown["moves"]] == [
        ("candidate", None, 1, "promoted by hand", True),
        ("candidate", 1, 2, "线上投诉太多", True),
        ("champion", None, 2, "测试集上更好", True),
        ("champion", None, 1, "测试集上更好", False),
        ("champion", 2, 3, "测试集上更好", True),
        ("champion", 3, 2, "rollback", True),
    ]
    table = CliRunner().invoke(main, ["models", "show", f"{name}@1", "--storage", mlflow_storage])
    assert table.exit_code == 0
    assert "lost" in table.output and "rollback" in table.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("promote {name}@1 candidate --force ''", 2, "--force is empty; say why"),
        ("promote {tiny} candidate", 2, "is no published version; name one"),
        ("delete {tiny}", 2, "is no published version; name one"),
        ("delete {name}@champion", 4, "@2 is champion, deployed and stays"),
        ("delete {name}@9", 4, "no version 9 (found: 1, 2, 3)"),
        ("rollback {name}@2", 4, "no model '{name}@2'"),
        ("rollback no-such-model", 4, "no model 'no-such-model'"),
        ("show {name}@candidate", 4, "no alias 'candidate' (found: champion -> 2, deployed -> 2"),
    ],
)
def test_a_command_that_can_not_be_done_is_one_sentence(
    mlflow_storage: str, name: str, tiny_uri: str, arguments: str, code: int, said: str
) -> None:
    registry = Registry(mlflow_storage)
    promote(registry, name, to=2, expected=None)
    mark_deployed(registry.resolve(f"{name}@2"), registry)
    moves = registry.moves(name)
    words = shlex.split(arguments.format(name=name, tiny=tiny_uri))
    done = CliRunner().invoke(main, ["models", *words, "--storage", mlflow_storage])
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith("bigmodel: ") and done.stderr.count("\n") == 1
    assert said.format(name=name) in done.stderr
    assert registry.moves(name) == moves


def test_what_is_deployed_is_not_deleted_until_another_is(registry: Registry, name: str) -> None:
    mark_deployed(registry.resolve(f"{name}@1"), registry)
    with pytest.raises(ModelError, match="@1 is deployed and stays"):
        registry.delete(name, 1)
    mark_deployed(registry.resolve(f"{name}@2"), registry)
    registry.delete(name, 1)
    assert [(move.alias, move.to, move.why) for move in registry.moves(name)] == [
        ("deployed", 1, "deploy"),
        ("deployed", 2, "deploy"),
        ("", None, "deleted by hand"),
    ]


def test_by_force_what_is_deployed_is_deleted_but_never_the_champion(
    registry: Registry, name: str, mlflow_storage: str
) -> None:
    mark_deployed(registry.resolve(f"{name}@1"), registry)
    with pytest.raises(ModelError, match="bigmodel models delete m[0-9]+@1 --force WHY"):
        registry.delete(name, 1)
    done = command(mlflow_storage, "delete", f"{name}@1", "--force", "端点已停用")
    assert (done["model"], registry.current(name, "deployed")) == (f"{name}@1", None)
    shown = command(mlflow_storage, "show", f"{name}@2")["moves"]
    assert [(move["alias"], move["expected"], move["to"], move["why"]) for move in shown] == [
        ("deployed", None, 1, "deploy"),
        ("deployed", 1, None, "端点已停用"),
        ("", 1, None, "端点已停用"),
    ]
    table = CliRunner().invoke(main, ["models", "show", f"{name}@2", "--storage", mlflow_storage])
    assert table.exit_code == 0 and "gone" in table.output
    mark_deployed(registry.resolve(f"{name}@2"), registry)
    promote(registry, name, to=2, expected=None)
    with pytest.raises(ModelError, match="@2 is champion, deployed and stays"):
        registry.delete(name, 2, force="不要了")
    assert registry.resolve(f"{name}@deployed") == registry.resolve(f"{name}@champion")


def interrupted_by(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, act: Callable[[], object]
) -> None:
    """Let another process act right before the registry's next move is written."""
    append = registry._append

    def late(*given: Any, **more: Any) -> int:
        monkeypatch.setattr(registry, "_append", append)
        act()
        return append(*given, **more)

    monkeypatch.setattr(registry, "_append", late)


def test_what_is_promoted_while_it_is_to_be_deleted_stays(
    registry: Registry, name: str, mlflow_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Registry(mlflow_storage)
    interrupted_by(monkeypatch, mine, lambda: promote(registry, name, to=3, expected=None))
    with pytest.raises(ModelError, match="@3 is champion and stays"):
        mine.delete(name, 3)
    assert registry.resolve(f"{name}@champion").version == 3


def test_what_is_deleted_while_it_is_to_be_promoted_is_not_promoted(
    registry: Registry, name: str, mlflow_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(registry, name, to=1, expected=None)
    mine = Registry(mlflow_storage)
    interrupted_by(monkeypatch, mine, lambda: registry.delete(name, 3))
    with pytest.raises(ModelError, match=r"@3 was deleted by .* \(deleted by hand\); promote ano"):
        promote(mine, name, to=3, expected=1)
    assert registry.resolve(f"{name}@champion").version == 1 == registry.current(name, "champion")


def test_a_deletion_that_was_cut_short_is_finished_by_the_next(
    registry: Registry, name: str, mlflow_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Registry(mlflow_storage)

    def crash(*_: object) -> None:
        raise InterruptedError("the process died here")

    monkeypatch.setattr(mine._client, "delete_model_version", crash)
    with pytest.raises(BigModelError):
        mine.delete(name, 3)
    with pytest.raises(ModelError, match="@3 was deleted by"):
        promote(registry, name, to=3, expected=None)
    registry.delete(name, 3)
    assert [version.version for version in registry.versions(name)] == [1, 2]


def test_another_is_promoted_where_the_champion_was_deleted_in_mlflows_page(
    registry: Registry, name: str
) -> None:
    promote(registry, name, to=1, expected=None)
    promote(registry, name, to=3, expected=1)
    registry._client.delete_model_version(name, "3")
    assert registry.current(name, "champion") is None
    assert promote(registry, name, to=2, expected=None).aliases == ("champion",)
    with pytest.raises(ModelError, match="is version 2, not unset"):
        promote(registry, name, to=1, expected=None)
    registry._client.delete_model_version(name, "2")
    assert registry.rollback(name).version == 1


def test_rolling_back_returns_to_before_the_last_move(registry: Registry, name: str) -> None:
    promote(registry, name, to=1, expected=None)
    with pytest.raises(ModelError, match="nothing to roll back"):
        registry.rollback(name)
    promote(registry, name, to=3, expected=1)
    promote(registry, name, to=3, expected=3)  # is there already: no move
    with pytest.raises(ModelError):
        promote(registry, name, to=2, expected=1)  # lost: not a move either
    assert registry.rollback(name).version == 1
    assert registry.rollback(name).version == 3
    assert [(m.expected, m.to, m.held) for m in registry.moves(name)] == [
        (None, 1, True),
        (1, 3, True),
        (1, 2, False),
        (3, 1, True),
        (1, 3, True),
    ]
    assert registry.moves(name)[1].numbers == {"macro_f1": 0.86}
    assert registry.moves(name)[3].why == "rollback"


def test_an_alias_left_behind_by_a_crash_is_put_right(
    mlflow_storage: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(mlflow_storage)
    promote(registry, name, to=1, expected=None)

    def crash(*_: object) -> None:
        raise InterruptedError("the process died here")

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, "set_registered_model_alias", crash)
        with pytest.raises(BigModelError):
            promote(registry, name, to=2, expected=1)
    assert registry.resolve(f"{name}@champion").version == 1
    assert registry.current(name, "champion") == 2
    with pytest.raises(ModelError, match="is version 2"):
        promote(registry, name, to=3, expected=1)
    assert registry.resolve(f"{name}@champion").version == 2


def test_an_aliased_version_is_not_deleted(registry: Registry, name: str) -> None:
    promote(registry, name, to=2, expected=None)
    with pytest.raises(ModelError, match="@2 is champion and stays"):
        registry.delete(name, 2)
    registry.delete(name, 3)
    with pytest.raises(ModelError, match=r"no version 3 \(found: 1, 2\)"):
        registry.resolve(f"{name}@3")
    assert publish(registry, name, 4).version == 4, "a number is never given twice"


def test_rolling_back_goes_past_what_was_deleted(registry: Registry, name: str) -> None:
    for to, expected in ((1, None), (2, 1), (3, 2)):
        promote(registry, name, to=to, expected=expected)
    registry.delete(name, 2)
    assert [registry.rollback(name).version for _ in range(3)] == [1, 3, 1]
    registry.delete(name, 3)
    with pytest.raises(ModelError, match="has stood at no other version that is still there"):
        registry.rollback(name)
    assert registry.resolve(f"{name}@champion").version == 1


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{name}@9", "no version 9 (found: 1, 2, 3)"),
        ("{name}@0", "no version 0 (found: 1, 2, 3)"),
        ("{name}@champion", "no alias 'champion' (found: none; versions 1, 2, 3)"),
        ("{name}@", "no alias ''"),
        ("no-such-model@1", "no model 'no-such-model'"),
        ("no-such-model@2", "or give the right --storage or set MLFLOW_TRACKING_URI"),
        ("no-such-folder", "no artefact there; give an artefact's folder or URI, name@3"),
        ("./no-such-folder@2/模型", "no artefact there"),
    ],
)
def test_what_is_not_there_is_named(registry: Registry, name: str, model: str, said: str) -> None:
    with pytest.raises(ModelError) as error:
        registry.resolve(model.format(name=name))
    assert said in str(error.value)


@pytest.mark.parametrize("alias", ["latest", "Latest", "3", "v3", "", "冠军", "a b", "a/b"])
def test_some_names_can_not_be_aliases(registry: Registry, name: str, alias: str) -> None:
    with pytest.raises(RecipeError, match="can't be an alias"):
        registry.promote(name, alias, to=1, expected=None, why="", numbers={})


def test_both_ways_to_read_the_registry_agree(
    registry: Registry, name: str, mlflow_storage: str
) -> None:
    promote(registry, name, to=1, expected=None)
    registry.promote(name, "candidate", to=1, expected=None, why="试用", numbers={})
    registry.delete(name, 2)
    client = open_client(mlflow_storage, None)
    if not client.search_registered_models("name = 'theirs'"):
        client.create_registered_model("theirs")
    client.create_model_version("theirs", "s3://bucket/model")
    file = database(mlflow_storage)
    for asked in (name, "theirs", f"{name}.moves", "no-such-model", None):
        assert read_database(file, asked) == read_client(client, asked)
    assert len(read_database(file, name)) == 2
    assert "theirs" not in {version.name for version in registry.list()}


def test_resolving_imports_neither_mlflow_nor_torch_nor_ray(
    registry: Registry, name: str, mlflow_storage: str
) -> None:
    promote(registry, name, to=2, expected=None)
    code = (
        "import sys; from bigmodel.registry import Registry; "
        f"print(Registry({mlflow_storage!r}).resolve('{name}@champion')); "
        "print({'mlflow', 'torch', 'ray', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{name}@2\nset()\n", "")


def write_artifact(place: Path, **files: object) -> None:
    place.mkdir()
    for name, value in files.items():
        (place / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def test_an_artefact_folder_stands_for_itself(tmp_path: Path) -> None:
    place = tmp_path / "模型@2"
    write_artifact(
        place, manifest={"sha256": "ab"}, recipe={"name": "reviews"}, metrics={"accuracy": 0.85}
    )
    found = Registry(str(tmp_path / "nowhere")).resolve(str(place))
    assert found == Version("reviews", 0, str(place), "ab", (), {"accuracy": 0.85}, "", "")
    assert str(found) == str(place)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("manifest", [[], "坏", {"files": {}}, None])
def test_a_damaged_artefact_folder_is_refused(tmp_path: Path, manifest: object) -> None:
    write_artifact(tmp_path / "a", manifest=manifest, recipe={"name": "reviews"}, metrics={})
    with pytest.raises(ModelError, match="damaged artefact"):
        Registry(str(tmp_path)).resolve(str(tmp_path / "a"))


@pytest.mark.parametrize("ask", [Registry.list, lambda registry: registry.moves("reviews")])
def test_a_new_storage_is_empty_and_stays_so(
    tmp_path: Path, ask: Callable[[Registry], object]
) -> None:
    assert ask(Registry(str(tmp_path))) == ()
    assert not list(tmp_path.iterdir())


def test_a_storage_elsewhere_needs_a_server() -> None:
    with pytest.raises(RecipeError, match=r"set tracking\.uri to an MLflow server"):
        Registry("s3://bucket/bigmodel").list()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    database(str(tmp_path)).parent.mkdir()
    database(str(tmp_path)).write_text("不是数据库", encoding="utf-8")
    with pytest.raises(ClusterError, match="can't be read"):
        Registry(str(tmp_path)).list()
