"""Labelled files to checked rows: every record is kept or set aside with its reason."""

import csv
import io
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from bigmodel.config import DataConfig
from bigmodel.data.schema import EMPTY, UNREADABLE
from bigmodel.data.split import SPLITS
from bigmodel.errors import DataError, RecipeError
from bigmodel.text.normalize import normalize

ROWS = pa.schema(
    [
        ("source", pa.int16()),  # position in the list of sources
        ("row", pa.int64()),  # number of the record in its file, the first after the header is 1
        ("text", pa.string()),
        ("label", pa.string()),
        ("group", pa.string()),  # of data.split.group_column, null where blank
        ("reason", pa.string()),  # why the record isn't usable, else null
        ("raw", pa.binary()),  # the record as it stood, only with a reason
    ]
)
_BLOCK = 4096  # records a table
_LONGEST_FIELD = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file of records: what its rows are for ("train" rows may be split) and its columns."""

    path: str
    split: str
    columns: tuple[str, ...]
    text: int
    label: int | None
    group: int | None


def sources_of(config: DataConfig) -> list[Source]:
    """The files of a recipe: each has its columns and a record below them, else DataError."""
    paths = {split: getattr(config, split) for split in SPLITS}
    sources = [open_source(path, split, config) for split, path in paths.items() if path]
    for source in sources:
        if next(read_records(source, config.encoding), None) is None:
            raise DataError(f"{source.path}: no rows after the header; expected labelled texts")
    return sources


def open_source(path: str, split: str, config: DataConfig, *, labelled: bool = True) -> Source:
    """Look at a file's header; DataError where it's missing, empty, or lacks a column."""
    _check_encoding(config.encoding)
    with opened(path) as stream:
        try:
            columns = next(_records(stream, path, config.encoding))[1]
        except StopIteration:
            raise DataError(f"{path}: the file is empty; expected a header and rows") from None
    if columns is None:
        raise DataError(f"{path}: the header can't be read as {config.encoding}; set data.encoding")
    wanted = {"data.text_column": config.text_column, "data.label_column": config.label_column}
    if not labelled:
        del wanted["data.label_column"]
    if config.split.group_column is not None and split == "train":
        wanted["data.split.group_column"] = config.split.group_column
    for key, column in wanted.items():
        if columns.count(column) != 1:
            problem = "several columns are called" if column in columns else "no column"
            raise DataError(
                f"{path}: {problem} {column!r} (found: {', '.join(columns)}); name it with {key}"
            )
    place = {key: columns.index(column) for key, column in wanted.items()}
    return Source(
        path,
        split,
        tuple(columns),
        place["data.text_column"],
        place.get("data.label_column"),
        place.get("data.split.group_column"),
    )


def read_rows(source: Source, number: int, encoding: str) -> Iterator[pa.Table]:
    """Tables of `ROWS`, in file order; `number` is the source's position in the list."""
    rows: list[dict[str, Any]] = []
    for row, fields, raw in read_records(source, encoding):
        rows.append({"source": number, "row": row, **_judge(source, fields, raw)})
        if len(rows) == _BLOCK:
            yield pa.Table.from_pylist(rows, ROWS)
            rows = []
    if rows:
        yield pa.Table.from_pylist(rows, ROWS)


Record = tuple[int, list[str] | None, bytes]
"""A record's number in its file, from 1; its fields, None where it can't be read; its bytes."""


def read_records(source: Source, encoding: str) -> Iterator[Record]:
    """(number from 1, fields, bytes) of each record; no fields where it can't be read."""
    with opened(source.path) as stream:
        records = _records(stream, source.path, encoding)
        next(records)
        for number, (raw, fields) in enumerate(records, 1):
            whole = fields is not None and len(fields) == len(source.columns)
            yield number, fields if whole else None, raw


def check_unreadable(path: str, unreadable: int, rows: int, encoding: str) -> None:
    """DataError where most rows of a file can't be read: it isn't what it was taken for."""
    if 2 * unreadable > rows:
        raise DataError(
            f"{path}: {unreadable} of {rows} rows can't be read as {encoding}, the encoding of the "
            f"model's recipe; save the file as {encoding}, or mend it"
        )


def _judge(source: Source, fields: list[str] | None, raw: bytes) -> dict[str, Any]:
    if fields is None:
        return {"reason": UNREADABLE, "raw": raw}
    text = fields[source.text]
    label = "" if source.label is None else fields[source.label].strip()
    if not normalize(text) or not label:
        return {"reason": EMPTY, "raw": raw}
    group = None if source.group is None else fields[source.group].strip() or None
    return {"text": text, "label": label, "group": group}


def _records(
    stream: BinaryIO, path: str, encoding: str
) -> Iterator[tuple[bytes, list[str] | None]]:
    """(bytes, fields) of each record, header included; None for bad bytes, quotes or a huge field.

    Bytes that aren't of the encoding become lone surrogates, so one bad record costs one record.
    A record that can't be parsed costs its first line: what an unclosed quote swallowed is read
    again, line by line. Empty lines are no records.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    dialect = "excel-tab" if Path(path).suffix == ".tsv" else "excel"
    with io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="") as lines:
        again = deque([next(lines, "").removeprefix("\ufeff")])
        taken: list[str] = []

        def tee() -> Iterator[str]:
            while line := again.popleft() if again else next(lines, ""):
                taken.append(line)
                yield line

        reader = csv.reader(tee(), dialect, strict=True)
        while True:
            fields: list[str] | None
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:
                fields = None
                again.extendleft(reversed(taken[1:]))
                del taken[1:]
                reader = csv.reader(tee(), dialect, strict=True)
            raw = "".join(taken).encode(encoding, errors="surrogateescape")
            taken.clear()
            if fields == []:
                continue
            if fields is not None and any(_is_broken(field) for field in fields):
                fields = None
            yield raw, fields


def _is_broken(field: str) -> bool:
    """Whether the field has a lone surrogate or a NUL."""
    return "\0" in field or (not field.isascii() and any("\ud800" <= c <= "\udfff" for c in field))


def _check_encoding(encoding: str) -> None:
    try:
        plain = '"\n,'.encode(encoding) == b'"\n,'
    except LookupError:
        raise RecipeError(
            f"data.encoding = {encoding!r} is no encoding; try utf-8 or gb18030"
        ) from None
    if not plain:
        raise RecipeError(
            f"data.encoding = {encoding!r} isn't supported (its line ends aren't single bytes); "
            "save the file as UTF-8"
        )


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A data file's bytes, local or by URI; DataError where it can't be read."""
    from pyarrow import fs

    try:
        if "://" in path:
            filesystem, inner = fs.FileSystem.from_uri(path)
            stream = filesystem.open_input_stream(inner)
        else:
            stream = open(path, "rb")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: can't read the data ({said}); check data.train, valid, test"
        ) from None
    with stream:
        yield stream
