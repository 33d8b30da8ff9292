"""What one Ray task does with one piece of the data; plain functions, tested without Ray."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel.data.duplicates import Pairs, band_hashes, candidates, similarity
from bigmodel.data.prepared import Entry, write_parquet
from bigmodel.data.read import read_piece
from bigmodel.data.schema import EMPTY, REMOVED, kept_columns, kept_name
from bigmodel.data.sources import Source
from bigmodel.data.split import (
    DUPLICATE,
    REASONS,
    SPLITS,
    Decisions,
    Keys,
    contains,
    group_key,
    key64,
)
from bigmodel.storage import Folder
from bigmodel.text.normalize import Normalizer

_NUMBER = re.compile(r"[-+]?[0-9][0-9.,:/ %-]*")


@dataclass(frozen=True)
class Reading:
    """How records are read: the normaliser, and corrected labels by the key of their text."""

    normalizer: Normalizer
    corrections: Mapping[int, str]


def read_part(source: Source, piece: Any, reading: Reading) -> tuple[Any, ...]:
    """(brief, rows, bands…): the columns to judge by, the records, and their MinHash bands.

    brief: key, label, group (a hash, 0 without one), reason, detail; its metadata has the labels
    as they were written, and how many texts are numbers. rows: those of `read_piece` and `written`,
    the normalised text, null in what isn't usable. A band is a uint64 array of the usable records.
    """
    rows = read_piece(source, piece)
    columns = {name: rows[name].to_pylist() for name in ("text", "label", "group", "reason")}
    before = {label for label in columns["label"] if label}
    texts = [
        None if reason else reading.normalizer(text)
        for text, reason in zip(columns["text"], columns["reason"], strict=True)
    ]
    keys = np.fromiter((key64(text or "") for text in texts), np.int64, len(texts))
    details = rows["detail"].to_pylist()
    for i, text in enumerate(texts):
        if text is None:
            continue
        if reading.corrections:
            columns["label"][i] = reading.corrections.get(int(keys[i]), columns["label"][i])
        removed = text and not columns["label"][i] and int(keys[i]) in reading.corrections
        if removed:
            columns["reason"][i] = REMOVED
        elif not text or not columns["label"][i]:
            columns["reason"][i], details[i] = EMPTY, "label" if text else "text"
        if columns["reason"][i]:
            texts[i] = None
    written = pa.array(texts, pa.string())
    label = pa.array(columns["label"], pa.string())
    reason = pa.array(columns["reason"], pa.string())
    detail = pa.array(details, pa.string())
    group = [group_key(value) for value in columns["group"]]
    brief = pa.table(
        {
            "key": keys,
            "label": pa.compute.if_else(written.is_valid(), label, None).dictionary_encode(),
            "group": pa.array(group, pa.int64()),
            "reason": reason,
            "detail": detail,
        }
    ).replace_schema_metadata({"about": json.dumps([sorted(before), _num_numbers(texts)])})
    for name, column in (("label", label), ("reason", reason), ("detail", detail)):
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    bands = band_hashes([text for text in texts if text is not None])
    return (brief, rows.append_column("written", written), *np.ascontiguousarray(bands.T))


def _num_numbers(texts: Sequence[str | None]) -> int:
    return sum(text is not None and _NUMBER.fullmatch(text) is not None for text in texts)


def pairs_of(
    briefs: Sequence[pa.Table], bands: Sequence[Sequence[npt.NDArray[np.uint64]]], dropped: Keys
) -> Pairs:
    """The pairs of keys that share a bucket in any of some bands, each given piece by piece.

    Of texts that are `dropped` none is looked at.
    """
    keys = np.concatenate([usable_keys(brief) for brief in briefs])
    kept = ~contains(dropped, keys)
    return distinct([candidates(np.concatenate(band)[kept], keys[kept]) for band in bands])


def distinct(pairs: Sequence[Pairs]) -> Pairs:
    """All pairs, each once, in order."""
    together = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    return np.unique(together, axis=0)


def texts_of(brief: pa.Table, rows: pa.Table, *wanted: Keys) -> list[pa.Table]:
    """(key, text) of the records of a piece whose key is wanted, a table for each rising list."""
    written = rows["written"].drop_null()
    keys = usable_keys(brief)
    tables = []
    for some in wanted:
        chosen = np.flatnonzero(contains(some, keys))
        tables.append(pa.table({"key": keys[chosen], "text": written.take(pa.array(chosen))}))
    return tables


def similarity_of(pairs: Pairs, *tables: pa.Table) -> npt.NDArray[np.float32]:
    """The Jaccard similarity of each pair, whose texts are in the tables."""
    table = pa.concat_tables(tables)
    texts = dict(zip(table["key"].to_pylist(), table["text"].to_pylist(), strict=True))
    return similarity(pairs, texts)


def usable_keys(brief: pa.Table) -> Keys:
    keys: Keys = brief.filter(brief["reason"].is_null())["key"].to_numpy()
    return keys


@dataclass(frozen=True)
class Slot:
    """Where a part belongs: its number, and the `first` records of its source before it."""

    number: int
    source: int
    name: str
    weight: float
    first: int

    def row_in_file(self, rows: pa.Table) -> pa.Array:
        """The numbers that records of a piece have in their file."""
        return pa.array(rows["row"].to_numpy() + self.first)


def write_part(
    rows: pa.Table, outcome: Decisions, key: Keys, unit: Keys, slot: Slot, target: Folder
) -> tuple[Entry, bytes, pa.Table]:
    """Write the kept rows of a piece: (the file, 16 bytes a kept row that name it, quarantine)."""
    kept = rows.filter(pa.array(outcome >= 0))
    table = pa.table(
        {
            "source": np.full(len(kept), slot.source, np.int32),
            "row": slot.row_in_file(kept),
            "key": key[outcome >= 0],
            "text": kept["text"],
            "written": kept["written"],
            "label": kept["label"],
            "group": kept["group"],
            "split": pa.array(SPLITS).take(pa.array(outcome[outcome >= 0])),
            "weight": np.full(len(kept), slot.weight, np.float32),
            "unit": unit[outcome >= 0],
        }
        | {kept_name(name): values for name, values in kept_columns(kept).items()}
    )
    entry = write_parquet(target, f"rows-{slot.number:05}.parquet", table)
    texts = zip(kept["text"].to_pylist(), kept["label"].to_pylist(), strict=True)
    digests = (
        hashlib.blake2b(f"{label}\0{text}".encode(), digest_size=16) for text, label in texts
    )
    return entry, b"".join(one.digest() for one in digests), quarantine_of(rows, outcome, slot)


def quarantine_of(rows: pa.Table, outcome: Decisions, slot: Slot) -> pa.Table:
    """The records of a piece that are set aside: duplicates aren't, nothing of theirs is lost."""
    aside = (outcome < 0) & (outcome != DUPLICATE)
    rows = rows.filter(pa.array(aside))
    judged = pa.array([REASONS.get(code) for code in outcome[aside].tolist()], pa.string())
    reason = pa.compute.coalesce(rows["reason"], judged)
    source = pa.array([slot.name] * len(rows), pa.string())
    columns = {name: rows[name] for name in ("detail", "text", "label", "raw")}
    numbers = slot.row_in_file(rows)
    return pa.table({"source": source, "reason": reason, "row": numbers} | columns)
