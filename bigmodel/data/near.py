"""Near-duplicates over Ray tasks: only hashes and the texts of candidates travel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from bigmodel.data import tasks
from bigmodel.data.duplicates import BANDS, Pairs
from bigmodel.data.split import Keys

_PAIRS_A_TASK = 50_000


def near_pairs(
    briefs: Sequence[Any],
    rows: Sequence[Any],
    bands: Sequence[Sequence[Any]],
    *,
    dropped: Keys,
    few: bool,
) -> tuple[Pairs, npt.NDArray[np.float32]]:
    """Pairs of keys whose texts may be near each other, none `dropped`, and how similar they are.

    Of each piece its `briefs`, `rows` and `bands` by reference. A task a band finds pairs (one does
    all where there are `few` rows), each piece gives the texts of its candidates, and tasks that
    share the pairs by one of their keys compare them.
    """
    each = BANDS if few else 1
    by_band = [[some[band] for some in bands] for band in range(BANDS)]
    pairs_of = ray.remote(_pairs_of)
    found = [
        pairs_of.remote(list(briefs), by_band[band : band + each], dropped)
        for band in range(0, BANDS, each)
    ]
    pairs = tasks.distinct(ray.get(found))
    shares = -(-len(pairs) // _PAIRS_A_TASK)
    if not shares:
        return pairs, np.zeros(0, np.float32)
    mine = [np.flatnonzero(pairs[:, 1] % shares == share) for share in range(shares)]
    wanted = [ray.put(np.unique(pairs[some])) for some in mine]
    texts_of = ray.remote(_texts_of).options(num_returns=shares)
    texts = [texts_of.remote(*piece, *wanted) for piece in zip(briefs, rows, strict=True)]
    similarity_of = ray.remote(tasks.similarity_of)
    compared = [
        similarity_of.remote(pairs[some], *(ours if shares == 1 else ours[share] for ours in texts))
        for share, some in enumerate(mine)
    ]
    jaccard = np.zeros(len(pairs), np.float32)
    for some, values in zip(mine, ray.get(compared), strict=True):
        jaccard[some] = values
    return pairs, jaccard


def _pairs_of(briefs: list[Any], bands: list[list[Any]], dropped: Keys) -> Pairs:
    """`tasks.pairs_of`, of references."""
    return tasks.pairs_of(ray.get(briefs), [ray.get(band) for band in bands], dropped)


def _texts_of(brief: pa.Table, rows: pa.Table, *wanted: Keys) -> Any:
    """`tasks.texts_of`; one return value is no list of one."""
    tables = tasks.texts_of(brief, rows, *wanted)
    return tables if len(tables) > 1 else tables[0]
