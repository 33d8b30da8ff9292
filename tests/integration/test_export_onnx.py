"""A model as ONNX: the same answers without torch, or a refusal that says why."""

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from bigmodel.artifact import Artifact
from bigmodel.config import ServeConfig
from bigmodel.data.schema import LabelSet
from bigmodel.engines import InOnnxRuntime
from bigmodel.errors import ModelError, RecipeError
from bigmodel.explanation import explain
from bigmodel.export import network
from bigmodel.export.network import compare, export, to_onnx
from bigmodel.models import Residual, build_model
from bigmodel.predictor import Predictor
from bigmodel.recipe import make_recipe
from bigmodel.storage import folder
from bigmodel.text.encoder import EncoderRecipe
from bigmodel.text.features import NgramTable
from jobs.cli import main
from serve.loading import load
from serve.wanted import Pinned

pytest.importorskip("onnx", reason="pip install 'bigmodel[onnx]'")
pytest.importorskip("onnxscript", reason="pip install 'bigmodel[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install 'bigmodel[onnx]'")

NARROW = {"hidden_size": 16}
KINDS = {
    "cnn, characters, residual": ("cnn", {"character_size": 8}, {"residual": True}),
    "lstm, two layers": ("rnn", {"num_layers": 2} | NARROW, {}),
    "gru, one direction": ("rnn", {"cell": "gru", "bidirectional": False} | NARROW, {}),
    "rnn": ("rnn", {"cell": "rnn"} | NARROW, {}),
    "transformer, rotary": ("transformer", {"num_layers": 1}, {}),
    "transformer, learned": ("transformer", {"positions": "learned", "num_layers": 1}, {}),
}
TEXTS = ["物流很快，包装完好", "", "书太无聊", "🙂", "質量很差" * 40, "ＡＢＣ　１２３", "很好"]

ANSWER = """
import json, sys
sys.modules["torch"] = sys.modules["ray"] = None  # importing either is an error
sys.path.insert(0, sys.argv[1])
from predict import Model
model = Model()
sizes = json.loads(sys.argv[3])
texts = json.loads(sys.argv[2])
parts = [texts[a:b] for a, b in zip(sizes, sizes[1:])]
print(json.dumps([row for part in parts for row in model.probabilities(part).tolist()]))
"""


@pytest.fixture(scope="session", params=["linear", "bag", "mlp"])
def exported(request, train_tiny, tmp_path_factory) -> tuple[Artifact, Path]:
    """A tiny model of each kind and the folder it was exported to."""
    artifact = replace(train_tiny(request.param), temperature=1.7)
    out = tmp_path_factory.mktemp("export") / "很好 model"
    export(artifact, str(out), model="reviews@3")
    return artifact, out


def untrained(reviews, kind: str, section: dict, model: dict) -> Artifact:
    """A model of random weights, its linear part too where it has one."""
    section = {"min_count": 1, "embedding_size": 16} | section
    tree = {"kind": kind, kind: section, "linear": {"min_count": 1}} | model
    recipe = make_recipe({"name": "tiny", "data": {"train": "x.csv"}, "model": tree}, "recipe")
    encoder = EncoderRecipe.of(recipe).fit_on([text for text, _ in reviews])
    torch.manual_seed(0)
    sizes = {"num_ids": encoder.num_ids, "num_labels": 2, "num_ngrams": encoder.num_ngrams}
    net = build_model(recipe.model, **sizes)
    if isinstance(net, Residual):
        torch.nn.init.normal_(net.linear.weight[1:])
    words = net.net.words if isinstance(net, Residual) else net.words
    torch.nn.init.normal_(words.weight[1:])  # texts should differ
    return Artifact(recipe, LabelSet(("正面", "负面")), encoder, net.eval(), temperature=1.7)


@pytest.fixture(scope="module", params=KINDS)
def large(request, reviews, tmp_path_factory) -> tuple[Artifact, Path]:
    """A model of each other kind and the folder it was exported to."""
    artifact = untrained(reviews, *KINDS[request.param])
    out = tmp_path_factory.mktemp("export") / "model"
    export(artifact, str(out), model="reviews@4")
    return artifact, out


