"""PreparedData: the two folders that `prepare` writes; training and evaluation read them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bigmodel.data.schema import LabelSet
from bigmodel.data.split import Keys
from bigmodel.errors import DataError
from bigmodel.storage import MANIFEST, Folder, folder
from bigmodel.text.encoder import TextEncoder
from bigmodel.text.features import Encoded, concatenate
from bigmodel.text.occurrences import offsets_of

SUMMARY = "summary.json"
QUARANTINE = "quarantine.parquet"
SPLITS_FILE = "splits.arrow"
"""The splits of the texts that were split by their unit: `Earlier` of those to come."""

REPEATING = ("source", "label", "split", "weight", "reason", "detail")
"""Columns of few different values; a dictionary of all texts takes twice the time to write."""

Weights = npt.NDArray[np.float32]
Entry = tuple[str, int, str]
"""A file of a sealed folder: its name, bytes, SHA-256."""


@dataclass(frozen=True)
class SealedFolder:
    """A folder that was written whole, with the size and SHA-256 of each of its files."""

    place: Folder
    files: dict[str, tuple[int, str]]

    def read(self, name: str) -> bytes:
        """A file's bytes, checked; DataError where they aren't those that were written."""
        data = self.place.read(name)
        if (len(data), hashlib.sha256(data).hexdigest()) != self.files[name]:
            raise DataError(
                f"{self.place.child(name).uri}: damaged, its bytes aren't those that were written; "
                f"delete the folder {self.place.uri} and run the command again"
            )
        return data

    def parquet(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        source = pa.BufferReader(self.read(name))
        return pq.read_table(source, columns=columns, use_threads=False)

    def arrow(self, name: str) -> pa.Table:
        return pa.ipc.open_file(pa.BufferReader(self.read(name))).read_all()

    def parts(self, kind: str) -> list[str]:
        """The part files of a kind, in order."""
        return sorted(name for name in self.files if name.startswith(f"{kind}-"))

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read(SUMMARY))
        return found


@dataclass(frozen=True)
class PreparedRows:
    """Checked and split rows, and what was set aside; `summary` has the counts of the command
    line's contract."""

    origin: SealedFolder

    @cached_property
    def summary(self) -> dict[str, Any]:
        return self.origin.summary()

    @property
    def lineage(self) -> dict[str, str]:
        """What a model keeps of its data: `find_rows` finds them by it."""
        ids = {name: self.summary[name] for name in ("data_id", "split_id")}
        return ids | {"prepared": self.origin.place.uri}

    @property
    def quarantine_uri(self) -> str:
        """The Parquet file of what was set aside."""
        return self.origin.place.child(QUARANTINE).uri

    @property
    def labels(self) -> LabelSet:
        return LabelSet(tuple(self.summary["labels"]))

    def rows(self, split: str) -> tuple[list[str], npt.NDArray[np.int64]]:
        """The raw texts of a split and their class ids, in file order."""
        table = self.of_splits(split, columns=["text", "label"])
        labels = table["label"].to_pylist()
        return table["text"].to_pylist(), self.labels.ids(labels, where=self.origin.place.uri)

    def units(self, split: str) -> Keys:
        """Equal in near-duplicates [N], of the rows of a split in file order."""
        return np.asarray(self.of_splits(split, columns=["unit"])["unit"].to_numpy())

    def of_splits(self, *splits: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The kept rows of some splits, with all columns of `table` or some."""
        wanted = None if columns is None else list(dict.fromkeys([*columns, "split"]))
        table = self._table(wanted)
        return table.filter(pa.compute.is_in(table["split"], pa.array(splits)))

    def table(self) -> pa.Table:
        """All kept rows, in file order.

        source (position in the summary's files), row, key (equal in equal texts), text, written
        (the text normalised), label, group, split, weight, unit (equal in near-duplicates), and
        the columns kept for slices.
        """
        return self._table()

    def quarantine(self) -> pa.Table:
        """What was set aside: source (its path), row, reason, detail, text, label, raw."""
        return self.origin.parquet(QUARANTINE)

    def _table(self, columns: Sequence[str] | None = None) -> pa.Table:
        parts = self.origin.parts("rows")
        return pa.concat_tables([self.origin.parquet(name, columns) for name in parts])


@dataclass(frozen=True)
class PreparedData(PreparedRows):
    """Prepared rows with the encoder's ids of them.

    `reused` tells whether an earlier run had written both folders, `why` for which reasons
    something was made anew.
    """

    encodings: SealedFolder
    reused: bool = True
    why: tuple[str, ...] = ()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """With the number of texts without labels, which no other count includes."""
        return super().summary | {"unlabelled": self.encodings.summary()["unlabelled"]}

    @property
    def weak_words(self) -> list[str]:
        """A sentence for each word of the user's dictionary that doesn't take effect."""
        return list(self.encodings.summary()["weak_words"])

    def encoder(self) -> TextEncoder:
        names = [name for name in self.encodings.files if name.startswith("encoder/")]
        files = {name.removeprefix("encoder/"): self.encodings.read(name) for name in names}
        return TextEncoder.from_files(files)

    def encoded(self, split: str) -> tuple[Encoded, npt.NDArray[np.int64], Weights]:
        """The ids of "train" or "valid", their class ids and their weights, in file order."""
        tables = [self.encodings.arrow(name) for name in self.encodings.parts(split)]
        columns = pa.concat_tables([table.select(["label", "weight"]) for table in tables])
        label = columns["label"].to_numpy().astype(np.int64)
        return (
            concatenate([encoded_of(table) for table in tables]),
            label,
            columns["weight"].to_numpy(),
        )

    def unlabelled(self) -> Encoded:
        """The words of the texts without labels, in the order of the files; maybe of no texts.

        Each text is there once, and none that stands in a kept row.
        """
        parts = self.encodings.parts("unlabelled")
        return concatenate([encoded_of(self.encodings.arrow(name)) for name in parts])


def write_file(place: Folder, name: str, data: bytes) -> Entry:
    """Write a file that belongs to a folder to be sealed."""
    place.write(name, data)
    return name, len(data), hashlib.sha256(data).hexdigest()


def write_parquet(place: Folder, name: str, table: pa.Table) -> Entry:
    """Rows for people and their tools; the same bytes for the same rows."""
    sink = pa.BufferOutputStream()
    repeats = [name for name in table.column_names if name in REPEATING]
    pq.write_table(table.combine_chunks(), sink, compression="zstd", use_dictionary=repeats)
    return write_file(place, name, sink.getvalue().to_pybytes())


def write_arrow(place: Folder, name: str, table: pa.Table) -> Entry:
    """Numbers for training, as they lie in memory: Parquet takes 20 times as long, and saves a
    fifth."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table.combine_chunks())
    return write_file(place, name, sink.getvalue())


def seal(place: Folder, entries: Iterable[Entry]) -> None:
    """Write what each file must be, as the last one: from now on the folder is whole."""
    listed = {name: (size, digest) for name, size, digest in sorted(entries)}
    place.write(MANIFEST, json.dumps(listed, indent=1).encode())


def find_sealed(place: Folder) -> SealedFolder | None:
    """The folder if all its files are there in their sizes.

    Their bytes are checked when they are read, so that gigabytes are found at once.
    """
    try:
        listed = json.loads(place.read(MANIFEST))
        files = {name: (size, digest) for name, (size, digest) in listed.items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return None
    sizes = place.sizes()
    whole = all(sizes.get(name) == size for name, (size, _) in files.items())
    return SealedFolder(place, files) if whole else None


def find_rows(lineage: Mapping[str, str]) -> PreparedRows | None:
    """The rows that a model keeps the `lineage` of; None where they are gone, or others by now."""
    origin = find_sealed(folder(lineage["prepared"])) if "prepared" in lineage else None
    rows = PreparedRows(origin) if origin else None
    return rows if rows and rows.lineage == dict(lineage) else None


def table_of(encoded: Encoded, label: npt.NDArray[np.int64], weight: Weights) -> pa.Table:
    """One row a text: `columns_of`, `label`, `weight`."""
    columns = columns_of(encoded)
    columns |= {"label": pa.array(label, pa.int32()), "weight": pa.array(weight)}
    return pa.table(columns)


def columns_of(encoded: Encoded, *, prefix: str = "") -> dict[str, pa.Array]:
    """A list a text: `ids`, and `values` where the features have weights; `ngram_ids` and
    `ngram_values` where n-grams stand beside words."""
    offsets = pa.array(encoded.offsets, pa.int32())
    columns = {f"{prefix}ids": pa.ListArray.from_arrays(offsets, pa.array(encoded.ids))}
    if encoded.values is not None:
        values = pa.ListArray.from_arrays(offsets, pa.array(encoded.values))
        columns[f"{prefix}values"] = values
    if encoded.ngrams is not None:
        columns |= columns_of(encoded.ngrams, prefix="ngram_")
    return columns


def encoded_of(table: pa.Table, *, prefix: str = "") -> Encoded:
    """The inverse of `columns_of`; other columns are read past."""
    lists = table[f"{prefix}ids"].combine_chunks()
    values = ngrams = None
    if f"{prefix}values" in table.column_names:
        values = table[f"{prefix}values"].combine_chunks().flatten().to_numpy()
    if not prefix and "ngram_ids" in table.column_names:
        ngrams = encoded_of(table, prefix="ngram_")
    lengths = pa.compute.list_value_length(lists).to_numpy(zero_copy_only=False)
    truncated = np.zeros(len(table), np.bool_)
    return Encoded(lists.flatten().to_numpy(), values, offsets_of(lengths), truncated, ngrams)
