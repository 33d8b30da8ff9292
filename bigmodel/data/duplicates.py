"""Near-duplicate texts, millions at a time: hashes to find them by, a check, groups.

A text is the set of its shingles, and two texts are near each other when the Jaccard similarity J
of these sets is at least THRESHOLD. The smallest value of a hash function over a set is the same
for two sets with probability J (MinHash: Broder, 1997). A band joins HASHES of them; two texts
share at least one band with probability 1 - (1 - J**HASHES)**BANDS, which is 0.99 at 0.8, 0.32 at
0.5, 0.004 at 0.2. Texts that share a band are compared in full; `benchmarks/near_duplicates.py`
counts what is found, and what it costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from bigmodel.text.ngrams import mix64, window_hashes

SHINGLE = 4
"""Characters in a shingle; a shorter text is one shingle, itself."""
THRESHOLD = 0.8
STRICT_THRESHOLD = 0.9
"""Within a group that is too large."""
BANDS = 12
HASHES = 5
"""In a band."""
NEIGHBOURS = 4

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]
"""[pairs, 2] keys of texts, none paired with itself."""

_CELLS = 1 << 16  # shingles looked at together: with a copy they fit in half a megabyte of cache
_NARROW = 64  # texts side by side, below which numpy is quicker along a text than across texts
_CHARACTERS = 1 << 18  # compared together
_FACTORS = (mix64(np.arange(BANDS * HASHES, dtype=np.uint64) + 1) >> 32).astype(np.uint32) | 1
_WEIGHTS = mix64(np.arange(HASHES, dtype=np.uint64) + 1)[:, None] | 1


def band_hashes(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """[texts, BANDS]: near texts are likely to agree in a column, equal ones agree in all.

    Texts are normalised. A row depends on its text alone, on every machine.
    """
    bands = np.empty((len(texts), BANDS), np.uint64)
    lengths = np.maximum(np.fromiter(map(len, texts), np.int64, len(texts)), SHINGLE)
    for rows in _alike(lengths):
        block = _shingles([texts[row] for row in rows.tolist()], lengths[rows])
        bands[rows] = _bands(block)
    return bands


def candidates(bands: npt.NDArray[np.uint64], keys: Ints) -> Pairs:
    """Pairs that one band proposes, each once: (key, smaller key); no pairs, shape (0, 2).

    `bands` is one column of `band_hashes` for all rows; rows of one key are of one text. Of the
    keys that share a hash each is paired with the smallest, which joins the alike, and with the
    NEIGHBOURS before it, which finds what is near in spite of an unlike smallest: at most
    1 + NEIGHBOURS pairs a key, never all with all. The order of the rows doesn't matter.
    """
    order = np.argsort(bands)
    repeats = ~_begins(bands[order])
    shared = order[repeats | np.append(repeats[1:], False)]
    shared = shared[np.lexsort((keys[shared], bands[shared]))]
    shared = shared[_begins(keys[shared])]
    key, place = keys[shared], np.arange(len(shared))
    first = np.maximum.accumulate(np.where(_begins(bands[shared]), place, 0))
    later = place[place > first]
    pairs = [np.stack([key[later], key[first[later]]], axis=1)]
    for step in range(1, NEIGHBOURS + 1):
        later = place[place - step > first]
        pairs.append(np.stack([key[later], key[later - step]], axis=1))
    return np.concatenate(pairs)


def similarity(pairs: Pairs, texts: Mapping[int, str]) -> npt.NDArray[np.float32]:
    """[pairs] the exact Jaccard similarity of the shingles of two texts, which are given by key."""
    jaccard = np.empty(len(pairs), np.float32)
    lengths = [len(texts[one]) + len(texts[other]) for one, other in pairs.tolist()]
    portion = np.cumsum(lengths, dtype=np.int64) // _CHARACTERS
    for rows in np.split(np.arange(len(pairs)), np.flatnonzero(np.diff(portion)) + 1):
        if len(rows):
            jaccard[rows] = _jaccard(pairs[rows], texts)
    return jaccard


@dataclass(frozen=True)
class Groups:
    """Texts that are near each other, also by way of others; most texts are a group of one.

    keys: rising, distinct. leader: for each key the smallest key of its group. split: the leaders
    of the groups that were too large, before they were divided.
    """

    keys: Ints
    leader: Ints
    split: Ints


def groups(keys: Ints, pairs: Pairs, jaccard: npt.NDArray[np.float32], *, largest: int) -> Groups:
    """Join what `pairs` of `keys` show to be near.

    A group of more than `largest` is divided: within it only STRICT_THRESHOLD counts as near. What
    then is still too large stays so.
    """
    keys = np.sort(keys)
    keys = keys[_begins(keys)]
    linked, leader = _components(pairs[jaccard >= THRESHOLD])
    names, sizes = np.unique(leader, return_counts=True)
    split = names[sizes > largest]
    if len(split):
        large = np.isin(leader, split)
        leader[large] = linked[large]
        within = np.isin(pairs[:, 0], linked[large]) & (jaccard >= STRICT_THRESHOLD)
        nearer, nearer_leader = _components(pairs[within])
        leader[np.searchsorted(linked, nearer)] = nearer_leader
    place = np.searchsorted(keys, linked)
    assert np.array_equal(keys.take(place, mode="clip"), linked), "a pair of an unknown key"
    leader_of_all = keys.copy()
    leader_of_all[place] = leader
    return Groups(keys, leader_of_all, split)


def near_units(texts: Sequence[str]) -> Ints:
    """[texts] equal for normalised texts that are near each other; in this process alone."""
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    keys = np.arange(len(number))
    bands = band_hashes(list(number))
    pairs = np.unique(np.concatenate([candidates(band, keys) for band in bands.T]), axis=0)
    jaccard = similarity(pairs, dict(enumerate(number)))
    found = groups(keys, pairs, jaccard, largest=len(keys))
    return found.leader[np.fromiter((number[text] for text in texts), np.int64, len(texts))]


def near_any(texts: Sequence[str], others: Sequence[str]) -> Bools:
    """[texts] whether a normalised text is equal or near to one of the others, also by way of one
    that is near to both."""
    units = near_units([*texts, *others])
    return np.isin(units[: len(texts)], units[len(texts) :])


def _alike(lengths: Ints) -> Iterator[Ints]:
    """Rows by rising length, as many at a time as fit into _CELLS when all are of one length."""
    order = np.argsort(lengths, kind="stable")
    while len(order):
        ahead = order[: 1 + _CELLS // int(lengths[order[0]])]
        cells = lengths[ahead] * np.arange(1, len(ahead) + 1)
        count = max(1, int(np.searchsorted(cells, _CELLS, side="right")))
        yield order[:count]
        order = order[count:]


def _shingles(texts: list[str], lengths: Ints) -> npt.NDArray[np.uint32]:
    """[longest, texts] hashes of each text's shingles, the last one repeated in shorter texts."""
    hashes = (window_hashes(_joined(texts), SHINGLE) >> 32).astype(np.uint32)
    last = lengths - SHINGLE
    start = np.cumsum(lengths) - lengths
    block = hashes[start + np.minimum(np.arange(last.max() + 1)[:, None], last)]
    return np.asfortranarray(block) if len(texts) < _NARROW else block


