"""Where each character of a normalised text stands in the text as it was sent."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bigmodel.text.ngrams import Ints

Normalise = Callable[[str], str]
WORK = 1 << 20  # characters normalised for one text at most; one of 8,192 takes up to half
_CALL = 16  # one call costs as much as so many characters
_ALL_PLACES = 64  # a piece as short as that is tried everywhere


@dataclass(frozen=True)
class Alignment:
    """`written` is the normalised text; its character i comes from sent[starts[i]:ends[i]].

    Both rise or stay, int64 [characters]; -1 from where on it wasn't found out.
    """

    written: str
    starts: Ints
    ends: Ints

    def sent(self, start: int, end: int) -> tuple[int, int] | None:
        """Where written[start:end], which isn't empty, was sent; None where that isn't known."""
        first, last = int(self.starts[start]), int(self.ends[end - 1])
        return (first, last) if first >= 0 and last >= 0 else None


@dataclass(frozen=True)
class _Piece:
    """sent[start:end] is normalised to `written`, which begins at `place` of the whole."""

    start: int
    end: int
    place: int
    written: str


def aligned(normalise: Normalise, text: str) -> Alignment:
    """By cutting the text wherever its two halves, normalised apart, give the same as together.

    So it holds for whatever a normaliser does, and each cut is its own proof. What can't be cut (a
    link, a number under its mask, letter and accent) is one piece, and its characters stand for all
    of it. A text that takes more than WORK is known from its beginning to where that ended.
    """
    whole = normalise(text)
    starts, ends = np.full((2, len(whole)), -1, np.int64)
    waiting, work = [_Piece(0, len(text), 0, whole)], 0
    while waiting and work <= WORK:
        piece = waiting.pop()  # the leftmost
        if not piece.written:
            continue
        end = piece.place + len(piece.written)
        if text[piece.start : piece.end] == piece.written:
            at = np.arange(piece.start, piece.end)
            starts[piece.place : end], ends[piece.place : end] = at, at + 1
            continue
        halves, cost = _cut(normalise, text, piece)
        work += cost
        if not halves:
            starts[piece.place : end], ends[piece.place : end] = piece.start, piece.end
        waiting.extend(reversed(halves))
    return Alignment(whole, starts, ends)


def _cut(normalise: Normalise, text: str, piece: _Piece) -> tuple[list[_Piece], int]:
    """(both halves, or the blank between them as a third; what it cost); none where none works."""
    cost, written = 0, piece.written
    for at in _places(piece.start, piece.end):
        left = normalise(text[piece.start : at])
        cost += at - piece.start + _CALL
        if not written.startswith(left):
            continue
        right = normalise(text[at : piece.end])
        cost += piece.end - at + _CALL
        for between in ("", " "):
            if f"{left}{between}{right}" == written:
                place = piece.place + len(left)
                halves = [_Piece(piece.start, at, piece.place, left)]
                if between:
                    halves.append(_Piece(at, at, place, between))
                halves.append(_Piece(at, piece.end, place + len(between), right))
                return halves, cost
    return [], cost


def _places(start: int, end: int) -> Iterator[int]:
    """Where to try a cut, in the middle first: everywhere, or by steps that double from the middle
    and from both ends."""
    middle, length = (start + end) // 2, end - start
    if length <= _ALL_PLACES:
        places = set(range(start + 1, end))
    else:
        steps = [1 << power for power in range((length // 2).bit_length())]
        places = {middle, *(start + step for step in steps), *(end - step for step in steps)}
        places |= {place for step in steps for place in (middle - step, middle + step)}
    inside = (place for place in places if start < place < end)
    yield from sorted(inside, key=lambda place: (abs(place - middle), place))
