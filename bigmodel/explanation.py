"""The words that moved an answer, where they stand in the text as it was sent."""

from collections.abc import Iterator
from dataclasses import dataclass

from bigmodel.artifact import Artifact
from bigmodel.attribution import Attribution, attribute
from bigmodel.text.alignment import Alignment, aligned

_NOTHING = 1e-9  # log-odds: what is left of a zero after rounding


@dataclass(frozen=True)
class Word:
    """sent[start:end], in characters, and what it adds to the label's log-odds."""

    text: str
    start: int
    end: int
    weight: float


def explain(artifact: Artifact, text: str, *, label: int, budget_s: float) -> tuple[Word, ...]:
    """The words that moved `label`, in the order of the text as it was sent; none overlap.

    A weight above 0 spoke for the label, one below against it, in log-odds: the label's calibrated
    log-probability less the mean of the others'. Words that moved nothing aren't given, and none
    are of a blank text. Takes about `budget_s`, for less of it a net's weights are less exact.
    """
    alignment = aligned(artifact.encoder.normalizer, text)
    if not alignment.written:
        return ()
    found = attribute(artifact, alignment.written, label=label, budget_s=budget_s)
    places = _merged(found, alignment)
    return tuple(
        Word(text[start:end], start, end, weight)
        for start, end, weight in places
        if abs(weight) > _NOTHING
    )


def _merged(found: Attribution, alignment: Alignment) -> Iterator[tuple[int, int, float]]:
    """(start, end, weight) as sent; words that were sent as one character or number are one."""
    first, last, whole = 0, 0, 0.0
    for start, end, weight in zip(found.starts, found.ends, found.weights, strict=True):
        place = alignment.sent(int(start), int(end))
        if place is None:
            break
        if place[0] >= last:
            yield first, last, whole
            first, whole = place[0], 0.0
        last, whole = max(last, place[1]), whole + float(weight)
    yield first, last, whole