def _joined(texts: list[str]) -> str:
    """The texts one after another, those shorter than a shingle filled up with NUL.

    No normalised text has a NUL, so a filled one is equal to itself only.
    """
    if min(map(len, texts)) < SHINGLE:
        texts = [text.ljust(SHINGLE, "\0") for text in texts]
    return "".join(texts)


def _bands(block: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """[texts, BANDS] of [shingles, texts]; multiples modulo 2**32 serve as hash functions."""
    smallest = np.empty((BANDS * HASHES, block.shape[1]), np.uint32)
    hashed = np.empty_like(block)
    for factor, row in zip(_FACTORS, smallest, strict=True):
        np.multiply(block, factor, out=hashed)
        np.minimum.reduce(hashed, axis=0, out=row)
    joined = (smallest.reshape(BANDS, HASHES, -1) * _WEIGHTS).sum(axis=1)
    return mix64(joined).T


def _begins(values: npt.NDArray[np.generic]) -> Bools:
    """Whether a value differs from the one before it; the first does."""
    begins = np.ones(len(values), np.bool_)
    begins[1:] = values[1:] != values[:-1]
    return begins


def _jaccard(pairs: Pairs, texts: Mapping[int, str]) -> npt.NDArray[np.float64]:
    keys, place = np.unique(pairs, return_inverse=True)
    table = _shingle_table([texts[key] for key in keys.tolist()])
    one, other = place.reshape(-1, 2).T
    sizes = np.diff(table.indptr)
    shared = np.diff((table[one] * table[other]).indptr)
    return np.asarray(shared / (sizes[one] + sizes[other] - shared), np.float64)


def _shingle_table(texts: list[str]) -> csr_array:
    """[texts, 2**62] true where a text has the shingle of that hash."""
    lengths = np.maximum(np.fromiter(map(len, texts), np.int64, len(texts)), SHINGLE)
    counts = lengths - SHINGLE + 1
    offsets = np.append(0, np.cumsum(counts))
    start = np.cumsum(lengths) - lengths
    place = np.repeat(start - offsets[:-1], counts) + np.arange(offsets[-1])
    hashes = (window_hashes(_joined(texts), SHINGLE)[place] >> 2).astype(np.int64)
    shape = (len(texts), 2**62)
    table = csr_array((np.ones(len(hashes), np.bool_), hashes, offsets), shape=shape)
    table.sum_duplicates()
    return table


def _components(pairs: Pairs) -> tuple[Ints, Ints]:
    """The keys in `pairs`, rising, and for each the smallest that they link it to."""
    keys, place = np.unique(pairs, return_inverse=True)
    links = (np.ones(len(pairs), np.bool_), tuple(place.reshape(-1, 2).T))
    graph = coo_array(links, shape=(len(keys), len(keys)))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    return keys, keys[first[component]]