def test_every_kind_answers_in_onnx_as_in_torch(large):
    import onnx

    artifact, out = large
    told = [str(out), json.dumps(TEXTS), json.dumps([0, 1, 2, 7])]
    done = subprocess.run([sys.executable, "-c", ANSWER, *told], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = Predictor(artifact).probabilities(TEXTS)
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=network.TOLERANCE)
    graph = onnx.load(out / "model.onnx").graph
    sizes = {i.name: [d.dim_param for d in i.type.tensor_type.shape.dim] for i in graph.input}
    beside = ["ngram_ids", "ngram_values"] if artifact.recipe.model.residual else []
    assert sizes == {"ids": ["texts", "length"]} | dict.fromkeys(beside, ["texts", "ngrams"])
    assert not {node.op_type for node in graph.node} & {"Loop", "Scan", "If"}
    assert np.ptp(expected[:, 0]) > 100 * network.TOLERANCE


def in_onnx_runtime(artifact: Artifact, out: Path) -> Predictor:
    return Predictor(artifact, network=InOnnxRuntime((out / "model.onnx").read_bytes()))


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[1:2], TEXTS * 20])
def test_every_kind_scores_in_a_replica_with_onnx_runtime_as_in_torch(large, texts):
    artifact, out = large
    found = in_onnx_runtime(artifact, out).probabilities(texts)
    np.testing.assert_allclose(found, Predictor(artifact).probabilities(texts), atol=1e-5)


def test_a_replica_that_is_to_use_onnx_runtime_exports_what_it_loads(train_tiny, tmp_path):
    artifact = train_tiny("mlp")
    version = Pinned(uri=str(tmp_path / "a"), digest=artifact.save(str(tmp_path / "a")))
    plain, quick = (load("reviews", version, ServeConfig(engine=e)) for e in ("torch", "onnx"))
    assert isinstance(quick.predictor._score.__self__.model, InOnnxRuntime)
    expected, found = (each.predictor.predict(TEXTS, top_k=2) for each in (plain, quick))
    for one, other in zip(expected, found, strict=True):
        assert [label for label, _ in one.labels] == [label for label, _ in other.labels]
        assert dict(one.labels) == pytest.approx(dict(other.labels), abs=1e-5)
    words = explain(quick.predictor.artifact, "手机电池不耐用", label=0, budget_s=60)
    assert words and words == explain(artifact, "手机电池不耐用", label=0, budget_s=60)


@pytest.mark.parametrize("cuts", [[0, 7], [0, 1, 2, 7], list(range(8))])
def test_the_example_answers_as_the_predictor_in_batches_of_any_size(exported, cuts):
    artifact, out = exported
    told = [str(out), json.dumps(TEXTS), json.dumps(cuts)]
    done = subprocess.run([sys.executable, "-c", ANSWER, *told], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = Predictor(artifact).probabilities(TEXTS)
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-6)


def test_the_example_is_a_command(exported):
    _, out = exported
    command = [sys.executable, str(out / "predict.py"), "质量很好，非常满意", "味道太差"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split("\t")[1:] for line in lines] == [
        ["正面", "质量很好，非常满意"],
        ["负面", "味道太差"],
    ]


def test_an_answer_that_is_not_sure_enough_is_none(tiny, tmp_path):
    out = tmp_path / "out"
    export(replace(tiny, threshold=0.9999), str(out), model="reviews@3")
    command = [sys.executable, str(out / "predict.py"), "手机"]
    assert subprocess.run(command, capture_output=True, text=True).stdout.split()[1:] == [
        "?",
        "手机",
    ]


def test_the_folder_may_be_on_s3(tiny, s3):
    place = folder(f"{s3}/reviews-onnx")
    export(tiny, place.uri, model="reviews@3")
    assert {"manifest.json", "model.onnx", "predict.py", "encoder/text.json"} <= set(place.names())
    with pytest.raises(RecipeError, match="holds encoder/ngrams.safetensors already"):
        export(tiny, place.uri, model="reviews@3")


def test_a_place_that_can_not_be_written_is_told_in_a_sentence(tiny, tmp_path):
    (tmp_path / "家书.txt").write_text("很好")
    with pytest.raises(RecipeError, match="can't write there"):
        export(tiny, str(tmp_path / "家书.txt" / "out"), model="reviews@3")


