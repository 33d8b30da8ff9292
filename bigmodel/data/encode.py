"""Kept rows to ids, over Ray tasks: segment, count the training rows, fit the encoder, look up."""

import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from bigmodel.data.prepared import Entry, SealedFolder, table_of, write_arrow, write_file
from bigmodel.data.schema import LabelSet
from bigmodel.data.split import SEEN_SPLITS
from bigmodel.storage import Folder
from bigmodel.text.encoder import EncoderRecipe, TextEncoder
from bigmodel.text.ngrams import BUCKETS, NgramSpans
from bigmodel.text.occurrences import Occurrences, offsets_of

Counts = tuple[Any, npt.NDArray[np.int32]]
"""The keys of a table that some training texts hold, and how many of these texts hold each."""


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
    scratch = target.child(f"scratch-{uuid.uuid4().hex[:8]}")  # another may be writing the same
    totals = [_Totals(table.spans) for table in plan.tables]
    counted = _each(_segment, names, origin=origin, scratch=scratch, plan=plan)
    for name, counts_of_tables in zip(names, counted, strict=True):
        for total, counts in zip(totals, counts_of_tables, strict=True):
            total.add(*counts)
        on_part(name)
    sums, *beside = (total.sums() for total in totals)
    encoder = plan.fit(*sums, num_texts, beside=beside[0] if beside else None)
    entries = [
        write_file(target, f"encoder/{name}", data) for name, data in encoder.files().items()
    ]
    written = _each(_encode, names, scratch=scratch, target=target, encoder=encoder, labels=labels)
    for some in written:
        entries += some
    scratch.remove()
    return entries


def _each(function: Callable[..., Any], names: list[str], **shared: Any) -> Iterator[Any]:
    """What `function` says of each part, in order, a task a part; what is shared travels once.

    Plain tasks: over Ray Data each of the two passes took 2 to 4 seconds more.
    """
    task = ray.remote(_call)
    together = ray.put((function, shared))
    waiting = deque(task.remote(together, name) for name in names)
    while waiting:
        yield ray.get(waiting.popleft())  # and let go of it: memory stays flat


def _call(together: tuple[Callable[..., Any], dict[str, Any]], name: str) -> Any:
    function, shared = together
    return function(name, **shared)


def _segment(
    name: str, *, origin: SealedFolder, scratch: Folder, plan: EncoderRecipe
) -> list[Counts]:
    """Write what a part's training and valid texts hold; the counts of the training texts for each
    table of the plan."""
    table = origin.parquet(name, ["written", "label", "weight", "split"])
    table = table.filter(pa.compute.is_in(table["split"], pa.array(SEEN_SPLITS)))
    held = plan.occurrences(table["written"].to_pylist())
    _write_scratch(scratch, name, table.drop_columns("written"), held)
    training = pa.compute.equal(table["split"], "train").to_numpy()
    return [_counts(one, training) for one in (held, held.ngrams) if one is not None]


def _counts(held: Occurrences, chosen: npt.NDArray[np.bool_]) -> Counts:
    keys, counts = held.held_by(chosen)
    narrow = keys if isinstance(keys, list) else keys.astype(np.int32)
    return narrow, counts.astype(np.int32)


class _Totals:
    """In how many training texts each key of a table stands, over the parts seen so far."""

    def __init__(self, spans: NgramSpans | None) -> None:
        self._words: Counter[str] | None = Counter() if spans is None else None
        self._buckets = np.zeros(0 if spans is None else 2 * BUCKETS, np.int32)

    def add(self, keys: Any, counts: npt.NDArray[np.int32]) -> None:
        if self._words is None:
            self._buckets[keys] += counts  # each key is there once
        else:
            self._words.update(dict(zip(keys, counts.tolist(), strict=True)))

    def sums(self) -> tuple[Any, Any]:
        if self._words is not None:
            return list(self._words), list(self._words.values())
        held = np.flatnonzero(self._buckets)
        return held, self._buckets[held]


def _encode(
    name: str, *, scratch: Folder, target: Folder, encoder: TextEncoder, labels: LabelSet
) -> list[Entry]:
    """Write the encoded rows of a part, a file a split."""
    table, held = _read_scratch(scratch, name)
    label = labels.ids(table["label"].to_pylist(), where=name)
    rows = table_of(encoder.look_up(held), label, table["weight"].to_numpy())
    entries = []
    for split in SEEN_SPLITS:
        chosen = rows.filter(pa.compute.equal(table["split"], split))
        file = name.replace("rows", split).replace("parquet", "arrow")
        entries.append(write_arrow(target, file, chosen))
    return entries


def _write_scratch(scratch: Folder, name: str, table: pa.Table, held: Occurrences) -> None:
    for column, values in _columns(held).items():
        table = table.append_column(column, values)
    write_arrow(scratch, name, table.replace_schema_metadata({"words": "\n".join(held.words)}))


def _columns(held: Occurrences, *, prefix: str = "") -> dict[str, pa.Array]:
    columns = {f"{prefix}keys": _lists(held.offsets, held.keys)}
    if held.counts is not None:
        narrow = np.min_scalar_type(held.counts.max(initial=0))
        columns[f"{prefix}counts"] = _lists(held.offsets, held.counts.astype(narrow))
    if held.ngrams is not None:
        columns |= _columns(held.ngrams, prefix="ngram_")
    return columns


def _read_scratch(scratch: Folder, name: str) -> tuple[pa.Table, Occurrences]:
    table = pa.ipc.open_file(pa.BufferReader(scratch.read(name))).read_all()
    return table, _held(table)


def _held(table: pa.Table, *, prefix: str = "") -> Occurrences:
    """The inverse of `_columns`."""
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
