"""The schemas of bodies: of answers from their types, of requests with the limits in force."""

import unicodedata
from functools import cache
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter

from bigmodel.config import LimitsConfig
from serve.inference import (
    ID_CHARACTERS,
    OUTPUTS,
    InferResponse,
    ModelMetadata,
    ModelReady,
    ServerMetadata,
)
from serve.problems import KINDS, ProblemBody
from serve.schemas import NOTHING_TO_SEE, ClassifyResponse

Schema = dict[str, Any]

ANSWERS = (ClassifyResponse, InferResponse, ModelMetadata, ModelReady, ServerMetadata, ProblemBody)
_BMP = 0x10000


def schemas(limits: LimitsConfig, *, most_labels: int) -> Schema:
    """Name -> schema; `most_labels` is the most that a model which is served has."""
    top_k = {"type": "integer", "minimum": 1, "maximum": most_labels, "default": 1}
    return {
        **_answers(),
        "Health": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "ClassifyRequest": _closed(
            ["inputs"],
            inputs={"oneOf": [_text(limits), _texts(limits)]},
            parameters=_closed(
                [],
                top_k=top_k,
                explain=_switch("Give the words that moved the first label."),
                truncate=_switch("Cut texts that are too long, instead of refusing them."),
            ),
        ),
        "InferRequest": _closed(
            ["inputs"],
            id={"type": "string", "maxLength": ID_CHARACTERS},
            parameters=_closed([], top_k=top_k, binary_data_output=_switch(_IN_JSON)),
            inputs={"type": "array", "minItems": 1, "maxItems": 1, "items": _tensor(limits)},
            outputs={
                "type": "array",
                "minItems": 1,
                "maxItems": len(OUTPUTS),
                "items": _closed(
                    ["name"],
                    name={"enum": list(OUTPUTS)},
                    parameters=_closed([], binary_data=_switch(_IN_JSON)),
                ),
                "description": "Which outputs, in which order; both where left out.",
            },
        ),
    }


@cache
def visible() -> str:
    """A pattern that finds a character that can be seen, the same in every regex dialect."""
    blank = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in NOTHING_TO_SEE]
    ranges = groupby(enumerate(blank), lambda each: ord(each[1]) - each[0])
    ends = ([character for _, character in group] for _, group in ranges)
    return "[^" + "".join(f"{_literal(run[0])}-{_literal(run[-1])}" for run in ends) + "]"


_IN_JSON = "Accepted, and the answer is JSON all the same."


@cache
def _answers() -> Schema:
    adapters = [(each.__name__, "serialization", TypeAdapter(each)) for each in ANSWERS]
    _, found = TypeAdapter.json_schemas(
        adapters,  # type: ignore[arg-type]  # of different types
        ref_template="#/components/schemas/{model}",
    )
    answers: Schema = found["$defs"]
    for schema in answers.values():
        schema["additionalProperties"] = False
    kinds = answers["ProblemBody"]["properties"]
    kinds["type"]["enum"] = [f"urn:bigmodel:error:{kind}" for kind in KINDS]
    kinds["title"]["enum"] = sorted({title for _, title in KINDS.values()})
    return answers


def _tensor(limits: LimitsConfig) -> Schema:
    tensor = _closed(
        ["name", "shape", "datatype", "data"],
        name={"const": "text"},
        datatype={"const": "BYTES"},
        shape={"type": "array", "description": "[N], the number of texts in data."},
        data=_texts(limits),
        parameters=_closed([]),
    )
    return tensor | {"oneOf": [_of_length(length + 1) for length in range(limits.items)]}


def _of_length(texts: int) -> Schema:
    return {
        "properties": {
            "shape": {"const": [texts]},
            "data": {"minItems": texts, "maxItems": texts},
        }
    }


def _texts(limits: LimitsConfig) -> Schema:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": limits.items,
        "items": _text(limits),
        "description": f"At most {limits.total_characters} characters in all.",
    }


def _text(limits: LimitsConfig) -> Schema:
    return {"type": "string", "maxLength": limits.item_characters, "pattern": visible()}


def _switch(says: str) -> Schema:
    return {"type": "boolean", "default": False, "description": says}


def _closed(required: list[str], **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def _literal(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < _BMP else character
