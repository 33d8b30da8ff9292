"""The body of a request, read strictly, and the body of an answer."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from bigmodel.config import LimitsConfig
from serve.problems import Fault, Problem

if TYPE_CHECKING:
    from bigmodel.predictor import Prediction

MAX_DEPTH = 8
SWITCHES = ("explain", "truncate")
"""Parameters of the contract that can only be false yet."""
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = str.maketrans("{}", "[]")
_NOTHING_TO_SEE = {"Cc", "Cf", "Zs", "Zl", "Zp"}


@dataclass(frozen=True)
class ClassifyRequest:
    """What `POST /v1/classify` asks: the texts in order, and how many labels each."""

    texts: tuple[str, ...]
    top_k: int


class LabelScore(TypedDict):
    label: str
    score: float


class TextAnswer(TypedDict):
    labels: list[LabelScore]
    abstained: bool
    truncated: bool


class Usage(TypedDict):
    items: int
    characters: int


class ClassifyResponse(TypedDict):
    """What `POST /v1/classify` answers; `predictions` stand in the order of the inputs."""

    model: str
    version: str
    request_id: str
    predictions: list[TextAnswer]
    usage: Usage


def read_request(body: bytes, limits: LimitsConfig, *, num_labels: int) -> ClassifyRequest:
    """Problem 400 for what isn't clean JSON, 422 with every fault for what isn't a request."""
    document = parse(body)
    wrong = list(_wrong_in_body(document, limits, num_labels))
    if wrong:
        kind, detail, _ = wrong[0]
        raise Problem(kind, detail, faults=[fault for _, _, fault in wrong])
    inputs = document["inputs"]
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    return ClassifyRequest(texts, document.get("parameters", {}).get("top_k", 1))


def classify_response(
    predictions: "Sequence[Prediction]",
    request: ClassifyRequest,
    *,
    model: str,
    version: str,
    request_id: str,
) -> ClassifyResponse:
    return {
        "model": model,
        "version": version,
        "request_id": request_id,
        "predictions": [
            {
                "labels": [{"label": label, "score": score} for label, score in answer.labels],
                "abstained": answer.abstained,
                "truncated": answer.truncated,
            }
            for answer in predictions
        ],
        "usage": {"items": len(request.texts), "characters": sum(map(len, request.texts))},
    }


def parse(body: bytes) -> Any:
    """JSON without what parsers disagree on: duplicate keys, NaN, half surrogate pairs, depth."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem("not-utf-8", "the body is not UTF-8; send JSON in UTF-8") from None
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_finite,
            parse_constant=_not_finite,
        )
    except RecursionError:
        _too_deep()
    except ValueError:
        raise Problem("not-json", "the body is not JSON; send an object with inputs") from None
    _check_depth(text)
    _check_surrogates(text, document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Problem("duplicate-key", "an object of the body has the same key twice; send it once")
    return found


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _not_finite(number)


def _not_finite(_: str) -> NoReturn:
    raise Problem("not-finite", "the body has NaN, Infinity or a number too large for a double")


def _check_depth(text: str) -> None:
    """`text` is well-formed, so each turn takes away the innermost level of brackets."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    brackets = re.sub(r"[^\[\]]+", "", _STRING.sub("", text).translate(_BRACKETS))
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace("[]", "")
    if brackets:
        _too_deep()


def _too_deep() -> NoReturn:
    raise Problem("too-deep", f"the body is nested deeper than {MAX_DEPTH} levels") from None


def _check_surrogates(text: str, document: Any) -> None:
    if "\\ud" not in text and "\\uD" not in text:
        return
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Problem(
            "lone-surrogate", "the body has half of a surrogate pair; send whole characters"
        ) from None


_Wrong = tuple[str, str, Fault]  # the kind of problem, a sentence, where and what


def _wrong_in_body(document: Any, limits: LimitsConfig, num_labels: int) -> Iterator[_Wrong]:
    if not isinstance(document, dict):
        yield "wrong-type", "the body is not an object with inputs", Fault("", "object_type")
        return
    if document.keys() - {"inputs", "parameters"}:
        detail = "the body has a key other than inputs and parameters"
        yield "unknown-key", detail, Fault("", "unknown_key")
    if "inputs" in document:
        yield from _wrong_in_inputs(document["inputs"], limits)
    else:
        detail = "the body has no inputs: send a text or a list of texts"
        yield "missing-inputs", detail, Fault("/inputs", "missing")
    yield from _wrong_in_parameters(document.get("parameters", {}), num_labels)


def _wrong_in_inputs(inputs: Any, limits: LimitsConfig) -> Iterator[_Wrong]:
    if isinstance(inputs, str):
        yield from _wrong_in_text(inputs, "inputs", limits)
        characters = len(inputs)
    elif isinstance(inputs, list):
        if not inputs:
            yield "too-few-items", "inputs is empty; send a text", Fault("/inputs", "too_short")
        if len(inputs) > limits.items:
            detail = f"inputs has {len(inputs)} items; the limit is {limits.items}"
            yield "too-many-items", detail, Fault("/inputs", "too_long")
            return
        for position, text in enumerate(inputs):
            yield from _wrong_in_text(text, f"inputs/{position}", limits)
        characters = sum(len(text) for text in inputs if isinstance(text, str))
    else:
        detail = "inputs is neither a text nor a list of texts"
        yield "wrong-type", detail, Fault("/inputs", "text_or_list_type")
        return
    if characters > limits.total_characters:
        detail = f"inputs has {characters} characters; the limit is {limits.total_characters}"
        yield "too-many-characters", detail, Fault("/inputs", "too_long")


def _wrong_in_text(text: Any, where: str, limits: LimitsConfig) -> Iterator[_Wrong]:
    if not isinstance(text, str):
        yield "wrong-type", f"{where} is not a text", Fault(f"/{where}", "string_type")
    elif len(text) > limits.item_characters:
        detail = f"{where} has {len(text)} characters; the limit is {limits.item_characters}"
        yield "item-too-long", detail, Fault(f"/{where}", "too_long")
    elif all(unicodedata.category(character) in _NOTHING_TO_SEE for character in text):
        yield "blank-item", f"{where} is empty or blank", Fault(f"/{where}", "blank")


def _wrong_in_parameters(parameters: Any, num_labels: int) -> Iterator[_Wrong]:
    if not isinstance(parameters, dict):
        yield "wrong-type", "parameters is not an object", Fault("/parameters", "object_type")
        return
    if parameters.keys() - {"top_k", *SWITCHES}:
        detail = f"parameters has a key other than top_k, {' and '.join(SWITCHES)}"
        yield "unknown-key", detail, Fault("/parameters", "unknown_key")
    top_k, fault = parameters.get("top_k", 1), "/parameters/top_k"
    if type(top_k) is not int:  # True is an int to isinstance
        yield "wrong-type", "top_k is not a whole number", Fault(fault, "int_type")
    elif not 1 <= top_k <= num_labels:
        detail = f"top_k is outside 1 to {num_labels}, the number of labels"
        yield "top-k-out-of-range", detail, Fault(fault, "out_of_range")
    for name in SWITCHES:
        switch, fault = parameters.get(name, False), f"/parameters/{name}"
        if type(switch) is not bool:
            yield "wrong-type", f"{name} is neither true nor false", Fault(fault, "bool_type")
        elif switch:
            detail = f"{name} is not supported by this release; send false, or leave it out"
            yield "not-supported", detail, Fault(fault, "not_supported")
