"""Kept rows to ids, by Ray Data: segment, count the training rows, fit the encoder, look up."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray
from ray.data import Dataset, ExecutionOptions

from bigmodel.data.prepared import Entry, SealedFolder, table_of, write_arrow, write_file
from bigmodel.data.schema import LabelSet
from bigmodel.storage import Folder
from bigmodel.text.encoder import EncoderRecipe, TextEncoder
from bigmodel.text.ngrams import BUCKETS
from bigmodel.text.occurrences import Occurrences, offsets_of

ENCODED_SPLITS = ("train", "valid")  # test rows are answered as raw text, like a user's
Batch = dict[str, npt.NDArray[Any]]


def encode_rows(
    origin: SealedFolder,
    target: Folder,
    plan: EncoderRecipe,
    *,
    labels: LabelSet,
    num_texts: int,
    on_part: Callable[[str], None],
) -> list[Entry]:
    """Write the encoder and the encoded training and valid rows of each part, in parts as well.

    Texts are read and segmented once: what they hold waits in a scratch file a part until the
    encoder is fitted on the `num_texts` training texts; `on_part` is told of each one. Which task
    does which part, and when, changes no byte.
    """
    names = origin.parts("rows")
    scratch = target.child("scratch")
    counted = _spread(names).map_batches(
        partial(_segment, origin=origin, scratch=scratch, plan=plan), batch_size=1
    )
    totals = _Totals(plan)
    for name, table in zip(names, _tables(counted), strict=True):
        totals.add(table)
        on_part(name)
    encoder = plan.fit(*totals.sums(), num_texts)
    entries = [
        write_file(target, f"encoder/{name}", data) for name, data in encoder.files().items()
    ]
    written = _spread(names).map_batches(
        partial(_encode, scratch=scratch, target=target, encoder=ray.put(encoder), labels=labels),
        batch_size=1,
    )
    entries += [tuple(row.values()) for table in _tables(written) for row in table.to_pylist()]
    scratch.remove()
    return entries


def _spread(names: list[str]) -> Dataset:
    """One block a part: a part is the work of one task, whatever the cluster."""
    context = ray.data.DataContext.get_current()
    context.execution_options = ExecutionOptions(preserve_order=True)
    items = [{"name": name} for name in names]
    return ray.data.from_items(items, override_num_blocks=len(items))


def _tables(rows: Dataset) -> Iterator[pa.Table]:
    yield from rows.iter_batches(batch_size=None, batch_format="pyarrow")


def _segment(
    batch: Batch, *, origin: SealedFolder, scratch: Folder, plan: EncoderRecipe
) -> pa.Table:
    """Write what a part's training and valid texts hold; (key, count) of the training texts.

    Never without a line, so that each part is one block: the first counts nothing.
    """
    (name,) = batch["name"]
    table = origin.parquet(name, ["written", "label", "weight", "split"])
    table = table.filter(pa.compute.is_in(table["split"], pa.array(ENCODED_SPLITS)))
    held = plan.occurrences(table["written"].to_pylist())
    _write_scratch(scratch, name, table.drop_columns("written"), held)
    training = pa.compute.equal(table["split"], "train").to_numpy()
    keys, counts = held.held_by(training)
    key_type = pa.string() if plan.spans is None else pa.int32()
    keys = pa.concat_arrays([pa.nulls(1, key_type), pa.array(keys).cast(key_type)])
    return pa.table({"key": keys, "count": np.append(0, counts).astype(np.int32)})


class _Totals:
    """In how many training texts each key stands, over the parts seen so far."""

    def __init__(self, plan: EncoderRecipe) -> None:
        self._words: Counter[str] | None = Counter() if plan.spans is None else None
        self._buckets = np.zeros(0 if plan.spans is None else 2 * BUCKETS, np.int32)

    def add(self, table: pa.Table) -> None:
        table = table.filter(table["key"].is_valid())
        if self._words is None:
            self._buckets[table["key"].to_numpy()] += table["count"].to_numpy()  # each once
        else:
            counted = zip(table["key"].to_pylist(), table["count"].to_pylist(), strict=True)
            self._words.update(dict(counted))

    def sums(self) -> tuple[Any, Any]:
        if self._words is not None:
            return list(self._words), list(self._words.values())
        held = np.flatnonzero(self._buckets)
        return held, self._buckets[held]


def _encode(
    batch: Batch, *, scratch: Folder, target: Folder, encoder: Any, labels: LabelSet
) -> pa.Table:
    """Write the encoded rows of a part, a file a split; one row a file: its `Entry`."""
    (name,) = batch["name"]
    table, held = _read_scratch(scratch, name)
    fitted: TextEncoder = ray.get(encoder)
    encoded = fitted.features.look_up(held)
    label = labels.ids(table["label"].to_pylist(), where=name)
    rows = table_of(encoded, label, table["weight"].to_numpy())
    entries = []
    for split in ENCODED_SPLITS:
        chosen = rows.filter(pa.compute.equal(table["split"], split))
        file = name.replace("rows", split).replace("parquet", "arrow")
        entries.append(write_arrow(target, file, chosen))
    return pa.table(dict(zip(("name", "size", "digest"), zip(*entries, strict=True), strict=True)))


def _write_scratch(scratch: Folder, name: str, table: pa.Table, held: Occurrences) -> None:
    columns = {"keys": _lists(held.offsets, held.keys)}
    if held.counts is not None:
        narrow = np.min_scalar_type(held.counts.max(initial=0))
        columns["counts"] = _lists(held.offsets, held.counts.astype(narrow))
    for column, values in columns.items():
        table = table.append_column(column, values)
    write_arrow(scratch, name, table.replace_schema_metadata({"words": "\n".join(held.words)}))


def _read_scratch(scratch: Folder, name: str) -> tuple[pa.Table, Occurrences]:
    table = pa.ipc.open_file(pa.BufferReader(scratch.read(name))).read_all()
    words = tuple(table.schema.metadata[b"words"].decode().split("\n"))
    lists = table["keys"].combine_chunks()
    counts = None
    if "counts" in table.column_names:
        counts = table["counts"].combine_chunks().flatten().to_numpy().astype(np.int32)
    lengths = pa.compute.list_value_length(lists).to_numpy()
    return table, Occurrences(lists.flatten().to_numpy(), counts, offsets_of(lengths), words)


def _lists(offsets: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
