"""What becomes of each record, and the counts that say so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel.config import Recipe
from bigmodel.data.read import Source
from bigmodel.data.schema import CONFLICT, EMPTY, UNREADABLE, LabelSet
from bigmodel.data.split import CONFLICTING, DUPLICATE, SPLITS, Decisions, assign, decide, join
from bigmodel.errors import DataError

_RANKS = {"test": 0, "valid": 1, "train": 2}
_UNUSABLE = -3


@dataclass(frozen=True)
class Judgement:
    """The outcome of each record, by source, in file order: a position in SPLITS, or below 0."""

    outcomes: tuple[Decisions, ...]
    labels: LabelSet
    quarantined: dict[str, int]
    splits: dict[str, dict[str, int]]

    def of(self, source: npt.NDArray[np.int16], row: npt.NDArray[np.int64]) -> Decisions:
        """The outcome of records given by source and number (from 1)."""
        found = np.empty(len(row), np.int8)
        for number, outcome in enumerate(self.outcomes):
            here = source == number
            found[here] = outcome[row[here] - 1]
        return found

    def num_rows(self, split: str) -> int:
        return sum(self.splits[split].values())

    def summary(self) -> dict[str, Any]:
        """The counts of the contract: rows_read == rows_kept + sum(quarantined) + duplicates."""
        return {
            "rows_read": sum(len(outcome) for outcome in self.outcomes),
            "rows_kept": sum(map(self.num_rows, SPLITS)),
            "quarantined": self.quarantined,
            "duplicates": int(sum(np.sum(outcome == DUPLICATE) for outcome in self.outcomes)),
            "conflicts": self.quarantined[CONFLICT],
            "labels": list(self.labels.names),
            "splits": self.splits,
        }


def judge(records: pa.Table, sources: Sequence[Source], recipe: Recipe) -> Judgement:
    """Judge all records: columns source, row, key, label, group and reason, in file order.

    DataError where too many are bad, only one label is there, or a split can't be used.
    """
    if not len(records):
        raise DataError(f"{sources[0].path}: no rows after the header; expected labelled texts")
    reasons = Counter(records["reason"].drop_null().to_pylist())
    _check_bad_rows(reasons, records, sources, recipe.data.max_bad_rows)
    good = np.flatnonzero(records["reason"].is_null().to_numpy())
    usable = records.take(good)
    outcome = np.full(len(records), _UNUSABLE, np.int8)
    outcome[good] = _decide(usable, sources, recipe)
    names = np.array(records["label"].to_pylist(), dtype=object)
    splits = {
        split: dict(sorted(Counter(names[outcome == place].tolist()).items()))
        for place, split in enumerate(SPLITS)
    }
    source = records["source"].to_numpy()
    bounds = np.searchsorted(source, np.arange(len(sources) + 1))
    return Judgement(
        outcomes=tuple(outcome[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)),
        labels=_labels(splits, sources),
        quarantined={
            UNREADABLE: reasons[UNREADABLE],
            EMPTY: reasons[EMPTY],
            CONFLICT: int(np.sum(outcome == CONFLICTING)),
        },
        splits=splits,
    )


def _decide(usable: pa.Table, sources: Sequence[Source], recipe: Recipe) -> Decisions:
    keys = usable["key"].to_numpy()
    label = usable["label"].combine_chunks().dictionary_encode().indices.to_numpy()
    given = [one.split for one in sources]
    rank = np.array([_RANKS[split] for split in given], np.int8)[usable["source"].to_numpy()]
    status = decide(keys, label.astype(np.int64), rank, conflicts=recipe.data.conflicts)
    kept = np.flatnonzero(status == 0)
    texts, groups = keys[kept].tolist(), usable["group"].take(kept).to_pylist()
    units = [str(key) if group is None else group for group, key in zip(groups, texts, strict=True)]
    if recipe.data.conflicts == "keep":  # else no text is kept twice
        units = join(units, texts)
    split = np.zeros(len(usable), np.int8)
    split[kept] = assign(units, recipe.data.split, seed=recipe.seed, given=given)
    for name in given:
        if name != "train":
            split[rank == _RANKS[name]] = SPLITS.index(name)
    return np.where(status == 0, split, status).astype(np.int8)


def _check_bad_rows(
    reasons: Counter[str], records: pa.Table, sources: Sequence[Source], limit: float
) -> None:
    bad = sum(reasons.values())
    if bad <= limit * len(records):
        return
    position = int(np.flatnonzero(records["reason"].is_valid().to_numpy())[0])
    first = records.slice(position, 1).to_pylist()[0]
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    raise DataError(
        f"{sources[first['source']].path}: {bad} of {len(records)} rows can't be used ({counts}; "
        f"the first is row {first['row']}, {first['reason']}), more than data.max_bad_rows allows "
        f"({limit:.0%}); mend them, set data.encoding, or allow more"
    )


def _labels(splits: dict[str, dict[str, int]], sources: Sequence[Source]) -> LabelSet:
    where = {source.split: source.path for source in sources}
    labels = LabelSet.of(splits["train"])
    for split in ("valid", "test"):
        unknown = sorted(set(splits[split]) - set(labels.names))
        if unknown and split in where:
            labels.ids(unknown, where=where[split])
        if unknown:
            raise DataError(
                f"{where['train']}: too few rows with the label {unknown[0]!r}: none fell into the "
                "training split; add rows with it, or take it out"
            )
        if not splits[split]:
            raise DataError(
                f"{where.get(split, where['train'])}: no row is left for the {split} split; "
                f"add rows, or name a file with data.{split}"
            )
    return labels
