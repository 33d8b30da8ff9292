"""Hashed n-grams of characters and words, for whole batches of texts at a time.

Prefix sums S(i) of c(k) * P**k modulo 2**64 give the hash of any span [i, j) without a loop over
its characters: (S(j) - S(i)) * P**-i. A final mix spreads it over the buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

BUCKET_BITS = 22
BUCKETS = 1 << BUCKET_BITS
_PRIME = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class NgramSpans:
    """Which n-grams to look at: shortest and longest of characters, of words; (0, 0) is none."""

    chars: tuple[int, int]
    words: tuple[int, int]

    def count(self, texts: Sequence[str], tokens: Sequence[Sequence[str]]) -> tuple[Ints, Ints]:
        """(rows, buckets) of every n-gram, unordered; the words' buckets lie above BUCKETS.

        A text with no n-gram has no entry.
        """
        parts = [_spans(list(texts), *self.chars)] if self.chars[1] else []
        if self.words[1]:
            rows, buckets = _word_spans(tokens, *self.words)
            parts.append((rows, buckets + BUCKETS))
        rows, buckets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return rows, buckets


def _spans(texts: list[str], shortest: int, longest: int) -> tuple[Ints, Ints]:
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    prefix = _prefix_hashes("".join(texts))
    row_of = np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(row_of))  # characters to the end
    rows, buckets = [], []
    for size in range(shortest, longest + 1):
        start = np.flatnonzero(left >= size)
        rows.append(row_of[start])
        buckets.append(_buckets(_span_hash(prefix, start, start + size), size))
    return np.concatenate(rows), np.concatenate(buckets)


def _word_spans(tokens: Sequence[Sequence[str]], shortest: int, longest: int) -> tuple[Ints, Ints]:
    counts = np.fromiter(map(len, tokens), np.int64, len(tokens))
    flat = [token for row in tokens for token in row]
    lengths = np.fromiter(map(len, flat), np.int64, len(flat))
    ends = np.cumsum(lengths)
    words = mix64(_span_hash(_prefix_hashes("".join(flat)), ends - lengths, ends))
    row_of = np.repeat(np.arange(len(tokens)), counts)
    left = np.repeat(np.cumsum(counts), counts) - np.arange(len(row_of))
    rows, buckets = [], []
    joined = words.copy()
    for size in range(1, longest + 1):
        start = np.flatnonzero(left >= size)
        if size > 1:
            joined[start] = mix64(joined[start] * np.uint64(_PRIME) + words[start + size - 1])
        if size >= shortest:
            rows.append(row_of[start])
            buckets.append(_buckets(joined[start], size))
    return np.concatenate(rows), np.concatenate(buckets)


def window_hashes(text: str, size: int) -> Hashes:
    """Of every `size` characters in a row, [len(text) - size + 1]; a shorter text has none.

    Equal characters have equal hashes in any text, place and process.
    """
    prefix = _prefix_hashes(text)
    spans = prefix[size:] - prefix[:-size]
    return mix64(spans * _powers(len(prefix))[1][: len(spans)])


def _prefix_hashes(text: str) -> Hashes:
    """S(0..n) of the module's docstring."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    prefix = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes + np.uint64(1)) * _powers(len(codes))[0][: len(codes)], out=prefix[1:])
    return prefix


def _span_hash(prefix: Hashes, start: Ints, end: Ints) -> Hashes:
    return (prefix[end] - prefix[start]) * _powers(len(prefix))[1][start]


def _powers(length: int) -> tuple[Hashes, Hashes]:
    """At least `length` powers of P and of its inverse modulo 2**64."""
    return _power_tables(1 << max(length, 1 << 16).bit_length())


@lru_cache(maxsize=8)
def _power_tables(length: int) -> tuple[Hashes, Hashes]:
    tables = []
    for base in (_PRIME, pow(_PRIME, -1, 1 << 64)):
        factors = np.full(length, base, np.uint64)
        factors[0] = 1
        tables.append(np.cumprod(factors))
    return tables[0], tables[1]


def mix64(values: Hashes) -> Hashes:
    """The finaliser of splitmix64: every bit of the input moves every bit of the result."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _buckets(hashes: Hashes, size: int) -> Ints:
    return (mix64(hashes + np.uint64(size)) >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)
