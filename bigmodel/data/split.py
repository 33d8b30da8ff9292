"""Which rows are kept, and for what: duplicates, conflicts, and splits by a stable hash."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bigmodel.config import SplitConfig

SPLITS = ("train", "valid", "test")
DUPLICATE = -1
CONFLICTING = -2

Decisions = npt.NDArray[np.int8]
Keys = npt.NDArray[np.int64]


def key64(text: str) -> int:
    """A signed 64-bit BLAKE2b of a text; the same on every machine and in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True
    )


def decide(
    keys: Keys, labels: npt.NDArray[np.int64], rank: npt.NDArray[np.int8], *, conflicts: str
) -> Decisions:
    """Judge rows in file order: 0 kept, DUPLICATE or CONFLICTING.

    `keys` are hashes of normalised texts, `labels` any numbering. `rank` is 0 for rows of a given
    test split, 1 for a given valid, 2 for train: a text of a lower rank keeps its rows, and those
    of a higher rank are duplicates (same label) or conflicts (another), so that no text of a given
    split is trained on. Within a rank, `conflicts` says what happens to a text with several labels:
    "drop" all its rows, keep the one of the "majority" (a tie drops all), or "keep" one each.
    """
    status = np.zeros(len(keys), np.int8)
    order = np.lexsort((np.arange(len(keys)), labels, rank, keys))
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    for rows in np.split(order, edges) if len(edges) + 1 < len(keys) else ():
        if len(rows) > 1:
            _judge_text(rows, labels, rank, status, conflicts)
    return status


def _judge_text(
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    rank: npt.NDArray[np.int8],
    status: Decisions,
    conflicts: str,
) -> None:
    """Judge the rows of one text, given by rank, then label, then position in the files."""
    best = rank[rows[0]]
    own = rows[rank[rows] == best]
    names, first, counts = np.unique(labels[own], return_index=True, return_counts=True)
    status[rows] = DUPLICATE
    status[own[first]] = 0
    later = rows[rank[rows] > best]
    status[later[~np.isin(labels[later], names)]] = CONFLICTING
    if len(names) == 1 or conflicts == "keep":
        return
    status[own[first]] = CONFLICTING
    if conflicts == "majority" and np.sum(counts == counts.max()) == 1:
        status[own[first[counts.argmax()]]] = 0


def join(units: Sequence[str], texts: Sequence[int]) -> list[str]:
    """The units of some rows, those with a text in common under the name of one of them."""
    parent: dict[str, str] = {}

    def root(unit: str) -> str:
        while unit in parent:
            unit = parent[unit]
        return unit

    first: dict[int, str] = {}
    for unit, text in zip(units, texts, strict=True):
        one, other = root(first.setdefault(text, unit)), root(unit)
        if one != other:
            parent[other] = one
    return [root(unit) for unit in units]


def assign(
    units: Sequence[str], config: SplitConfig, *, seed: int, given: Sequence[str]
) -> Decisions:
    """The split (position in SPLITS) of each unit, a text or a group, by its hash alone.

    A split that is `given` as a file takes no rows. The shares hold on average; which split a unit
    falls into doesn't depend on the other rows.
    """
    test = 0.0 if "test" in given else config.test
    valid = 0.0 if "valid" in given else config.valid
    prefix = f"{seed}:"
    place = np.fromiter((key64(prefix + unit) for unit in units), np.int64, len(units))
    share = place.astype(np.float64) / 2.0**64 + 0.5
    split = np.zeros(len(units), np.int8)
    split[share < test + valid] = SPLITS.index("valid")
    split[share < test] = SPLITS.index("test")
    return split
