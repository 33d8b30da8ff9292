"""Texts without labels: each once, and none of the kept rows; for vocabulary and word vectors."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from bigmodel.data.ahead import ahead
from bigmodel.data.prepared import SealedFolder, write_arrow
from bigmodel.data.read import pieces, read_piece
from bigmodel.data.refusals import check_unlabelled
from bigmodel.data.sources import Source
from bigmodel.data.split import Keys, contains, key64
from bigmodel.storage import Folder
from bigmodel.text.normalize import Normalizer

Chosen = dict[str, npt.NDArray[np.bool_]]
"""Which texts of a scratch file count, by its name; the files stand in the order of the texts."""


@dataclass(frozen=True)
class Unlabelled:
    """The files, about how many bytes of them are the work of one task, and the share of unreadable
    records above which a job stops."""

    sources: tuple[Source, ...]
    size: int
    limit: float


def read_texts(
    unlabelled: Unlabelled,
    origin: SealedFolder,
    scratch: Folder,
    *,
    normalizer: Normalizer,
    on_texts: Callable[[int], None],
) -> Chosen:
    """Write the normalised texts of each piece into a scratch file, and choose those to use.

    Of equal texts the first is chosen, unless it stands in a kept row of `origin`. `on_texts` is
    told how many were read. DataError where too many records of a file can't be read.
    """
    read = ray.remote(_read)
    shared = ray.put((normalizer, scratch))
    sources = unlabelled.sources

    def start() -> Iterator[tuple[Source, str, Any]]:
        every = ((one, piece) for one in sources for piece in pieces(one, size=unlabelled.size))
        for number, (source, piece) in enumerate(every):
            name = f"texts-{number:05}.arrow"
            yield source, name, read.remote(source, piece, name, shared)

    keys: dict[str, Keys] = {}
    faults: dict[Source, Counter[str]] = {source: Counter() for source in sources}
    num_rows: Counter[Source] = Counter()
    for source, name, task in ahead(start()):
        keys[name], details, rows = ray.get(task)
        faults[source].update(details)
        num_rows[source] += rows
        on_texts(num_rows.total())
    for source in sources:
        check_unlabelled(source, faults[source], num_rows[source], unlabelled.limit)
    parts = origin.parts("rows") if keys else []
    kept = [origin.parquet(part, ["key"])["key"].to_numpy() for part in parts]
    chosen = choose(list(keys.values()), np.concatenate([np.zeros(0, np.int64), *kept]))
    return dict(zip(keys, chosen, strict=True))


def choose(parts: Sequence[Keys], kept: Keys) -> list[npt.NDArray[np.bool_]]:
    """For each of the keys of some parts: is it the first of its kind, and none of the kept?"""
    keys = np.concatenate([np.zeros(0, np.int64), *parts])
    order = np.argsort(keys, kind="stable")
    first = np.ones(len(keys), np.bool_)
    first[order[1:]] = keys[order[1:]] != keys[order[:-1]]
    chosen = first & ~contains(np.sort(kept), keys)
    return np.split(chosen, np.cumsum([len(part) for part in parts]))[: len(parts)]


def chosen_texts(scratch: Folder, name: str, chosen: Chosen) -> list[str]:
    """The texts to use of a scratch file that `read_texts` wrote."""
    table = pa.ipc.open_file(pa.BufferReader(scratch.read(name))).read_all()
    texts: list[str] = table["written"].filter(pa.array(chosen[name])).to_pylist()
    return texts


def _read(
    source: Source, piece: Any, name: str, shared: tuple[Normalizer, Folder]
) -> tuple[Keys, Counter[str], int]:
    """Write the texts of a piece that aren't empty: (their keys, why records can't be read, how
    many records there were)."""
    normalizer, scratch = shared
    rows = read_piece(source, piece)
    texts = [text for text in map(normalizer, rows["text"].drop_null().to_pylist()) if text]
    write_arrow(scratch, name, pa.table({"written": pa.array(texts, pa.string())}))
    keys = np.fromiter(map(key64, texts), np.int64, len(texts))
    return keys, Counter(rows["detail"].drop_null().to_pylist()), len(rows)
