"""PreparedData: the folder that `prepare` writes and training reads."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bigmodel.data.schema import LabelSet
from bigmodel.storage import Folder
from bigmodel.text.encoder import TextEncoder
from bigmodel.text.features import Encoded

SUMMARY = "summary.json"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PreparedData:
    """Splits of checked rows, the encoder fitted on the training rows, and what was set aside.

    `summary` has the counts of rows of the command line's contract; `reused` tells whether an
    earlier run had written the folder.
    """

    place: Folder
    summary: dict[str, Any]
    reused: bool

    @property
    def labels(self) -> LabelSet:
        return LabelSet(tuple(self.summary["labels"]))

    def encoder(self) -> TextEncoder:
        return TextEncoder.from_files(
            {name: self.place.read(f"encoder/{name}") for name in self.summary["encoder"]}
        )

    def encoded(self, split: str) -> tuple[Encoded, npt.NDArray[np.int64]]:
        """The ids of "train" or "valid" and their class ids, in file order."""
        table = self._table(f"{split}.parquet")
        label = table.column("label").to_numpy().astype(np.int64)
        return encoded_of(table.drop_columns("label")), label

    def rows(self, split: str) -> tuple[list[str], npt.NDArray[np.int64]]:
        """The raw texts of a split and their class ids, in file order."""
        table = self._table("rows.parquet")
        table = table.filter(pa.compute.equal(table.column("split"), split))
        labels = table.column("label").to_pylist()
        return table.column("text").to_pylist(), self.labels.ids(labels, where=self.place.uri)

    def _table(self, name: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.place.read(name)), use_threads=False)


def seal(place: Folder) -> None:
    """Write the digest of each file, as the last one: from now on the folder is whole."""
    digests = {name: _digest(place, name) for name in place.names() if name != MANIFEST}
    place.write(MANIFEST, json.dumps(digests, indent=1).encode())


def load_prepared(place: Folder) -> PreparedData | None:
    """What an earlier run wrote; None where nothing is there, or not every byte of it."""
    try:
        digests = json.loads(place.read(MANIFEST))
        if any(_digest(place, name) != digest for name, digest in digests.items()):
            return None
        return PreparedData(place, json.loads(place.read(SUMMARY)), reused=True)
    except (FileNotFoundError, ValueError):
        return None


def _digest(place: Folder, name: str) -> str:
    return hashlib.sha256(place.read(name)).hexdigest()


def table_of(encoded: Encoded, label: npt.NDArray[np.int64]) -> pa.Table:
    """One row a text: `ids`, `values` where the features have weights, `label`."""
    offsets = pa.array(encoded.offsets, pa.int32())
    columns = {"ids": pa.ListArray.from_arrays(offsets, pa.array(encoded.ids))}
    if encoded.values is not None:
        columns["values"] = pa.ListArray.from_arrays(offsets, pa.array(encoded.values))
    return pa.table(columns | {"label": pa.array(label, pa.int32())})


def encoded_of(table: pa.Table) -> Encoded:
    """The inverse of `table_of`, without the labels."""
    lists = table.column("ids").combine_chunks()
    values = None
    if "values" in table.column_names:
        values = table.column("values").combine_chunks().flatten().to_numpy()
    offsets = np.zeros(len(table) + 1, np.int64)
    np.cumsum(pa.compute.list_value_length(lists).to_numpy(zero_copy_only=False), out=offsets[1:])
    return Encoded(lists.flatten().to_numpy(), values, offsets, np.zeros(len(table), np.bool_))
