"""Kept rows to ids, over Ray tasks: segment, count the training rows, fit the encoder, look up."""

import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from bigmodel.data.prepared import (
    Entry,
    SealedFolder,
    columns_of,
    table_of,
    write_arrow,
    write_file,
)
from bigmodel.data.schema import LabelSet
from bigmodel.data.scratch import read_scratch, write_scratch
from bigmodel.data.split import SEEN_SPLITS
from bigmodel.data.unlabelled import Chosen, Unlabelled, chosen_texts, read_texts
from bigmodel.storage import Folder
from bigmodel.text.encoder import EncoderRecipe, TextEncoder
from bigmodel.text.ngrams import BUCKETS, NgramSpans
from bigmodel.text.occurrences import Occurrences

Counts = tuple[Any, npt.NDArray[np.int32]]
"""The keys of a table that some training texts hold, and how many of these texts hold each."""


def encode_rows(
    origin: SealedFolder,
    target: Folder,
    plan: EncoderRecipe,
    *,
    labels: LabelSet,
    num_texts: int,
    unlabelled: Unlabelled,
    on_part: Callable[[str], None],
    on_texts: Callable[[int], None],
) -> tuple[list[Entry], int]:
    """Write the encoder and the encoded training and valid rows of each part, in parts as well, and
    the encoded texts without labels: (files, how many of these texts).

    Texts are read and segmented once: what they hold waits in a scratch file a part until the
    encoder is fitted on the `num_texts` training texts, its vocabulary on the texts without labels
    too. `on_part` is told of each part of the rows, `on_texts` how many texts without labels were
    read. Which task does which part, and when, changes no byte.
    """
    names = origin.parts("rows")
    scratch = target.child(f"scratch-{uuid.uuid4().hex[:8]}")  # another may be writing the same
    totals = [_Totals(table.spans) for table in plan.tables]
    counted = _each(_segment, names, origin=origin, scratch=scratch, plan=plan)
    for name, counts_of_tables in zip(names, counted, strict=True):
        for total, counts in zip(totals, counts_of_tables, strict=True):
            total.add(*counts)
        on_part(name)
    chosen = read_texts(unlabelled, origin, scratch, normalizer=plan.normalizer, on_texts=on_texts)
    of_words = replace(plan, ngrams=None)
    for counts in _each(
        _segment_texts, list(chosen), scratch=scratch, plan=of_words, chosen=chosen
    ):
        totals[0].add(*counts)
    sums, *beside = (total.sums() for total in totals)
    encoder = plan.fit(*sums, num_texts, beside=beside[0] if beside else None)
    entries = [
        write_file(target, f"encoder/{name}", data) for name, data in encoder.files().items()
    ]
    written = _each(_encode, names, scratch=scratch, target=target, encoder=encoder, labels=labels)
    for some in written:
        entries += some
    words = replace(encoder, ngrams=None)
    entries += _each(_encode_texts, list(chosen), scratch=scratch, target=target, encoder=words)
    scratch.remove()
    return entries, sum(int(some.sum()) for some in chosen.values())


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
    write_scratch(scratch, name, table.drop_columns("written"), held)
    training = pa.compute.equal(table["split"], "train").to_numpy()
    return [_counts(one, training) for one in (held, held.ngrams) if one is not None]


def _segment_texts(name: str, *, scratch: Folder, plan: EncoderRecipe, chosen: Chosen) -> Counts:
    """Write what texts without labels hold; the counts of their words."""
    texts = chosen_texts(scratch, name, chosen)
    held = plan.occurrences(texts)
    write_scratch(scratch, f"segmented-{name}", None, held)
    return _counts(held, np.ones(len(texts), np.bool_))


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
    table, held = read_scratch(scratch, name)
    label = labels.ids(table["label"].to_pylist(), where=name)
    rows = table_of(encoder.look_up(held), label, table["weight"].to_numpy())
    entries = []
    for split in SEEN_SPLITS:
        chosen = rows.filter(pa.compute.equal(table["split"], split))
        file = name.replace("rows", split).replace("parquet", "arrow")
        entries.append(write_arrow(target, file, chosen))
    return entries


def _encode_texts(name: str, *, scratch: Folder, target: Folder, encoder: TextEncoder) -> Entry:
    """Write a part of the texts without labels."""
    _, held = read_scratch(scratch, f"segmented-{name}")
    file = name.replace("texts", "unlabelled")
    return write_arrow(target, file, pa.table(columns_of(encoder.look_up(held))))
