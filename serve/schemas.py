"""The body of `POST /v1/classify`, checked strictly, and the body of its answer."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    NotRequired,  # pydantic needs it before Python 3.12
)

from typing_extensions import TypedDict

from bigmodel.config import LimitsConfig
from serve.problems import Fault, Problem

if TYPE_CHECKING:
    from bigmodel.predictor import Prediction

PARAMETERS = ("top_k", "explain", "truncate")
NOTHING_TO_SEE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Categories of characters of which no text consists alone."""

Wrong = tuple[str, str, Fault]  # the kind of problem, a sentence, where and what


@dataclass(frozen=True)
class Asked:
    """The texts in order, how many labels each, and whether the words are wanted too; `cut` are
    the positions of those that were too long and lost their ends."""

    texts: tuple[str, ...]
    top_k: int = 1
    explain: bool = False
    cut: frozenset[int] = frozenset()


class LabelScore(TypedDict):
    label: str
    score: float


class WordWeight(TypedDict):
    """A word that moved the first label, up or down; positions in characters of the input."""

    text: str
    start: int
    end: int
    weight: float


class TextAnswer(TypedDict):
    labels: list[LabelScore]
    abstained: bool
    truncated: bool
    words: NotRequired[list[WordWeight]]


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


def read_request(document: Any, limits: LimitsConfig, *, num_labels: int) -> Asked:
    """Problem 422 with every fault for what isn't a request."""
    refuse(wrong_in_body(document, limits, num_labels))
    inputs, parameters = document["inputs"], document.get("parameters", {})
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    cut: frozenset[int] = frozenset()
    if parameters.get("truncate"):
        most = limits.item_characters
        cut = frozenset(i for i, text in enumerate(texts) if len(text) > most)
        texts = tuple(text[:most] for text in texts)
    return Asked(texts, int(parameters.get("top_k", 1)), parameters.get("explain", False), cut)


def refuse(found: Iterator[Wrong]) -> None:
    """Nothing, where nothing is wrong."""
    wrong = list(found)
    if wrong:
        kind, detail, _ = wrong[0]
        raise Problem(kind, detail, faults=[fault for _, _, fault in wrong])


def text_answer(answer: "Prediction", *, cut: bool = False) -> TextAnswer:
    return {
        "labels": [{"label": label, "score": score} for label, score in answer.labels],
        "abstained": answer.abstained,
        "truncated": answer.truncated or cut,
    }


def usage(texts: Sequence[str]) -> Usage:
    """What was read: where texts were cut, what is left of them."""
    return {"items": len(texts), "characters": sum(map(len, texts))}


def wrong_in_body(document: Any, limits: LimitsConfig, num_labels: int) -> Iterator[Wrong]:
    if not isinstance(document, dict):
        yield "wrong-type", "the body is not an object with inputs", Fault("", "object_type")
        return
    if document.keys() - {"inputs", "parameters"}:
        detail = "the body has a key other than inputs and parameters"
        yield "unknown-key", detail, Fault("", "unknown_key")
    parameters = document.get("parameters", {})
    if "inputs" in document:
        cuts = isinstance(parameters, dict) and parameters.get("truncate") is True
        yield from _wrong_in_inputs(document["inputs"], limits, cuts)
    else:
        detail = "the body has no inputs: send a text or a list of texts"
        yield "missing-inputs", detail, Fault("/inputs", "missing")
    if parameters != {}:
        yield from _wrong_in_parameters(parameters, num_labels)


def _wrong_in_inputs(inputs: Any, limits: LimitsConfig, cuts: bool) -> Iterator[Wrong]:
    if isinstance(inputs, str):
        yield from wrong_in_texts([inputs], limits, place="inputs", alone=True, cuts=cuts)
    elif isinstance(inputs, list):
        yield from wrong_in_texts(inputs, limits, place="inputs", cuts=cuts)
    else:
        detail = "inputs is neither a text nor a list of texts"
        yield "wrong-type", detail, Fault("/inputs", "text_or_list_type")


def wrong_in_texts(
    texts: list[Any], limits: LimitsConfig, *, place: str, alone: bool = False, cuts: bool = False
) -> Iterator[Wrong]:
    """`place`: where the list stands in the body, or the text where it is `alone`. What `cuts` is
    to cut isn't too long."""
    if not texts:
        yield "too-few-items", f"{place} is empty; send a text", Fault(f"/{place}", "too_short")
    if len(texts) > limits.items:
        detail = f"{place} has {len(texts)} items; the limit is {limits.items}"
        yield "too-many-items", detail, Fault(f"/{place}", "too_long")
        return
    characters = 0
    for position, text in enumerate(texts):
        where = place if alone else f"{place}/{position}"
        if not isinstance(text, str):
            yield "wrong-type", f"{where} is not a text", Fault(f"/{where}", "string_type")
            continue
        if len(text) > limits.item_characters:
            if not cuts:
                yield _too_long(where, len(text), limits.item_characters)
            text = text[: limits.item_characters] if cuts else text
        characters += len(text)
        if is_blank(text):
            yield "blank-item", f"{where} is empty or blank", Fault(f"/{where}", "blank")
    if characters > limits.total_characters:
        detail = f"{place} has {characters} characters; the limit is {limits.total_characters}"
        yield "too-many-characters", detail, Fault(f"/{place}", "too_long")


def _too_long(where: str, characters: int, most: int) -> Wrong:
    detail = f"{where} has {characters} characters; the limit is {most}, or send truncate"
    return "item-too-long", detail, Fault(f"/{where}", "too_long")


def is_blank(text: str) -> bool:
    """There is nothing to see: blanks, controls, marks of direction, no width."""
    return all(unicodedata.category(character) in NOTHING_TO_SEE for character in text)


def _wrong_in_parameters(parameters: Any, num_labels: int) -> Iterator[Wrong]:
    if not isinstance(parameters, dict):
        yield "wrong-type", "parameters is not an object", Fault("/parameters", "object_type")
        return
    if parameters.keys() - set(PARAMETERS):
        detail = f"parameters has a key other than {', '.join(PARAMETERS)}"
        yield "unknown-key", detail, Fault("/parameters", "unknown_key")
    yield from wrong_top_k(parameters.get("top_k", 1), num_labels)
    for name in ("explain", "truncate"):
        yield from wrong_switch(parameters, name)


def wrong_top_k(top_k: Any, num_labels: int) -> Iterator[Wrong]:
    fault = "/parameters/top_k"
    if not is_whole(top_k):
        yield "wrong-type", "top_k is not a whole number", Fault(fault, "int_type")
    elif not 1 <= top_k <= num_labels:
        detail = f"top_k is outside 1 to {num_labels}, the number of labels"
        yield "top-k-out-of-range", detail, Fault(fault, "out_of_range")


def is_whole(number: Any) -> bool:
    """As JSON Schema has it: 2.0 is whole; True, an int to Python, is no number."""
    return type(number) is int or (type(number) is float and number.is_integer())


def wrong_switch(
    values: dict[str, Any], name: str, *, place: str = "parameters"
) -> Iterator[Wrong]:
    if type(values.get(name, False)) is not bool:
        fault = Fault(f"/{place}/{name}", "bool_type")
        yield "wrong-type", f"{name} is neither true nor false", fault
