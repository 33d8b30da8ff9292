"""Files to kept rows in their splits, by Ray tasks: read, normalise, judge, write.

Plain tasks, not Ray Data: the driver cuts the bytes and a task gives back several things of which
only the smallest comes to the driver. What is large stays in the object store.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from bigmodel.config import Recipe
from bigmodel.data import tasks
from bigmodel.data.ahead import ahead
from bigmodel.data.duplicates import BANDS, Groups
from bigmodel.data.near import near_pairs
from bigmodel.data.prepared import QUARANTINE, SPLITS_FILE, Entry, write_arrow, write_parquet
from bigmodel.data.quality import Near, Records, divide, settle, splittable, summarise
from bigmodel.data.read import pieces
from bigmodel.data.refusals import check_bad_rows, check_columns
from bigmodel.data.schema import EMPTY, UNREADABLE
from bigmodel.data.sources import Source
from bigmodel.data.split import CONFLICTING, UNUSABLE, Decisions, Earlier, Keys, contains
from bigmodel.errors import DataError
from bigmodel.storage import Folder, folder
from bigmodel.text.normalize import Normalizer

_FEW_ROWS = 100_000
_FEW_NEAR = 50  # texts near each other are never too many, however small the data


@dataclass(frozen=True)
class Part:
    """A piece of a source that a task has read: what it found stays in Ray's object store.

    Before it stand `start` records of all sources.
    """

    slot: tasks.Slot
    start: int
    num_rows: int
    rows: Any
    brief: Any
    bands: tuple[Any, ...]

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + self.num_rows)


def write_rows(
    sources: Sequence[Source],
    recipe: Recipe,
    target: Folder,
    *,
    names: Sequence[str],
    corrections: Mapping[int, str],
    earlier: Earlier,
    size: int,
    on_rows: Callable[[int], None],
) -> tuple[list[Entry], dict[str, Any]]:
    """Write the kept rows, a part file a piece, and the quarantine: (files, summary).

    DataError where too many records are bad, only one label is there, or a split can't be used;
    in the first case the quarantine stands in `storage/quarantine/<name>`.
    """
    ledger = _read_all(sources, recipe, corrections, names=names, size=size, on_rows=on_rows)
    parts, records = ledger.parts, ledger.records()
    check_columns(
        sources[0],
        usable=int(records.usable.sum()),
        num_labels=len(records.names),
        num_numbers=ledger.num_numbers,
    )
    _check_bad_rows(ledger, records, recipe)
    outcome = settle(records, sources, recipe)
    kept = np.sort(records.key[outcome == 0])
    conflicting = records.key[outcome == CONFLICTING]
    dropped = np.sort(conflicting[~contains(kept, conflicting)])
    pairs, jaccard = near_pairs(
        [part.brief for part in parts],
        [part.rows for part in parts],
        [part.bands for part in parts],
        dropped=dropped,
        few=len(records.key) < _FEW_ROWS,
    )
    near = Near(pairs, jaccard, largest=max(_FEW_NEAR, len(kept) // 100))
    outcome, unit, grouped = divide(records, outcome, near, sources, recipe, earlier=earlier)
    summary = summarise(records, outcome, unit, ledger.reasons, sources)
    summary["unreadable"] = dict(sorted(ledger.details.items()))
    summary["near_duplicates"] = _near_summary(grouped)
    summary["corrections"] = {
        "given": len(corrections),
        "unmatched": _num_unmatched(corrections, records) if corrections else 0,
    }
    summary["files"] = _files(sources, names, records, outcome)
    entries, data_id, split_id = _write_parts(parts, outcome, records.key, unit, target)
    own = splittable(records, sources) & (outcome >= 0)
    assigned = Earlier.of_rows(records.key[own], outcome[own])
    entries.append(write_arrow(target, SPLITS_FILE, assigned.table()))
    return entries, summary | {"data_id": data_id, "split_id": split_id}


def _read_all(
    sources: Sequence[Source],
    recipe: Recipe,
    corrections: Mapping[int, str],
    *,
    names: Sequence[str],
    size: int,
    on_rows: Callable[[int], None],
) -> "_Ledger":
    """Read every piece of every source, a few at a time, so that memory stays flat."""
    read = ray.remote(tasks.read_part).options(num_returns=2 + BANDS)
    reading = ray.put(tasks.Reading(Normalizer.of(recipe.text), corrections))
    ledger = _Ledger(sources, names, with_groups=recipe.data.split.group_column is not None)
    started = (
        (number, read.remote(source, piece, reading))
        for number, source in enumerate(sources)
        for piece in pieces(source, size=size)
    )
    for number, refs in ahead(started):
        ledger.add(number, refs)
        on_rows(ledger.num_rows)
    ledger.check_labels(corrections, recipe.data.corrections)
    return ledger


class _Ledger:
    """The little that the driver keeps of each record, grown piece by piece, in file order."""

    def __init__(
        self, sources: Sequence[Source], names: Sequence[str], *, with_groups: bool
    ) -> None:
        self._sources = sources
        self._file_names = names
        self.parts: list[Part] = []
        self.reasons: Counter[str] = Counter()
        self.details: Counter[str] = Counter()
        self.num_rows = self.num_numbers = 0
        self.first_bad = ""
        self._with_groups = with_groups
        self._names: dict[str, int] = {}
        self._before: set[str] = set()
        self._columns: list[tuple[npt.NDArray[Any], ...]] = []

    def add(self, source: int, refs: Sequence[Any]) -> None:
        brief, rows, *bands = refs
        table = ray.get(brief)
        slot = tasks.Slot(
            number=len(self.parts),
            source=source,
            name=self._file_names[source],
            weight=self._sources[source].weight,
            first=sum(part.num_rows for part in self.parts if part.slot.source == source),
        )
        self.parts.append(Part(slot, self.num_rows, len(table), rows, brief, tuple(bands)))
        self.num_rows += len(table)
        before, num_numbers = json.loads(table.schema.metadata[b"about"])
        self._before.update(before)
        self.num_numbers += num_numbers
        reason = table["reason"]
        bad = np.flatnonzero(pa.compute.is_in(reason, pa.array([UNREADABLE, EMPTY])).to_numpy())
        if len(bad) and not self.first_bad:
            path = self._sources[source].path
            self.first_bad = f"{path}, row {slot.first + int(bad[0]) + 1}"
        self.reasons.update(reason.drop_null().to_pylist())
        unreadable = pa.compute.equal(reason, UNREADABLE)
        self.details.update(table["detail"].filter(unreadable).to_pylist())
        labels = table["label"].combine_chunks()
        names = labels.dictionary.to_pylist()
        codes = np.array([self._names.setdefault(n, len(self._names)) for n in names] or [0])
        label = codes[labels.indices.fill_null(0).to_numpy()].astype(np.int32)
        self._columns.append(
            (
                np.full(len(table), source, np.int32),
                reason.is_null().to_numpy(),
                table["key"].to_numpy().copy(),
                label,
                table["group"].to_numpy().copy() if self._with_groups else np.zeros(0, np.int64),
            )
        )

    def records(self) -> Records:
        source, usable, key, label, group = (
            np.concatenate(column) for column in zip(*self._columns, strict=True)
        )
        self._columns.clear()
        names = tuple(self._names)
        return Records(source, usable, key, label, group if self._with_groups else None, names)

    def check_labels(self, corrections: Mapping[int, str], path: str | None) -> None:
        """DataError for a corrected label that no file has: a slip of the hand."""
        unknown = sorted(set(corrections.values()) - self._before - {""})
        if unknown:
            raise DataError(
                f"{path}: unknown label {unknown[0]!r} (known: {', '.join(sorted(self._before))}); "
                "correct it, or leave it empty to drop the text"
            )


def _check_bad_rows(ledger: _Ledger, records: Records, recipe: Recipe) -> None:
    """Stop where too many records are bad, once they stand where a person can look at them."""
    place = folder(recipe.storage).child(f"quarantine/{recipe.name}")
    try:
        check_bad_rows(
            ledger.reasons,
            ledger.details,
            len(records.key),
            recipe.data.max_bad_rows,
            where=place.child(QUARANTINE).uri,
            first=ledger.first_bad,
        )
    except DataError:
        outcome = np.where(records.usable, 0, UNUSABLE).astype(np.int8)
        aside = ray.remote(tasks.quarantine_of)
        tables = [aside.remote(p.rows, outcome[p.span], p.slot) for p in ledger.parts]
        write_parquet(place, QUARANTINE, pa.concat_tables(ray.get(tables)))
        raise


def _write_parts(
    parts: Sequence[Part], outcome: Decisions, key: Keys, unit: Keys, target: Folder
) -> tuple[list[Entry], str, str]:
    """Write rows and quarantine: (files, data_id, split_id).

    data_id: SHA-256 over the digests of the kept (text, label) rows in file order; split_id: over
    their splits and weights.
    """
    write = ray.remote(tasks.write_part)
    written = [
        write.remote(p.rows, outcome[p.span], key[p.span], unit[p.span], p.slot, target)
        for p in parts
    ]
    data_id, split_id = hashlib.sha256(), hashlib.sha256()
    entries, quarantine = [], []
    for ref, part in zip(written, parts, strict=True):
        entry, digests, aside = ray.get(ref)
        entries.append(entry)
        quarantine.append(aside)
        data_id.update(digests)
        kept = outcome[part.span][outcome[part.span] >= 0]
        use = np.zeros(len(kept), [("split", "i1"), ("weight", "<f4")])
        use["split"], use["weight"] = kept, part.slot.weight
        split_id.update(use.tobytes())
    entries.append(write_parquet(target, QUARANTINE, pa.concat_tables(quarantine)))
    return entries, data_id.hexdigest(), split_id.hexdigest()


def _num_unmatched(corrections: Mapping[int, str], records: Records) -> int:
    return int(np.sum(~contains(np.sort(records.key), np.array(list(corrections), np.int64))))


def _near_summary(grouped: Groups) -> dict[str, Any]:
    """Groups of two texts and more, the texts in them, the largest, and how many were divided."""
    sizes = 1 + np.unique(grouped.leader[grouped.leader != grouped.keys], return_counts=True)[1]
    return {
        "groups": len(sizes),
        "rows": int(sizes.sum()),
        "largest": int(sizes.max(initial=1)),
        "split_at_0.9": len(grouped.split),
    }


def _files(
    sources: Sequence[Source], names: Sequence[str], records: Records, outcome: Decisions
) -> list[dict[str, Any]]:
    """What was read of each file, in what encoding, and how much of it was set aside."""
    read = np.bincount(records.source, minlength=len(sources)).tolist()
    aside = np.bincount(records.source[outcome < -1], minlength=len(sources)).tolist()
    return [
        {
            "path": name,
            "split": source.split,
            "weight": source.weight,
            "format": source.format,
            "encoding": source.encoding,
            "rows": rows,
            "quarantined": quarantined,
        }
        for source, name, rows, quarantined in zip(sources, names, read, aside, strict=True)
    ]
