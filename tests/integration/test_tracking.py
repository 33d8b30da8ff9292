"""What a run leaves in MLflow, and what is said where it can't."""

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bigmodel import tracking
from bigmodel.config import Recipe
from bigmodel.errors import ClusterError, DataError, RecipeError
from bigmodel.recipe import load_recipe, make_recipe
from bigmodel.records import read_database


def recipe(name: str = "reviews", **sections: Any) -> Recipe:
    return make_recipe({"name": name, "data": {"train": "/data/评论.csv"}, **sections}, "recipe")


def test_a_run_keeps_recipe_curves_and_facts(
    mlflow_storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = recipe("curves", seed=7, train={"epochs": 1100})
    with tracking.run(ours, mlflow_storage, verb="train") as run:
        for epoch in range(1100):
            run.log({"loss": 1 / (epoch + 1), "macro_f1": 0.8}, epoch)
        run.tag(data_id="ab" * 32)
    client = tracking.open_client(mlflow_storage, None)
    kept = client.get_run(run.run_id)
    assert kept.info.run_name == "train"
    assert kept.info.status == "FINISHED"
    assert kept.info.artifact_uri.startswith(f"{mlflow_storage}/mlflow/artifacts/curves/")
    assert kept.data.params == tracking.flat(ours)
    (source,) = json.loads(kept.data.params["data.train"])
    assert source == {"path": "/data/评论.csv", "weight": 1.0}
    assert kept.data.tags.items() >= tracking.facts(ours).items()
    assert kept.data.tags["seed"] == "7"
    assert kept.data.tags["data_id"] == "ab" * 32
    assert {"ray", "torch", "rjieba", "bigmodel", "mlflow.user"} <= kept.data.tags.keys()
    curve = client.get_metric_history(run.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(e, 1 / (e + 1)) for e in range(1100)]
    assert not list(tmp_path.iterdir()), "nothing beside the user's files"


@pytest.mark.parametrize(
    ("error", "status"),
    [(DataError("没有标签"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(), "KILLED")],
)
def test_a_run_that_breaks_off_says_how_and_keeps_its_curve(
    mlflow_storage: str, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), tracking.run(recipe(), mlflow_storage, verb="train") as run:
        run.log({"loss": 0.5}, 0)
        raise error
    kept = tracking.open_client(mlflow_storage, None).get_run(run.run_id)
    assert kept.info.status == status
    assert kept.data.metrics == {"loss": 0.5}


def test_an_error_is_not_hidden_by_a_tracker_that_fails_after_it(
    mlflow_storage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    with (
        pytest.raises(DataError, match="没有标签"),
        tracking.run(recipe(), mlflow_storage, verb="train") as run,
    ):
        monkeypatch.setattr(run._client, "set_terminated", away)
        raise DataError("没有标签")
    assert f"run {run.run_id} could not be closed" in caplog.text


def test_params_are_the_dotted_keys_of_the_chosen_kind() -> None:
    space = {"train.learning_rate": {"log": [0.0001, 0.01]}, "train.epochs": {"choice": [3, 5]}}
    mlp = {"kind": "mlp", "mlp": {"hidden_sizes": [64, 32]}}
    params = tracking.flat(recipe(model=mlp, tune={"space": space}))
    assert params["model.mlp.hidden_sizes"] == "[64, 32]"
    assert params["data.split.valid"] == "0.1"
    assert params["text.hmm"] == "false"
    assert json.loads(params["tune.space"]) == space
    assert "tracking.uri" not in params
    assert not [key for key in params if key.startswith(("model.linear", "model.bag"))]


def test_a_long_param_is_cut_where_mlflow_would_refuse_it() -> None:
    whole = tracking.flat(recipe(text={"stop_words": "/" + "长" * 5999}))["text.stop_words"]
    assert whole.endswith("长")
    cut = tracking.flat(recipe(text={"stop_words": "/" + "长" * 6000}))["text.stop_words"]
    assert len(cut) == 6000
    assert cut.endswith("长…")


def test_a_run_knows_the_commit_and_whether_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=小明", "-c", "user.email=ming@example.com"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert not tracking.facts(recipe()).keys() & {"git.dirty", "mlflow.source.git.commit"}
    git("init", "-q")
    (tmp_path / "reviews.toml").write_text('name = "reviews"\n', encoding="utf-8")
    git("add", ".")
    git("commit", "-qm", "recipe")
    clean = tracking.facts(recipe())
    assert (clean["mlflow.source.git.commit"], clean["git.dirty"]) == (
        git("rev-parse", "HEAD"),
        "false",
    )
    (tmp_path / "reviews.toml").write_text('name = "评论"\n', encoding="utf-8")
    assert tracking.facts(recipe())["git.dirty"] == "true"


KILLED = """
import os, signal, sys
from bigmodel import tracking
from bigmodel.recipe import load_recipe, make_recipe

recipe = make_recipe({"name": "killed", "data": {"train": "评论.csv"}}, "recipe")
with tracking.run(recipe, sys.argv[1], verb="train") as run:
    print(run.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_whose_process_was_killed_is_marked_by_the_next_one(mlflow_storage: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, mlflow_storage], capture_output=True, text=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    client = tracking.open_client(mlflow_storage, None)

    def status(run_id: str) -> str:
        return str(client.get_run(run_id).info.status)

    assert status(killed.stdout.strip()) == "RUNNING"
    with tracking.run(recipe(), mlflow_storage, verb="train") as first:
        assert status(killed.stdout.strip()) == "KILLED"
        with tracking.run(recipe(), mlflow_storage, verb="train"):
            assert status(first.run_id) == "RUNNING", "whoever lives is left alone"
    assert not list(Path(mlflow_storage, "mlflow", "running").iterdir())


def test_the_mark_of_a_run_that_no_database_knows_holds_up_nothing(
    mlflow_storage: str, caplog: pytest.LogCaptureFixture
) -> None:
    mark = Path(mlflow_storage, "mlflow", "running", "0" * 32)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text('{"uri": null, "name": "gone"}', encoding="utf-8")
    with tracking.run(recipe(), mlflow_storage, verb="train"):
        assert not mark.exists()
    assert f"run {mark.name} is not marked as killed: MLflow's database" in caplog.text


def test_an_empty_mark_is_removed_and_holds_up_nothing(mlflow_storage: str) -> None:
    mark = Path(mlflow_storage, "mlflow", "running", "1" * 32)
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    with tracking.run(recipe(), mlflow_storage, verb="train") as run:
        assert [path.name for path in mark.parent.iterdir()] == [run.run_id]


def test_a_run_that_ends_while_another_begins_stays_as_it_ended(
    mlflow_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.run(recipe(), mlflow_storage, verb="train") as run:
        pass
    mark = Path(mlflow_storage, "mlflow", "running", run.run_id)
    mark.write_text('{"uri": null, "name": "reviews"}', encoding="utf-8")
    flock = fcntl.flock

    def ended_before(file: Any, how: int) -> None:
        mark.unlink(missing_ok=True)
        flock(file, how)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", ended_before)
        with tracking.run(recipe(), mlflow_storage, verb="train"):
            pass
    kept = tracking.open_client(mlflow_storage, None).get_run(run.run_id)
    assert kept.info.status == "FINISHED"


def test_a_report_is_added_to_a_run_that_has_ended(mlflow_storage: str) -> None:
    ours = recipe("added", storage=mlflow_storage)
    with tracking.run(ours, mlflow_storage, verb="train") as run:
        pass
    files = {"report.html": "<p>很好</p>"}
    tracking.attach(ours, mlflow_storage, run.run_id, files=files, test_macro_f1=0.84)
    kept = tracking.open_client(mlflow_storage, None).get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.metrics == {"test_macro_f1": 0.84}
    place = Path(kept.info.artifact_uri)
    assert (place / "report.html").read_text(encoding="utf-8") == "<p>很好</p>"
    again = load_recipe(str(place / "recipe.toml"))
    assert tracking.flat(again) == tracking.flat(ours)


def test_a_report_for_a_run_that_was_deleted_is_a_warning(
    mlflow_storage: str, caplog: pytest.LogCaptureFixture
) -> None:
    ours = recipe("deleted", storage=mlflow_storage)
    with tracking.run(ours, mlflow_storage, verb="train") as run:
        pass
    tracking.open_client(mlflow_storage, None).delete_run(run.run_id)
    tracking.attach(ours, mlflow_storage, run.run_id, files={"report.html": "<p>很好</p>"}, a=0.8)
    (said,) = caplog.messages
    assert said.startswith(f"nothing was added to run {run.run_id}: MLflow's database")
    assert "deleted" in said


def test_a_server_with_a_password_in_its_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ming:secret@127.0.0.1:5000")
    with pytest.raises(RecipeError, match="set MLFLOW_TRACKING_USERNAME and") as error:
        tracking.server(None)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 4096])
def test_a_damaged_database_is_named(mlflow_storage: str, tmp_path: Path, kept: int) -> None:
    whole = tracking.database(mlflow_storage).read_bytes()
    damaged = tracking.database(str(tmp_path))
    damaged.parent.mkdir()
    damaged.write_bytes(whole[:kept] + b"\0damaged\0" * 5_000)
    with pytest.raises(ClusterError, match=f"MLflow's database {damaged} can't be used"):
        tracking.open_client(str(tmp_path), None)
    with pytest.raises(ClusterError, match=f"MLflow's database {damaged} can't be read"):
        read_database(damaged)


@pytest.mark.parametrize(
    ("storage", "kind", "said"),
    [
        ("s3://bucket/bigmodel", RecipeError, "set tracking.uri to an MLflow server"),
        ("{file}", ClusterError, "can't be written"),
    ],
)
def test_a_storage_without_room_for_a_database_is_refused(
    tmp_path: Path, storage: str, kind: type[Exception], said: str
) -> None:
    file = tmp_path / "文件"
    file.touch()
    with pytest.raises(kind, match=said):
        tracking.open_client(storage.format(file=file), None)
