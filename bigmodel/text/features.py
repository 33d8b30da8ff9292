"""Tokens and n-grams to ids: tables fitted on training texts, in a deterministic order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bigmodel.text.ngrams import BUCKETS, Ints, NgramSpans
from bigmodel.text.occurrences import CHUNK, Occurrences, offsets_of

Floats = npt.NDArray[np.float32]
UNKNOWN = 1  # the id of a token outside the vocabulary; 0 is padding everywhere


@dataclass(frozen=True)
class Encoded:
    """The ids of some texts, one after another.

    `ids` int32 [N], at least 1; `values` float32 [N], the weight of each id in its text, or None
    where all count alike; `offsets` int64 [texts + 1]: text i has ids[offsets[i]:offsets[i + 1]];
    `truncated` bool [texts]: whether a text was cut at the recipe's length. `ngrams`: the same
    texts once more, as n-grams beside words, for a model that reads both.
    """

    ids: npt.NDArray[np.int32]
    values: Floats | None
    offsets: Ints
    truncated: npt.NDArray[np.bool_]
    ngrams: "Encoded | None" = None

    def __len__(self) -> int:
        return len(self.offsets) - 1


def concatenate(parts: Sequence[Encoded]) -> Encoded:
    """The texts of all parts, in order; none of no parts. Of parts all or none have n-grams."""
    if not parts:
        return Encoded(np.zeros(0, np.int32), None, np.zeros(1, np.int64), np.zeros(0, np.bool_))
    starts = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
    values = [part.values for part in parts if part.values is not None]
    ngrams = [part.ngrams for part in parts if part.ngrams is not None]
    assert len(ngrams) in (0, len(parts)), "some texts have n-grams beside their words, others none"
    return Encoded(
        np.concatenate([part.ids for part in parts]),
        np.concatenate(values) if values else None,
        np.concatenate([np.zeros(1, np.int64), *offsets]),
        np.concatenate([part.truncated for part in parts]),
        concatenate(ngrams) if ngrams else None,
    )


@dataclass(frozen=True)
class Vocabulary:
    """Words by falling count, then code point; ids 2 and up in that order, 1 for all others."""

    words: tuple[str, ...]
    max_tokens: int

    @property
    def num_ids(self) -> int:
        return len(self.words) + 2

    @property
    def spans(self) -> None:
        """No n-grams."""

    def look_up(self, held: Occurrences) -> Encoded:
        """Ids of the words in order, cut after `max_tokens`."""
        look_up = self._ids.get
        ids = np.fromiter((look_up(word, UNKNOWN) for word in held.words), np.int32)
        lengths = np.diff(held.offsets)
        kept = np.minimum(lengths, self.max_tokens)
        starts = np.repeat(held.offsets[:-1], kept)
        offsets = offsets_of(kept)
        place = starts + np.arange(len(starts)) - np.repeat(offsets[:-1], kept)
        return Encoded(ids[held.keys[place]], None, offsets, lengths > self.max_tokens)

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

    def look_up(self, held: Occurrences) -> Encoded:
        """Known n-grams of each text, by rising id; a text with none has no ids."""
        return concatenate([self._look_up(some) for some in held.slices(CHUNK)])

    def _look_up(self, held: Occurrences) -> Encoded:
        assert held.counts is not None
        ids = self._ids[held.keys]
        known = ids > 0
        rows = np.repeat(np.arange(len(held)), np.diff(held.offsets))[known]
        ids, keys = ids[known], held.keys[known]
        values = (1 + np.log(held.counts[known])) * self.idf[ids - 1]
        block = 2 * rows + (keys >= BUCKETS)
        squares = np.bincount(block, values * values, minlength=2 * len(held))
        values = (values / np.sqrt(squares[block])).astype(np.float32)
        offsets = offsets_of(np.bincount(rows, minlength=len(held)))
        return Encoded(ids, values, offsets, np.zeros(len(held), np.bool_))

    @cached_property
    def _ids(self) -> npt.NDArray[np.int32]:
        """The id of every bucket, 0 where it isn't kept: 33 MB, and one look-up an n-gram."""
        ids = np.zeros(2 * BUCKETS, np.int32)
        ids[self.buckets] = np.arange(1, len(self.buckets) + 1, dtype=np.int32)
        return ids


@dataclass(frozen=True)
class TableRecipe:
    """A table before it has seen a text: of n-grams, or without `spans` of words in order.

    It keeps what stands in `min_count` training texts, the `size` most frequent of that; for
    n-grams 0 is all. Texts are cut after `max_tokens` words, and n-grams see the whole text.
    """

    spans: NgramSpans | None
    min_count: int
    size: int
    max_tokens: int | None = None

    def fit(self, keys: Any, counts: Any, num_texts: int) -> Vocabulary | NgramTable:
        """The table, from the sums of `held_by` over all `num_texts` training texts."""
        limits = {"min_count": self.min_count, "size": self.size}
        if self.spans is None:
            assert self.max_tokens is not None
            return fit_vocabulary(list(keys), list(counts), max_tokens=self.max_tokens, **limits)
        buckets, counts = np.asarray(keys), np.asarray(counts)
        return fit_ngrams(self.spans, buckets, counts, num_texts=num_texts, **limits)


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
