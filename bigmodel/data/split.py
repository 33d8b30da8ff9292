"""Which rows are kept, and for what: duplicates, conflicts, and splits by a stable hash."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigmodel.config import SplitConfig
from bigmodel.data.schema import BRIDGE, CONFLICT
from bigmodel.text.ngrams import mix64

SPLITS = ("train", "valid", "test")
SEEN_SPLITS = ("train", "valid")
"""Of whose rows a model has learnt, or was chosen by; test rows are answered as raw text."""
DUPLICATE = -1
CONFLICTING = -2
UNUSABLE = -3
BRIDGING = -4
REASONS = {CONFLICTING: CONFLICT, BRIDGING: BRIDGE}
"""Why a row with such an outcome is in quarantine."""

Decisions = npt.NDArray[np.int8]
"""What becomes of each row: a position in SPLITS, or one of the numbers below 0."""
Keys = npt.NDArray[np.int64]


def key64(text: str) -> int:
    """A signed 64-bit BLAKE2b of a text; the same on every machine and in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True
    )


def group_key(group: str | None) -> int:
    """The hash of a row's group, 0 where it has none."""
    return 0 if group is None else key64(f"group {group}")


def contains(rising: Keys, keys: Keys) -> npt.NDArray[np.bool_]:
    """Which of `keys` are among the rising ones; on millions many times np.isin's speed."""
    if not len(rising):
        return np.zeros(keys.shape, np.bool_)
    place = np.minimum(np.searchsorted(rising, keys), len(rising) - 1)
    return np.asarray(rising[place] == keys)


def decide(
    keys: Keys, labels: npt.NDArray[np.int32], rank: npt.NDArray[np.int8], *, conflicts: str
) -> Decisions:
    """Judge rows in file order: 0 kept, DUPLICATE or CONFLICTING.

    `keys` are hashes of normalised texts, `labels` any numbering. `rank` tells whose rows go
    first: 0 a given test split's, 1 a given valid's, 2 the training rows', 3 those of a weighted
    source. A text of a lower rank keeps its rows, and those of a higher rank are duplicates (same
    label) or conflicts (another), so that no text of a given split is trained on. Within a rank,
    `conflicts` says what happens to a text with several labels: "drop" all its rows, keep the one
    of the "majority" (a tie drops all), or "keep" one each. All rows of a text that keeps none are
    conflicts.
    """
    status = np.zeros(len(keys), np.int8)
    ordered = np.sort(keys)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    rows = np.flatnonzero(contains(repeated, keys))
    rows = rows[np.lexsort((rows, labels[rows], rank[rows], keys[rows]))]
    status[rows] = _judge_texts(keys[rows], labels[rows], rank[rows], conflicts)
    return status


def _judge_texts(
    keys: Keys, labels: npt.NDArray[np.int32], rank: npt.NDArray[np.int8], conflicts: str
) -> Decisions:
    """`decide` for rows in the order of their text, rank, label and position in the files."""
    found = np.full(len(keys), DUPLICATE, np.int8)
    starts = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
    text = np.cumsum(starts) - 1
    own = rank == rank[starts][text]
    others = own & (starts | np.append(True, labels[1:] != labels[:-1])[: len(keys)])
    first = np.flatnonzero(others)  # of each label of each text
    found[first] = 0
    code = text * (int(labels.max(initial=0)) + 1) + labels
    found[~own & ~np.isin(code, code[first])] = CONFLICTING
    if conflicts == "keep":
        return found
    contested = np.bincount(text[first])[text[first]] > 1
    found[first[contested]] = CONFLICTING
    if conflicts == "majority":
        sizes = np.bincount(np.cumsum(others)[own] - 1)
        largest = np.zeros(len(keys), np.int64)
        np.maximum.at(largest, text[first], sizes)
        top = sizes == largest[text[first]]
        alone = np.bincount(text[first][top])[text[first]] == 1
        found[first[contested & top & alone]] = 0
    keeps = np.bincount(text, found == 0) > 0
    found[~keeps[text]] = CONFLICTING  # a duplicate is one of a kept row
    return found


def join(leader: Keys, group: Keys | None) -> Keys:
    """The unit of each row, which is split as a whole: rows near each other, or of one group.

    `leader`: the smallest key of a row's near-duplicates; `group`: a hash of the row's group, 0
    where it has none. A unit is named by the smallest of its groups, else by its leader.
    """
    if group is None or not group.any():
        return leader
    leaders, at = np.unique(leader, return_inverse=True)
    groups, where = np.unique(group, return_inverse=True)
    grouped = np.flatnonzero(group)
    size = len(leaders) + len(groups)
    edges = (np.ones(len(grouped)), (at[grouped], len(leaders) + where[grouped]))
    _, component = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    unit = dict(zip(component[: len(leaders)][::-1].tolist(), leaders[::-1].tolist(), strict=True))
    for place in reversed(range(len(groups))):  # the smallest is the last to write its name
        if groups[place]:
            unit[component[len(leaders) + place]] = int(groups[place])
    names = np.fromiter((unit[one] for one in component[: len(leaders)].tolist()), np.int64)
    return names[at]


