"""The Open Inference Protocol in JSON: one tensor of texts in, labels and scores out."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from bigmodel.config import LimitsConfig
from serve.classify import timing
from serve.http import Answer, Request
from serve.models import Models, Served
from serve.problems import Fault, Problem
from serve.schemas import Asked, Wrong, is_whole, refuse, wrong_in_texts, wrong_switch, wrong_top_k
from serve.work import Work

if TYPE_CHECKING:
    from bigmodel.predictor import Prediction

SERVER = "bigmodel"
OUTPUTS = ("label", "score")
ID_CHARACTERS = 256


class OutputTensor(TypedDict):
    name: str
    shape: list[int]
    datatype: str
    data: list[str] | list[float]


class InferResponse(TypedDict):
    """`label` [N] has the first label of each text, `score` [N, k] the best scores, row by row."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


class TensorMetadata(TypedDict):
    """Of a tensor; -1 is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(TypedDict):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    labels: list[str]
    limits: dict[str, float]


class ServerMetadata(TypedDict):
    name: str
    version: str
    extensions: list[str]
    models: list[str]
    limits: dict[str, float]


class ModelReady(TypedDict):
    name: str
    ready: bool


class Infer:
    """`POST /v2/models/{model}[/versions/{version}]/infer`."""

    def __init__(self, models: Models, work: Work) -> None:
        self._models, self._work = models, work

    async def __call__(self, request: Request, model: str, version: str | None) -> Answer:
        start = time.perf_counter()
        self._work.draining.check()
        with self._work.admitted:
            served = find(self._models, model, version)
            # tritonclient says no content type
            document, deadline = await self._work.body(request, untyped=True)
            num_labels = len(served.predictor.labels)
            refuse(_wrong_in_body(document, self._work.limits, num_labels))
            parameters = document.get("parameters", {})
            top_k = int(parameters.get("top_k", 1))
            asked = Asked(tuple(document["inputs"][0]["data"]), top_k)
            read = time.perf_counter()
            answers, _ = await self._work.predict(served, asked, deadline=deadline)
        body: InferResponse = {
            "model_name": served.name,
            "model_version": served.version,
            "id": document.get("id", request.id.decode()),
            "outputs": _outputs(answers, document.get("outputs"), asked.top_k),
        }
        return Answer.json(
            body, model=served.name, version=served.version, timing=timing(start, read)
        )


def find(models: Models, model: str, version: str | None) -> Served:
    """Problem 404 for a name that nobody serves, and for a version that isn't the one served."""
    served = models.get(model)
    if served is None:
        raise Problem("unknown-model", "no model of this name is served; GET /v2 names them")
    if version not in (None, served.version):
        raise Problem("unknown-version", "this version isn't served; leave it out, or ask for it")
    return served


def model_metadata(served: Served, limits: LimitsConfig) -> ModelMetadata:
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": "bigmodel",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1, -1]},
        ],
        "labels": list(served.predictor.labels),
        "limits": limits.model_dump(),
    }


def server_metadata(models: Models, limits: LimitsConfig, release: str) -> ServerMetadata:
    return {
        "name": SERVER,
        "version": release,
        "extensions": [],
        "models": list(models.names),
        "limits": limits.model_dump(),
    }


def _outputs(
    answers: "list[Prediction]", wanted: list[dict[str, Any]] | None, top_k: int
) -> list[OutputTensor]:
    """Those that are wanted in their order; both where nothing is said."""
    texts = len(answers)
    both: dict[str, OutputTensor] = {
        "label": {
            "name": "label",
            "shape": [texts],
            "datatype": "BYTES",
            "data": [answer.labels[0][0] for answer in answers],
        },
        "score": {
            "name": "score",
            "shape": [texts, top_k],
            "datatype": "FP32",
            "data": [score for answer in answers for _, score in answer.labels],
        },
    }
    names = OUTPUTS if wanted is None else [each["name"] for each in wanted]
    return [both[name] for name in names]


