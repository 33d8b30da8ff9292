"""JSON as everybody reads it: what parsers disagree on is refused."""

import json
import math
import re
from typing import Any, NoReturn

from serve.problems import Problem

MAX_DEPTH = 8
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = str.maketrans("{}", "[]")


def parse(body: bytes) -> Any:
    """Problem 400 for duplicate keys, NaN, half surrogate pairs, too much depth, and no JSON."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem("not-utf-8", "the body is not UTF-8; send JSON in UTF-8") from None
    try:
        document = _DECODER.decode(text)
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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_finite, parse_constant=_not_finite
)


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
