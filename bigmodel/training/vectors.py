"""Word vectors from the neighbours of words: PPMI and a truncated SVD (Levy et al. 2015)."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bigmodel.text.features import UNKNOWN, Encoded

_WINDOW = 5
_CONTEXT_POWER = 0.75  # raises the share of rare contexts, which PPMI would overrate
_SPREAD = 0.3  # root mean square of a coordinate: three times that of vectors drawn at random


def ppmi_vectors(
    texts: Iterable[Encoded], *, num_ids: int, size: int, seed: int
) -> npt.NDArray[np.float32]:
    """[num_ids, size], the first coordinates the most telling; zero for padding and the unknown.

    A pair of words counts 1/distance within 5 words of a text. Words that stand beside nothing
    else, and coordinates beyond what the pairs hold, are zero.
    """
    from sklearn.utils.extmath import randomized_svd

    found = np.zeros((num_ids, size), np.float32)
    pairs = sum((_pairs(some, num_ids) for some in texts), sparse.csr_matrix((num_ids, num_ids)))
    ppmi = _ppmi((pairs + pairs.T).tocoo())
    held = min(size, num_ids - 1)
    if not ppmi.nnz:
        return found
    left, singular, _ = randomized_svd(ppmi, held, n_iter=3, random_state=seed)
    there = np.diff(ppmi.indptr) > 0
    found[there, :held] = (left * np.sqrt(singular))[there]
    found *= _SPREAD / np.sqrt(np.mean(found[there] ** 2))
    return found


def _pairs(texts: Encoded, num_ids: int) -> sparse.csr_matrix:
    """How often each word stands before each other one, nearer pairs counting more."""
    row = np.repeat(np.arange(len(texts)), np.diff(texts.offsets))
    counts = sparse.csr_matrix((num_ids, num_ids), dtype=np.float64)
    for distance in range(1, _WINDOW + 1):
        before, after = texts.ids[:-distance], texts.ids[distance:]
        inside = row[:-distance] == row[distance:]
        known = inside & (before > UNKNOWN) & (after > UNKNOWN)
        weight = np.full(int(known.sum()), 1 / distance)
        counts += sparse.csr_matrix((weight, (before[known], after[known])), counts.shape)
    return counts


def _ppmi(pairs: sparse.coo_matrix) -> sparse.csr_matrix:
    """max(0, ln p(word, context) / (p(word) p'(context))) of symmetric counts."""
    sums = np.asarray(pairs.sum(1)).ravel()
    context = sums**_CONTEXT_POWER
    context /= max(context.sum(), 1.0)
    expected = sums[pairs.row] * context[pairs.col]
    values = np.log(pairs.data / np.where(expected > 0, expected, 1))
    more = values > 0
    kept = (values[more].astype(np.float32), (pairs.row[more], pairs.col[more]))
    return sparse.csr_matrix(kept, pairs.shape)