def _wrong_in_body(document: Any, limits: LimitsConfig, num_labels: int) -> Iterator[Wrong]:
    if not isinstance(document, dict):
        yield "wrong-type", "the body is not an object with inputs", Fault("", "object_type")
        return
    yield from _unknown(document, ("id", "parameters", "inputs", "outputs"), "")
    request_id = document.get("id", "")
    if not isinstance(request_id, str):
        yield "wrong-type", "id is not a text", Fault("/id", "string_type")
    elif len(request_id) > ID_CHARACTERS:
        detail = f"id has {len(request_id)} characters; the limit is {ID_CHARACTERS}"
        yield "item-too-long", detail, Fault("/id", "too_long")
    yield from _wrong_in_inputs(document, limits)
    yield from _wrong_in_outputs(document.get("outputs", [{"name": "label"}]))
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        yield "wrong-type", "parameters is not an object", Fault("/parameters", "object_type")
        return
    yield from _unknown(parameters, ("top_k", "binary_data_output"), "parameters")
    yield from wrong_top_k(parameters.get("top_k", 1), num_labels)
    yield from wrong_switch(parameters, "binary_data_output")


def _wrong_in_inputs(document: dict[str, Any], limits: LimitsConfig) -> Iterator[Wrong]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        kind = "wrong-type" if "inputs" in document else "missing-inputs"
        yield kind, "inputs is not a list of one tensor, text", Fault("/inputs", "one_tensor")
        return
    tensor = inputs[0]
    yield from _unknown(tensor, ("name", "shape", "datatype", "data", "parameters"), "inputs/0")
    for key, expected in (("name", "text"), ("datatype", "BYTES")):
        if tensor.get(key) != expected:
            fault = Fault(f"/inputs/0/{key}", "unexpected")
            yield "unknown-tensor", f"the {key} of the input is not {expected}", fault
    if tensor.get("parameters", {}) != {}:
        fault = Fault("/inputs/0/parameters", "unknown_key")
        yield "unknown-key", "the input has parameters; it takes none", fault
    data = tensor.get("data")
    if not isinstance(data, list):
        yield "wrong-type", "data is not a list of texts", Fault("/inputs/0/data", "list_type")
        return
    yield from wrong_in_texts(data, limits, place="inputs/0/data")
    shape = tensor.get("shape")
    if shape != [len(data)] or not is_whole(shape[0]):
        detail = f"the shape of the input is not [{len(data)}], the number of its texts"
        yield "wrong-shape", detail, Fault("/inputs/0/shape", "wrong_shape")


def _wrong_in_outputs(outputs: Any) -> Iterator[Wrong]:
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        yield "wrong-type", "outputs is not a list of tensors", Fault("/outputs", "list_type")
        return
    names = [each.get("name") for each in outputs]
    if not 0 < len(names) <= len(OUTPUTS) or any(name not in OUTPUTS for name in names):
        detail = f"outputs does not name {' or '.join(OUTPUTS)} once or twice"
        yield "unknown-tensor", detail, Fault("/outputs", "unexpected")
    for position, output in enumerate(outputs):
        place = f"outputs/{position}"
        yield from _unknown(output, ("name", "parameters"), place)
        parameters = output.get("parameters", {})
        if not isinstance(parameters, dict):
            fault = Fault(f"/{place}/parameters", "object_type")
            yield "wrong-type", "parameters of an output is not an object", fault
            continue
        yield from _unknown(parameters, ("binary_data",), f"{place}/parameters")
        yield from wrong_switch(parameters, "binary_data", place=f"{place}/parameters")


def _unknown(found: dict[str, Any], known: tuple[str, ...], place: str) -> Iterator[Wrong]:
    if found.keys() - set(known):
        detail = f"{place or 'the body'} has a key other than {', '.join(known)}"
        yield "unknown-key", detail, Fault(place and f"/{place}", "unknown_key")
