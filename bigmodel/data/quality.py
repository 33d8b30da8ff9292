"""What becomes of each record, and the counts that say so."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bigmodel.config import Recipe
from bigmodel.data.duplicates import THRESHOLD, Groups, Pairs, groups
from bigmodel.data.refusals import labels_of
from bigmodel.data.schema import CONFLICT, EMPTY, REMOVED, UNREADABLE
from bigmodel.data.sources import Source
from bigmodel.data.split import (
    BRIDGING,
    DUPLICATE,
    REASONS,
    SPLITS,
    UNUSABLE,
    Decisions,
    Earlier,
    Keys,
    by_hash,
    contains,
    decide,
    flood,
    hold,
    join,
)

_TEST, _VALID, _TRAIN, _WEIGHTED = range(4)


@dataclass(frozen=True)
class Records:
    """What is known of every record of all sources, in file order.

    `source` is its position in the list of sources; `key` hashes its normalised text, `label`
    int32 is a position in `names`, `group` hashes its group (0: none) or is None; of a record that
    isn't `usable` the last three mean nothing.
    """

    source: npt.NDArray[np.int32]
    usable: npt.NDArray[np.bool_]
    key: Keys
    label: npt.NDArray[np.int32]
    group: Keys | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Near:
    """Pairs of keys whose texts are near each other; a group of more than `largest` is divided."""

    all_pairs: Pairs
    jaccard: npt.NDArray[np.float32]
    largest: int

    @property
    def pairs(self) -> Pairs:
        return self.all_pairs[self.jaccard >= THRESHOLD]

    def among(self, keys: Keys) -> Groups:
        """The groups of these texts alone."""
        inside = contains(np.sort(keys), self.all_pairs).all(1)
        return groups(keys, self.all_pairs[inside], self.jaccard[inside], largest=self.largest)


def leaders(found: Groups, keys: Keys) -> Keys:
    """For each of these texts the smallest key of its group; most are a group of one."""
    units = keys.copy()
    joined = found.leader != found.keys
    members = found.keys[joined]
    inside = np.flatnonzero(contains(members, keys))
    units[inside] = found.leader[joined][np.searchsorted(members, keys[inside])]
    return units


def settle(records: Records, sources: Sequence[Source], recipe: Recipe) -> Decisions:
    """Who is kept before splits are thought of: 0, or DUPLICATE, CONFLICTING, UNUSABLE."""
    outcome = np.full(len(records.key), UNUSABLE, np.int8)
    good = np.flatnonzero(records.usable)
    outcome[good] = decide(
        records.key[good],
        records.label[good],
        _ranks(sources)[records.source[good]],
        conflicts=recipe.data.conflicts,
    )
    return outcome


def splittable(records: Records, sources: Sequence[Source]) -> npt.NDArray[np.bool_]:
    """Whose splits are ours to choose: not those of given splits or of weighted sources."""
    return np.asarray(_ranks(sources)[records.source] == _TRAIN)


def divide(
    records: Records,
    outcome: Decisions,
    near: Near,
    sources: Sequence[Source],
    recipe: Recipe,
    *,
    earlier: Earlier,
) -> tuple[Decisions, Keys, Groups]:
    """Give each kept record its split, or set it aside as a bridge.

    Returns the outcome and the unit of each record, and the groups of all kept texts.

    Records of a given split stay in it. Of the others a unit goes where its earlier rows are, else
    where its hash says; rows of given splits and of weighted sources have no say in that. Those of
    a weighted source are only trained on, and set aside where that would bring what is near a valid
    or test row into training.
    """
    kept = np.flatnonzero(outcome == 0)
    key = records.key[kept]
    rank = _ranks(sources)[records.source[kept]]
    grouped = near.among(key)
    units = leaders(grouped, key)
    split = np.zeros(len(kept), np.int8)
    split[rank == _TEST] = SPLITS.index("test")
    split[rank == _VALID] = SPLITS.index("valid")
    own = np.flatnonzero(rank == _TRAIN)
    group = None if records.group is None else records.group[kept][own]
    given = {source.split for source in sources} - {"train"}
    alone = grouped if len(own) == len(kept) else near.among(key[own])
    unit_of_own = join(leaders(alone, key[own]), group)
    split[own] = _divide_own(
        key[own], group, unit_of_own, near, recipe, given=given, earlier=earlier
    )
    weighted = rank == _WEIGHTED
    if weighted.any():
        joined = join(units, None if records.group is None else records.group[kept])
        elsewhere = np.unique(joined[~weighted & (split != SPLITS.index("train"))])
        split[weighted & np.isin(joined, elsewhere)] = BRIDGING
    unit = np.zeros(len(records.key), np.int64)
    unit[kept] = units
    outcome = outcome.copy()
    outcome[kept] = split
    return outcome, unit, grouped


def _divide_own(
    key: Keys,
    group: Keys | None,
    units: Keys,
    near: Near,
    recipe: Recipe,
    *,
    given: Collection[str],
    earlier: Earlier,
) -> Decisions:
    """The splits of the rows that may be split, by their unit."""
    split = by_hash(units, recipe.data.split, seed=recipe.seed, given=given)
    early = earlier.where(key)
    split, contested = hold(split, units, early)
    if len(contested):
        _resolve(split, np.isin(units, contested), key, group, early, near.pairs)
    return split


def _resolve(
    split: Decisions,
    contested: npt.NDArray[np.bool_],
    key: Keys,
    group: Keys | None,
    early: Decisions,
    pairs: Pairs,
) -> None:
    """Split the rows of contested units one by one, in place."""
    keys = key[contested].tolist()
    links = [(int(a), int(b)) for a, b in pairs[contains(np.sort(key[contested]), pairs).all(1)]]
    if group is not None:
        links += [(k, g) for k, g in zip(keys, group[contested].tolist(), strict=True) if g]
    before = {k: s for k, s in zip(keys, early[contested].tolist(), strict=True) if s >= 0}
    settled = flood(_with_groups(before, keys, links), links)
    usual = split[contested].tolist()
    split[contested] = [settled.get(k, s) for k, s in zip(keys, usual, strict=True)]


def _with_groups(
    before: Mapping[int, int], keys: Sequence[int], links: Sequence[tuple[int, int]]
) -> dict[int, int]:
    """The earlier splits of texts, and of groups whose earlier rows are all in one."""
    texts = set(keys)
    found: dict[int, set[int]] = {}
    for key, group in links:
        if group not in texts and key in before:
            found.setdefault(group, set()).add(before[key])
    return dict(before) | {group: one.pop() for group, one in found.items() if len(one) == 1}


def summarise(
    records: Records,
    outcome: Decisions,
    unit: Keys,
    reasons: Mapping[str, int],
    sources: Sequence[Source],
) -> dict[str, Any]:
    """The counts of the contract: rows_read == rows_kept + sum(quarantined) + duplicates."""
    counted = {reason: int(np.sum(outcome == code)) for code, reason in REASONS.items()}
    quarantined = {r: reasons.get(r, 0) for r in (UNREADABLE, EMPTY, REMOVED)} | counted
    splits = {}
    for place, split in enumerate(SPLITS):
        counts = np.bincount(records.label[outcome == place], minlength=len(records.names))
        named = zip(records.names, counts.tolist(), strict=True)
        splits[split] = {name: count for name, count in sorted(named) if count}
    labels = labels_of(splits, sources)
    return {
        "rows_read": len(outcome),
        "rows_kept": int(np.sum(outcome >= 0)),
        "quarantined": quarantined,
        "duplicates": int(np.sum(outcome == DUPLICATE)),
        "conflicts": counted[CONFLICT] + _num_contradicting(records.key[outcome >= 0]),
        "splits": splits,
        "labels": list(labels.names),
        "deviation": _deviation(splits),
        "leaks": _leaks(records, outcome, unit, sources),
    }


def _num_contradicting(kept: Keys) -> int:
    """Kept rows whose text is kept under another label as well."""
    ordered = np.sort(kept)
    again = ordered[1:] == ordered[:-1]
    return int(np.sum(np.append(again, False) | np.append(False, again)))


def _ranks(sources: Sequence[Source]) -> npt.NDArray[np.int8]:
    """Whose rows go first, of each source."""
    given = {"test": _TEST, "valid": _VALID}
    plain = [given.get(source.split, _TRAIN) for source in sources]
    weighted = [source.split == "train" and source.weight != 1 for source in sources]
    return np.where(weighted, _WEIGHTED, plain).astype(np.int8)


def _deviation(splits: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    """How much larger each label's share is in a split than in all kept rows."""
    overall: Counter[str] = Counter()
    for counts in splits.values():
        overall.update(counts)
    total = overall.total()
    return {
        split: {
            label: counts.get(label, 0) / sum(counts.values()) - count / total
            for label, count in sorted(overall.items())
        }
        for split, counts in splits.items()
        if counts
    }


def _leaks(
    records: Records, outcome: Decisions, unit: Keys, sources: Sequence[Source]
) -> dict[str, dict[str, dict[str, int]]]:
    """Rows of each given split whose text also stands in other files: those of train, of valid.

    `exact`: these had the same normalised text there, and were taken out there; `near`: one that
    is near it is kept there.
    """
    rank = _ranks(sources)[records.source]
    given = {source.split for source in sources}
    found: dict[str, dict[str, dict[str, int]]] = {}
    for split, own in (("valid", _VALID), ("test", _TEST)):
        if split not in given:
            continue
        mine = np.flatnonzero(records.usable & (rank == own))
        key, kept = records.key[mine], outcome[mine] >= 0
        for where, there in (("train", rank >= _TRAIN), ("valid", rank == _VALID)):
            if where == split or where not in given:
                continue
            exact = contains(np.sort(records.key[records.usable & there]), key)
            near = contains(np.sort(unit[(outcome >= 0) & there]), unit[mine]) & kept
            counts = {"exact": int(exact.sum()), "near": int((near & ~exact).sum())}
            found.setdefault(split, {})[where] = counts
    return found
