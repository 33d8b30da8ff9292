"""Tokens and n-grams to ids: tables fitted on training texts, in a deterministic order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bigmodel.text.ngrams import BUCKETS, Ints, NgramSpans

Floats = npt.NDArray[np.float32]
UNKNOWN = 1  # the id of a token outside the vocabulary; 0 is padding everywhere


@dataclass(frozen=True)
class Encoded:
    """The ids of some texts, one after another.

    `ids` int32 [N], at least 1; `values` float32 [N], the weight of each id in its text, or None
    where all count alike; `offsets` int64 [texts + 1]: text i has ids[offsets[i]:offsets[i + 1]];
    `truncated` bool [texts]: whether a text was cut at the recipe's length.
    """

    ids: npt.NDArray[np.int32]
    values: Floats | None
    offsets: Ints
    truncated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Vocabulary:
    """Words by falling count, then code point; ids 2 and up in that order, 1 for all others."""

    words: tuple[str, ...]
    max_tokens: int

    @property
    def num_ids(self) -> int:
        return len(self.words) + 2

    def encode(self, texts: Sequence[str], tokens: Sequence[Sequence[str]]) -> Encoded:
        """Ids of words in order, cut after `max_tokens`; the texts themselves aren't looked at."""
        kept = [row[: self.max_tokens] for row in tokens]
        look_up = self._ids.get
        ids = np.fromiter((look_up(token, UNKNOWN) for row in kept for token in row), np.int32)
        truncated = np.fromiter((len(row) > self.max_tokens for row in tokens), np.bool_)
        return Encoded(ids, None, _offsets([len(row) for row in kept]), truncated)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, UNKNOWN + 1)}


@dataclass(frozen=True, eq=False)
class NgramTable:
    """The n-gram buckets kept, in rising order (id = position + 1), each with its idf.

    An n-gram's value in a text is (1 + ln tf) * idf, and the character n-grams and the word
    n-grams of a text are each scaled to length 1.
    """

    spans: NgramSpans
    buckets: npt.NDArray[np.int32]
    idf: Floats

    @property
    def num_ids(self) -> int:
        return len(self.buckets) + 1

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NgramTable)
            and self.spans == other.spans
            and np.array_equal(self.buckets, other.buckets)
            and np.array_equal(self.idf, other.idf)
        )

    def encode(self, texts: Sequence[str], tokens: Sequence[Sequence[str]]) -> Encoded:
        """Known n-grams of each text, by rising id; a text with none has no ids."""
        rows, buckets, counts = occurrences(self.spans, texts, tokens)
        # of the table's own type: else numpy converts the whole table at each call
        place = np.searchsorted(self.buckets, buckets.astype(np.int32))
        place[place == len(self.buckets)] = 0
        known = (
            self.buckets[place] == buckets if len(self.buckets) else np.zeros(len(rows), np.bool_)
        )
        rows, place, buckets = rows[known], place[known], buckets[known]
        values = (1 + np.log(counts[known])) * self.idf[place]
        block = 2 * rows + (buckets >= BUCKETS)
        squares = np.bincount(block, values * values, minlength=2 * len(texts))
        values = (values / np.sqrt(squares[block])).astype(np.float32)
        offsets = _offsets(np.bincount(rows, minlength=len(texts)))
        ids = (place + 1).astype(np.int32)
        return Encoded(ids, values, offsets, np.zeros(len(texts), np.bool_))


def occurrences(
    spans: NgramSpans, texts: Sequence[str], tokens: Sequence[Sequence[str]]
) -> tuple[Ints, Ints, Ints]:
    """(rows, buckets, counts) of the distinct n-grams of each text, by row, then bucket."""
    rows, buckets = spans.count(texts, tokens)
    key, counts = np.unique(rows * (2 * BUCKETS) + buckets, return_counts=True)
    return key // (2 * BUCKETS), key % (2 * BUCKETS), counts


def fit_vocabulary(
    words: Sequence[str], counts: Sequence[int], *, min_count: int, size: int, max_tokens: int
) -> Vocabulary:
    """`counts[i]` is the number of training texts that hold the distinct `words[i]`."""
    kept = [(-count, word) for word, count in zip(words, counts, strict=True) if count >= min_count]
    return Vocabulary(tuple(word for _, word in sorted(kept)[:size]), max_tokens)


def fit_ngrams(
    spans: NgramSpans, buckets: Ints, counts: Ints, *, num_texts: int, min_count: int, size: int
) -> NgramTable:
    """`counts[i]` of the `num_texts` training texts hold the n-gram `buckets[i]`; all are distinct.

    Keeps the `size` most frequent (0: all). idf = ln((1 + n) / (1 + df)) + 1, as scikit-learn.
    """
    kept = np.flatnonzero(counts >= min_count)
    if size and len(kept) > size:
        kept = kept[np.lexsort((buckets[kept], -counts[kept]))[:size]]
    kept = kept[np.argsort(buckets[kept])]
    idf = np.log((1 + num_texts) / (1 + counts[kept])) + 1
    return NgramTable(spans, buckets[kept].astype(np.int32), idf.astype(np.float32))


def _offsets(lengths: Any) -> Ints:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
