"""Versions through MLflow's own door."""

import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bigmodel.artifact import Artifact
from bigmodel.predictor import Predictor
from bigmodel.records import digest_of, source_of, uri_of
from bigmodel.registry import Registry
from bigmodel.tracking import answering

TEXTS = ["很好", "房间很脏，服务态度恶劣", "", "ＡＢＣ 手机电池不耐用😀"]


@pytest.fixture(scope="module")
def storage(mlflow_storage: str, tiny_uri: str, tiny: Artifact) -> str:
    """A storage where the tiny model is the champion."""
    registry = Registry(mlflow_storage)
    metrics = {"accuracy": 0.9}
    made = registry.publish("door", tiny_uri, digest=tiny.digest, metrics=metrics, run_id="")
    registry.promote("door", "champion", to=made.version, expected=None, why="试", numbers={})
    return mlflow_storage


@pytest.fixture
def pyfunc(storage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MLflow's module, led to the storage's database."""
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with answering(storage, None), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own type hints when it is imported
        import mlflow.pyfunc
    address = f"sqlite:///{storage}/mlflow/mlflow.db"
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    yield mlflow.pyfunc
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def files_of(place: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(place).rglob("*") if path.is_file()}


@pytest.mark.parametrize("which", ["@champion", "/1"])
def test_mlflow_gives_the_same_answers_and_leaves_the_artefact_as_it_was(
    pyfunc: Any, tiny: Artifact, tiny_uri: str, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = files_of(tiny_uri)
    with caplog.at_level(logging.WARNING):
        model = pyfunc.load_model(f"models:/door{which}")
    assert caplog.messages == []
    answers = model.predict(TEXTS)
    expected = Predictor(tiny).predict(TEXTS, top_k=2)
    assert [answer["text"] for answer in answers] == TEXTS
    for answer, same in zip(answers, expected, strict=True):
        assert [(one["label"], one["score"]) for one in answer["labels"]] == list(same.labels)
        assert answer["abstained"] == same.abstained
    assert files_of(tiny_uri) == before


def test_texts_may_stand_in_a_table(pyfunc: Any) -> None:
    import pandas as pd

    model = pyfunc.load_model("models:/door@champion")
    listed = model.predict(TEXTS)
    assert model.predict(pd.DataFrame({"text": TEXTS, "id": range(4)})) == listed
    assert model.predict(pd.DataFrame({"评论": TEXTS})) == listed
    assert model.predict(pd.Series(TEXTS)) == listed
    assert model.predict("很好") == listed[:1]
    with pytest.raises(Exception, match=r"no column 'text' \(found: 评论, 编号\)"):
        model.predict(pd.DataFrame({"评论": TEXTS, "编号": range(4)}))
    with pytest.raises(Exception, match="3 is no text"):
        model.predict(["很好", 3])


def test_an_artefact_in_an_object_store_is_loaded_as_well(
    pyfunc: Any, storage: str, tiny: Artifact, s3: str
) -> None:
    digest = tiny.save(f"{s3}/模型 1")
    Registry(storage).publish("there", f"{s3}/模型 1", digest=digest, metrics={}, run_id="")
    (answer,) = pyfunc.load_model("models:/there/1").predict(["很好"])
    assert answer["labels"][0]["label"] == "正面"


def test_a_damaged_version_is_not_loaded(
    pyfunc: Any, storage: str, tiny_uri: str, tmp_path: Path
) -> None:
    place = tmp_path / "模型"
    shutil.copytree(tiny_uri, place)
    digest = Artifact.load(str(place)).digest
    weights = place / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    Registry(storage).publish("broken", str(place), digest=digest, metrics={}, run_id="")
    with pytest.raises(Exception, match=r"weights\.safetensors is damaged"):
        pyfunc.load_model("models:/broken/1")


def test_a_version_that_was_exchanged_as_a_whole_is_not_loaded(
    pyfunc: Any, storage: str, tiny: Artifact, train_tiny: Any, tmp_path: Path
) -> None:
    place = tmp_path / "模型#1"
    digest = tiny.save(str(place))
    made = Registry(storage).publish("swapped", str(place), digest=digest, metrics={}, run_id="")
    assert (made.uri, made.digest) == (str(place), digest)
    assert pyfunc.load_model("models:/swapped/1").predict("很好")
    shutil.rmtree(place)
    train_tiny("bag").save(str(place))
    with pytest.raises(Exception, match="the registry knows this version with SHA-256"):
        pyfunc.load_model("models:/swapped/1")


@pytest.mark.parametrize(
    ("source", "uri", "digest"),
    [
        ("bigmodel:/存储/模型#sha256=ab", "/存储/模型", "ab"),
        ("bigmodel:/s3://bucket/模型#sha256=ab", "s3://bucket/模型", "ab"),
        ("bigmodel:/存储/模型#1", "/存储/模型#1", None),
        ("s3://bucket/theirs", "s3://bucket/theirs", None),
    ],
)
def test_a_source_says_where_an_artefact_is_and_which(
    source: str, uri: str, digest: str | None
) -> None:
    assert (uri_of(source), digest_of(source)) == (uri, digest)
    if source.startswith("bigmodel:"):
        assert source_of(uri, digest or "") == source