def by_hash(units: Keys, config: SplitConfig, *, seed: int, given: Collection[str]) -> Decisions:
    """The split of each unit by its hash alone; a split that is `given` as a file takes none.

    The shares hold on average; which split a unit falls into doesn't depend on the other rows.
    """
    test = 0.0 if "test" in given else config.test
    valid = 0.0 if "valid" in given else config.valid
    salt = np.uint64(key64(f"split {seed}") & (2**64 - 1))
    share = mix64(units.view(np.uint64) ^ salt).astype(np.float64) / 2.0**64
    split = np.zeros(len(units), np.int8)
    split[share < test + valid] = SPLITS.index("valid")
    split[share < test] = SPLITS.index("test")
    return split


@dataclass(frozen=True)
class Earlier:
    """The splits that texts were given before: `keys` rising, each once."""

    keys: Keys
    split: Decisions

    @classmethod
    def none(cls) -> "Earlier":
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int8))

    @classmethod
    def of_rows(cls, keys: Keys, split: Decisions) -> "Earlier":
        """Of rows in any order; a text that has several is in one split with all of them."""
        order = np.argsort(keys)
        keys, split = keys[order], split[order]
        first = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
        return cls(keys[first], split[first])

    @classmethod
    def of(cls, table: pa.Table | pa.RecordBatch) -> "Earlier":
        """The inverse of `table`."""
        return cls(table["key"].to_numpy(), table["split"].to_numpy())

    def table(self) -> pa.Table:
        return pa.table({"key": self.keys, "split": self.split})

    def digest(self) -> str:
        """Names these splits; "" where there are none."""
        if not len(self.keys):
            return ""
        return hashlib.sha256(self.keys.tobytes() + self.split.tobytes()).hexdigest()

    def where(self, keys: Keys) -> Decisions:
        """The earlier split of each text, -1 for a new one."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int8)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.split[place], -1).astype(np.int8)

    def joined(self, other: "Earlier") -> "Earlier | None":
        """The texts of both; None where one text is in two splits."""
        here = self.where(other.keys)
        if np.any((here >= 0) & (here != other.split)):
            return None
        new = here < 0
        return Earlier.of_rows(
            np.concatenate([self.keys, other.keys[new]]),
            np.concatenate([self.split, other.split[new]]),
        )


def hold(split: Decisions, units: Keys, early: Decisions) -> tuple[Decisions, Keys]:
    """The splits, but those of a unit with earlier rows as they were: (splits, contested units).

    `split` by hash, `early` the earlier one or -1, both for each row. A contested unit has earlier
    rows in several splits: new rows have brought them together; see `flood`.
    """
    known = np.flatnonzero(early >= 0)
    if not len(known):
        return split, np.zeros(0, np.int64)
    names, at = np.unique(units, return_inverse=True)
    low = np.full(len(names), len(SPLITS), np.int8)
    high = np.full(len(names), -1, np.int8)
    np.minimum.at(low, at[known], early[known])
    np.maximum.at(high, at[known], early[known])
    return np.where(high[at] >= 0, low[at], split).astype(np.int8), names[low < high]


def flood(early: Mapping[int, int], links: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Splits for the members of contested units, from the earlier ones outwards.

    `early` has the split of each earlier member; `links` join members that are near each other or
    of one group. A new member takes the split of those it is linked to; one that is linked to two
    splits would bridge them and is BRIDGING; one that only bridges reach isn't in the answer.
    """
    neighbours = defaultdict(set)
    for one, other in links:
        neighbours[one].add(other)
        neighbours[other].add(one)
    settled = dict(early)
    bridges: set[int] = set()

    def reached_from(one: int) -> set[int]:
        return {settled[other] for other in neighbours[one] if other in settled}

    waiting = sorted(neighbours.keys() - settled.keys())
    while ready := [one for one in waiting if reached_from(one)]:
        for one in ready:
            found = reached_from(one)
            if len(found) == 1:
                settled[one] = found.pop()
            else:
                bridges.add(one)
        waiting = [one for one in waiting if one not in settled and one not in bridges]
    return settled | dict.fromkeys(bridges, BRIDGING)
