"""What the search for near-duplicates costs, and finds of what comparing all pairs finds.

    python -m benchmarks.near_duplicates FILE...      # CSV with a column `text`; one core

All pairs come from a sparse product, which takes about ten seconds for 100,000 reviews.
"""

import csv
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from bigmodel.data.duplicates import (
    BANDS,
    SHINGLE,
    THRESHOLD,
    Pairs,
    band_hashes,
    candidates,
    groups,
    similarity,
)
from bigmodel.data.split import key64
from bigmodel.text.normalize import normalize

ROWS_AT_ONCE = 500


def main() -> None:
    texts = distinct_texts(sys.argv[1:])
    keys = np.array([key64(text) for text in texts], np.int64)
    bands = timed("band_hashes", len(texts), lambda: band_hashes(texts))
    columns = [np.ascontiguousarray(column) for column in bands.T]
    found = timed(
        "candidates", BANDS * len(texts), lambda: [candidates(band, keys) for band in columns]
    )
    pairs = np.unique(np.concatenate(found), axis=0)
    by_key = dict(zip(keys.tolist(), texts, strict=True))
    jaccard = timed("similarity", len(pairs), lambda: similarity(pairs, by_key))
    found_groups = timed(
        "groups", len(texts), lambda: groups(keys, pairs, jaccard, largest=len(texts))
    )
    near = all_near(texts)
    leader = found_groups.leader[np.searchsorted(found_groups.keys, keys)]
    apart = leader[near[:, 0]] != leader[near[:, 1]]
    print(
        f"{len(texts):,} texts of {np.mean([len(text) for text in texts]):.0f} characters, "
        f"{len(pairs) / len(texts):.3f} candidates a text, {np.mean(jaccard >= THRESHOLD):.0%} near"
    )
    print(
        f"near pairs in one group: {len(near) - apart.sum():,} of {len(near):,}; texts with a near "
        f"one elsewhere: {len(np.unique(near[apart]))} of {len(np.unique(near))}; "
        f"load {os.getloadavg()[0]:.1f}"
    )


def distinct_texts(paths: list[str]) -> list[str]:
    texts: set[str] = set()
    for path in paths:
        with open(path, encoding="utf-8-sig", newline="") as file:
            texts.update(normalize(row["text"]) for row in csv.DictReader(file))
    return sorted(texts)


def timed(name: str, count: int, run: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = run()
    seconds = time.process_time() - start
    print(f"{name}: {count:,} in {seconds:.2f} CPU s, {count / seconds:,.0f}/s")
    return result


def all_near(texts: list[str]) -> Pairs:
    """All pairs of positions at THRESHOLD or above, each once."""
    column: dict[str, int] = {}
    offsets: list[int] = [0]
    columns: list[int] = []
    for text in texts:
        found = {text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))}
        columns.extend(column.setdefault(shingle, len(column)) for shingle in found)
        offsets.append(len(columns))
    shape = (len(texts), len(column))
    table = csr_array((np.ones(len(columns), np.float32), columns, offsets), shape=shape)
    transposed, sizes = table.T.tocsr(), np.diff(offsets)
    near = []
    for start in range(0, len(texts), ROWS_AT_ONCE):
        shared = (table[start : start + ROWS_AT_ONCE] @ transposed).tocoo()
        one, other = shared.coords[0] + start, shared.coords[1]
        jaccard = shared.data / (sizes[one] + sizes[other] - shared.data)
        chosen = (jaccard >= THRESHOLD) & (other < one)
        near.append(np.stack([one[chosen], other[chosen]], axis=1))
    return np.concatenate(near)


if __name__ == "__main__":
    main()
