"""What texts hold before any table knows it: n-grams with their counts, or words in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bigmodel.text.ngrams import BUCKETS, Ints, NgramSpans

CHUNK = 512  # texts looked at together: text and bucket fit into 32 bits, and all into the cache
CHUNK_CHARACTERS = 1 << 20  # and no more of these, which bounds the memory that n-grams take
_BITS = 23  # of a bucket, of characters or of words

Keys = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Occurrences:
    """The keys of some texts, one text after another: text i has keys[offsets[i]:offsets[i + 1]].

    Of n-grams `keys` are buckets, rising and distinct within a text, and `counts` how often each
    stands there. Of words `keys` are positions in `words` in the order of the text, `counts` None,
    and `ngrams` has the n-grams of the same texts where they are looked at as well.
    """

    keys: Keys
    counts: Keys | None
    offsets: Ints
    words: tuple[str, ...] = ()
    ngrams: "Occurrences | None" = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slices(self, size: int) -> Iterator["Occurrences"]:
        """Neighbouring texts, at most `size` at a time, without the n-grams that stand beside
        words; of no texts one slice of none."""
        for start in range(0, max(1, len(self)), size):
            offsets = self.offsets[start : start + size + 1]
            span = slice(offsets[0], offsets[-1])
            counts = None if self.counts is None else self.counts[span]
            yield Occurrences(self.keys[span], counts, offsets - offsets[0], self.words)

    def held_by(self, chosen: npt.NDArray[np.bool_]) -> tuple[list[str] | Ints, Ints]:
        """(distinct keys, number of the chosen texts that hold each): buckets, or words."""
        lengths = np.diff(self.offsets)
        inside = np.repeat(chosen, lengths)
        if self.counts is not None:
            held, counts = runs(self.keys[inside])
            return held.astype(np.int64), counts
        several = max(1, len(self.words))
        row = np.repeat(np.arange(len(self)), lengths)[inside]
        once, _ = runs(row * several + self.keys[inside])
        held, counts = runs(once % several)
        return [self.words[key] for key in held], counts


def runs(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Ints]:
    """The distinct values, rising, and how often each is there; many times np.unique's speed."""
    values = np.sort(values)
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    start = np.flatnonzero(first)
    return values[start], np.diff(start, append=len(values))


def occurrences_of(
    spans: NgramSpans | None,
    texts: Sequence[str],
    tokens: Sequence[Sequence[str]],
    *,
    beside: NgramSpans | None = None,
) -> Occurrences:
    """The n-grams of normalised texts and their words; without `spans`, the words in order.

    `beside`: of which spans words have n-grams beside them.
    """
    if spans is None:
        words = _words(tokens)
        return replace(words, ngrams=occurrences_of(beside, texts, tokens)) if beside else words
    parts = [_ngrams(spans, texts[chunk], tokens[chunk]) for chunk in chunks(texts)]
    if len(parts) == 1:
        return parts[0]
    counts = [part.counts for part in parts if part.counts is not None]
    return Occurrences(
        np.concatenate([np.zeros(0, np.int32), *(part.keys for part in parts)]),
        np.concatenate([np.zeros(0, np.int32), *counts]),
        np.cumsum(np.concatenate([[0], *(np.diff(part.offsets) for part in parts)])),
    )


def chunks(texts: Sequence[str]) -> Iterator[slice]:
    """Neighbouring texts, at most CHUNK and, but for a single longer one, CHUNK_CHARACTERS."""
    start = characters = 0
    for place, text in enumerate(texts):
        full = place - start == CHUNK or characters + len(text) > CHUNK_CHARACTERS
        if full and place > start:
            yield slice(start, place)
            start, characters = place, 0
        characters += len(text)
    if len(texts) > start:
        yield slice(start, len(texts))


def _ngrams(
    spans: NgramSpans, texts: Sequence[str], tokens: Sequence[Sequence[str]]
) -> Occurrences:
    assert 2 * BUCKETS == 1 << _BITS and CHUNK << _BITS <= 1 << 32
    rows, buckets = spans.count(texts, tokens)
    both, counts = runs(((rows << _BITS) + buckets).astype(np.uint32))
    lengths = np.bincount(both >> np.uint32(_BITS), minlength=len(texts))
    keys = (both & np.uint32((1 << _BITS) - 1)).astype(np.int32)
    return Occurrences(keys, counts.astype(np.int32), offsets_of(lengths))


def _words(tokens: Sequence[Sequence[str]]) -> Occurrences:
    flat = [token for row in tokens for token in row]
    place = {word: number for number, word in enumerate(dict.fromkeys(flat))}
    keys = np.fromiter(map(place.__getitem__, flat), np.int32, len(flat))
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    return Occurrences(keys, None, offsets_of(lengths), tuple(place))


def offsets_of(lengths: npt.ArrayLike) -> Ints:
    """Where each of some neighbours begins, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