def test_the_folder_says_what_it_holds(exported):
    import onnx

    artifact, out = exported
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert (manifest["format"], manifest["model"]) == ("onnx", "reviews@3")
    assert manifest["temperature"] == 1.7
    assert manifest["compared"]["largest_difference"] <= network.TOLERANCE
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert files == {*manifest["files"], "manifest.json"}
    written = onnx.load(out / "model.onnx")
    onnx.checker.check_model(written, full_check=True)
    (labels,) = (one.value for one in written.metadata_props if one.key == "labels")
    assert json.loads(labels) == json.loads((out / "labels.json").read_bytes()) == ["正面", "负面"]
    assert b"site-packages" not in (out / "model.onnx").read_bytes()
    sizes = [[d.dim_param for d in i.type.tensor_type.shape.dim] for i in written.graph.input]
    assert all(size == ["texts", "length"] for size in sizes)
    operators = {node.op_type for node in written.graph.node}
    assert not operators & {"Loop", "Scan", "If"}, "a loop over texts is slow"
    assert len(artifact.labels) == 2


def test_a_network_that_says_something_else_is_refused(exported):
    artifact, out = exported
    other = deepcopy(artifact.model)
    *_, bias = other.parameters()
    with torch.no_grad():
        bias += 1e-3
    with pytest.raises(ModelError, match="away from torch, at most 1e-05 is allowed"):
        compare(replace(artifact, model=other), (out / "model.onnx").read_bytes())


class Asking(nn.Module):
    """What ONNX has no operators for: another branch for each content."""

    def forward(self, batch):
        return torch.zeros(len(batch.ids), 2) if batch.ids.sum() > 7 else torch.ones(1, 2)


def test_a_kind_that_torch_can_not_export_is_refused_with_the_reason(tiny, tmp_path):
    with pytest.raises(ModelError, match="kind linear can't be exported to ONNX: .+; serve it"):
        export(replace(tiny, model=Asking()), str(tmp_path / "out"), model="reviews@3")
    assert not list(tmp_path.iterdir())


def test_weights_that_no_onnx_file_holds_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(network, "MOST_BYTES", 100)
    with pytest.raises(ModelError, match="an ONNX file holds 2; train with a higher model"):
        to_onnx(tiny)


def test_a_folder_with_other_files_is_left_alone(tiny, tmp_path):
    (tmp_path / "家书.txt").write_text("很好")
    with pytest.raises(RecipeError, match="holds 家书.txt already; name a new or an empty folder"):
        export(tiny, str(tmp_path), model="reviews@3")
    with pytest.raises(RecipeError, match="is a file"):
        export(tiny, str(tmp_path / "家书.txt"), model="reviews@3")
    assert [path.name for path in tmp_path.iterdir()] == ["家书.txt"]


def test_missing_packages_are_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "PACKAGES", ("onnx", "onnx_that_is_not_there"))
    with pytest.raises(RecipeError, match="onnx_that_is_not_there, which isn't installed; .*pip"):
        export(tiny, str(tmp_path / "out"), model="reviews@3")


def test_a_model_that_knows_no_ngram_is_exported(tiny, tmp_path):
    none = NgramTable(tiny.encoder.features.spans, np.zeros(0, np.int32), np.zeros(0, np.float32))
    model = build_model(tiny.recipe.model, num_ids=1, num_labels=2)
    artifact = replace(tiny, encoder=replace(tiny.encoder, features=none), model=model)
    assert export(artifact, str(tmp_path / "out"), model="reviews@3").gap <= network.TOLERANCE


def test_the_command_writes_a_folder_and_says_what_was_compared(tiny_uri, tmp_path):
    out = tmp_path / "out"
    arguments = ["export", tiny_uri, "--out", str(out), "--storage", str(tmp_path / "storage")]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["format"], found["out"]) == (tiny_uri, "onnx", str(out))
    assert found["files"]["model.onnx"] == (out / "model.onnx").stat().st_size
    assert found["compared"]["largest_difference"] <= network.TOLERANCE
    again = CliRunner().invoke(main, arguments)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "name a new or an empty folder" in again.stderr
