"""Runs while MLflow's server is away: they go on, are kept, and are sent once it is back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import Server

from bigmodel import tracking
from bigmodel.config import Recipe, TuneConfig
from bigmodel.errors import ClusterError, ModelError
from bigmodel.recipe import make_recipe
from bigmodel.registry import Registry, Version
from bigmodel.storage import folder
from bigmodel.tuning.ledger import Ledger
from bigmodel.tuning.tracked import tell_trials


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that runs; a test that kills it starts it again."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def recipe(name: str, server: Server) -> Recipe:
    tree = {"name": name, "data": {"train": "/data/评论.csv"}, "tracking": {"uri": server.uri}}
    return make_recipe(tree, "recipe")


def publish(run: tracking.Run, name: str, storage: Path, server: Server) -> Version:
    return Registry(str(storage), server.uri).publish(
        name,
        f"{storage}/models/{name}/{run.run_id}",
        digest="ab" * 32,
        metrics={"accuracy": 0.84},
        run_id=run.run_id,
    )


def kept(storage: Path) -> list[Path]:
    return sorted((storage / "mlflow" / "kept").rglob("*.json"))


def test_what_happened_while_the_server_was_away_is_sent_by_the_next_command(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = recipe("away", server)
    with tracking.run(ours, str(tmp_path), verb="train") as before:
        assert publish(before, "away", tmp_path, server).version == 1
        server.kill()  # in the midst of it
        before.log({"loss": 0.7}, 1)
    with tracking.run(ours, str(tmp_path), verb="train") as during:
        for epoch in (1, 2):
            during.log({"loss": 1 / epoch}, epoch)
        during.tag(data_id="ab" * 32)
        during.attach("report.html", "<p>八成以上</p>")
        version = publish(during, "away", tmp_path, server)
    assert (version.version, str(version)) == (0, f"{tmp_path}/models/away/{during.run_id}")
    assert caplog.messages == [
        f"MLflow at {server.uri} didn't take run {before.run_id}; it is kept in "
        f"{tmp_path}/mlflow/kept, and is sent by the next command that reaches it",
        f"MLflow at {server.uri} doesn't answer (Connection refused); check tracking.uri; "
        "the run goes on without it",
        f"MLflow at {server.uri} didn't take run {during.run_id}; it is kept in "
        f"{tmp_path}/mlflow/kept, and is sent by the next command that reaches it",
    ]
    assert len(kept(tmp_path)) == 4
    with pytest.raises(ClusterError, match=rf"MLflow at {server.uri} doesn't answer"):
        Registry(str(tmp_path), server.uri).list()

    server.start()
    registry = Registry(str(tmp_path), server.uri)
    first, second = registry.versions("away")
    assert (second.uri, second.metrics) == (version.uri, {"accuracy": 0.84})
    assert kept(tmp_path) == []
    client = tracking.open_client(str(tmp_path), server.uri)
    assert client.get_run(first.run_id).data.metrics == {"loss": 0.7}
    assert client.get_run(first.run_id).info.status == "FINISHED"
    found = client.get_run(second.run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "train")
    assert found.data.params == tracking.flat(ours)
    assert found.data.tags.items() >= {"data_id": "ab" * 32, "kept_as": during.run_id}.items()
    curve = client.get_metric_history(second.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]
    (report,) = tmp_path.rglob("report.html")
    assert report.read_text(encoding="utf-8") == "<p>八成以上</p>"
    assert str(report).startswith(found.info.artifact_uri)
    assert len(registry.versions("away")) == 2, "nothing is sent twice"


def test_the_trials_of_a_search_are_sent_below_its_run_and_each_only_once(
    server: Server, tmp_path: Path
) -> None:
    server.kill()
    tune = TuneConfig(searcher="recipes", recipes=({"train.epochs": 2}, {"train.epochs": 3}))
    update = {"tune": tune, "storage": str(tmp_path)}
    ours = recipe("searched", server).model_copy(update=update)
    with tracking.run(ours, str(tmp_path), verb="tune") as run:
        place = folder(tmp_path).child(f"searches/{run.run_id}")
        ledger = Ledger(place)
        for number, how in enumerate(("ended", "failed")):
            ledger.begin(number, tune.recipes[number])
            ledger.report(number, {"epoch": 1.0, "score": 0.8, "loss": 0.4})
            ledger.end(number, how, "" if how == "ended" else "内存不足")
        tell_trials(ours, place)
    server.start()
    for _ in range(2):
        tell_trials(ours, place)
    assert kept(tmp_path) == []
    client = tracking.open_client(str(tmp_path), server.uri)
    found = client.search_runs([client.get_experiment_by_name("searched").experiment_id])
    (parent,) = [one for one in found if one.info.run_name == "tune"]
    trials = {one.info.run_name: one for one in found if one is not parent}
    assert set(trials) == {"trial 0", "trial 1"}
    assert {one.data.tags["mlflow.parentRunId"] for one in trials.values()} == {parent.info.run_id}
    assert [one.info.status for _, one in sorted(trials.items())] == ["FINISHED", "FAILED"]
    first, second = trials["trial 0"], trials["trial 1"]
    assert first.data.params["train.epochs"] == "2" and first.data.metrics["score"] == 0.8
    assert second.data.tags.items() >= {"reason": "内存不足", "changed.train.epochs": "3"}.items()
    assert len(client.get_metric_history(first.info.run_id, "loss")) == 1


def test_a_failed_run_is_kept_as_well(server: Server, tmp_path: Path) -> None:
    server.kill()
    ours = recipe("failed", server)
    with pytest.raises(ModelError), tracking.run(ours, str(tmp_path), verb="train") as run:
        raise ModelError("坏了")
    server.start()
    client = tracking.outbox.reach(str(tmp_path), server.uri)
    (found,) = client.search_runs([client.get_experiment_by_name("failed").experiment_id])
    assert (found.info.status, found.data.tags["kept_as"]) == ("FAILED", run.run_id)


def test_what_was_sent_only_in_part_is_not_sent_twice(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, outbox = str(tmp_path), tracking.outbox
    client = tracking.open_client(storage, server.uri)
    version = {"source": "bigmodel:/storage/模型", "tags": {"sha256": "ab", "metrics": "{}"}}
    entry = outbox.Entry(
        "kept-1", "part", params={"seed": "3"}, metrics=[("loss", 0.5, 1, 1)], version=version
    )
    outbox.keep(storage, entry)
    with monkeypatch.context() as patch:

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(outbox, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            outbox.upload(client, storage, server.uri)
    assert len(kept(tmp_path)) == 1
    assert outbox.upload(client, storage, server.uri)
    outbox.keep(storage, entry)
    assert outbox.upload(client, storage, server.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("part").experiment_id])
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 1
    (made,) = Registry(storage, server.uri).versions("part")
    assert (made.uri, made.run_id) == ("/storage/模型", run.info.run_id)


def test_what_a_server_refuses_stays_and_holds_up_nothing(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage, outbox = str(tmp_path), tracking.outbox
    outbox.keep(storage, outbox.Entry("0" * 32, "refused", tags={"a": "b"}))
    outbox.keep(storage, outbox.Entry("kept-2", "taken"))
    client = outbox.reach(storage, server.uri)
    assert "is not taken: MLflow at" in caplog.text and "not found" in caplog.text
    assert client.get_experiment_by_name("taken")
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("code", ["INTERNAL_ERROR", "INVALID_PARAMETER_VALUE"])
def test_an_entry_that_breaks_the_server_holds_up_no_other(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: str,
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    storage, outbox, ours = str(tmp_path), tracking.outbox, recipe(f"broken-{code}", server)
    client = outbox.reach(storage, server.uri)
    send = outbox.send

    def breaks(client: object, entry: outbox.Entry, storage: str) -> str:
        if entry.tags.get("坏") == code:
            raise MlflowException("broken by this entry", getattr(databricks_pb2, code))
        return send(client, entry, storage)

    monkeypatch.setattr(outbox, "send", breaks)
    broken = outbox.Entry("kept-3", ours.name, tags={"坏": code})
    assert not outbox.tell(client, storage, server.uri, broken)
    assert outbox.tell(client, storage, server.uri, outbox.Entry("kept-4", ours.name))
    assert caplog.text.count("is not taken: MLflow at") == 2
    assert len(kept(tmp_path)) == 1
    (found,) = client.search_runs([client.get_experiment_by_name(ours.name).experiment_id])
    assert found.data.tags["kept_as"] == "kept-4"


def test_an_object_store_keeps_it_as_well(server: Server, s3: str) -> None:
    server.kill()
    tree = {"name": "there", "storage": s3, "data": {"train": "评论.csv"}}
    ours = make_recipe({**tree, "tracking": {"uri": server.uri}}, "recipe")
    with tracking.run(ours, s3, verb="train") as run:
        run.attach("report.html", "<p>八成</p>")
        version = Registry(s3, server.uri).publish(
            "there", f"{s3}/models/there/1", digest="ab", metrics={}, run_id=run.run_id
        )
    assert version.version == 0
    server.start()
    (found,) = Registry(s3, server.uri).versions("there")
    assert found.uri == version.uri == f"{s3}/models/there/1"
    info = tracking.open_client(s3, server.uri).get_run(found.run_id).info
    assert folder(info.artifact_uri).read("report.html").decode() == "<p>八成</p>"
    assert folder(s3).child("mlflow").child("kept").names() == []


def test_a_server_keeps_the_moves_and_leads_mlflow_to_the_artefact(
    server: Server, tmp_path: Path, tiny_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(str(tmp_path), server.uri)
    made = registry.publish("served", tiny_uri, digest="ab", metrics={}, run_id="")
    registry.promote("served", "champion", to=1, expected=None, why="试", numbers={})
    assert registry.resolve("served@champion").uri == made.uri == tiny_uri
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    source = registry._client.get_model_version_download_uri("served", "1")
    copy = get_artifact_repository(source).download_artifacts("", str(tmp_path))
    assert (Path(copy) / "MLmodel").exists()
    assert (Path(copy) / "artifact" / "weights.safetensors").exists()
