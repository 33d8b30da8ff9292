"""What texts hold, in a file that waits until the encoder is fitted."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel.data.prepared import write_arrow
from bigmodel.storage import Folder
from bigmodel.text.occurrences import Occurrences, offsets_of


def write_scratch(scratch: Folder, name: str, table: pa.Table | None, held: Occurrences) -> None:
    """A row a text: the columns of the table, if any, beside what the texts hold."""
    columns = {} if table is None else {one: table[one] for one in table.column_names}
    found = pa.table(columns | _columns(held))
    write_arrow(scratch, name, found.replace_schema_metadata({"words": "\n".join(held.words)}))


def read_scratch(scratch: Folder, name: str) -> tuple[pa.Table, Occurrences]:
    """The inverse of `write_scratch`; the table has further columns."""
    table = pa.ipc.open_file(pa.BufferReader(scratch.read(name))).read_all()
    return table, _held(table)


def _columns(held: Occurrences, *, prefix: str = "") -> dict[str, pa.Array]:
    columns = {f"{prefix}keys": _lists(held.offsets, held.keys)}
    if held.counts is not None:
        narrow = np.min_scalar_type(held.counts.max(initial=0))
        columns[f"{prefix}counts"] = _lists(held.offsets, held.counts.astype(narrow))
    if held.ngrams is not None:
        columns |= _columns(held.ngrams, prefix="ngram_")
    return columns


def _held(table: pa.Table, *, prefix: str = "") -> Occurrences:
    lists = table[f"{prefix}keys"].combine_chunks()
    lengths = pa.compute.list_value_length(lists).to_numpy()
    counts = ngrams = None
    if f"{prefix}counts" in table.column_names:
        counts = table[f"{prefix}counts"].combine_chunks().flatten().to_numpy().astype(np.int32)
    if not prefix and "ngram_keys" in table.column_names:
        ngrams = _held(table, prefix="ngram_")
    words = () if prefix else tuple(table.schema.metadata[b"words"].decode().split("\n"))
    return Occurrences(lists.flatten().to_numpy(), counts, offsets_of(lengths), words, ngrams)


def _lists(offsets: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
