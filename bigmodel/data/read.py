"""Labelled files -> pieces of whole records -> checked rows: each kept, or set aside with a reason.

Only UNREADABLE is judged here. How large the pieces are changes no row.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bigmodel.data.encodings import cuttable
from bigmodel.data.files import blocks, opened
from bigmodel.data.parse import parse
from bigmodel.data.records import cut, first_record
from bigmodel.data.schema import ROWS, UNREADABLE, kept_name
from bigmodel.data.sources import DELIMITERS, Source
from bigmodel.errors import DataError

_SIZE = 1 << 20

Piece: TypeAlias = bytes | pa.Table
"""Some whole records of a file, as they stood; of Parquet a table."""

Record = tuple[list[str] | None, bytes]
"""A record's fields, or None where it can't be read; its bytes."""


def pieces(source: Source, *, size: int, whole: bool = False) -> Iterator[Piece]:
    """Whole records of about `size` bytes, one piece in memory at a time, without header and mark.

    `whole`: with all columns, for `records_of`. DataError where the file can't be read, or ends too
    soon.
    """
    return _pieces(source, size, range(len(source.columns)) if whole else _wanted(source))


def records_of(source: Source, piece: Piece) -> Iterator[Record]:
    """All columns of each record of a `whole` piece, as strings."""
    fields = parse(source, piece, range(len(source.columns)))
    rows = zip(*(column.to_pylist() for column in fields.columns), strict=True)
    for row, raw in zip(rows, fields.raw.to_pylist(), strict=True):
        yield list(row) if raw is None else None, raw or b""


def read_records(source: Source) -> Iterator[Record]:
    """Those of the whole file, in order."""
    for piece in pieces(source, size=_SIZE, whole=True):
        yield from records_of(source, piece)


def read_piece(source: Source, piece: Piece) -> pa.Table:
    """`ROWS`: every record of the piece in order, numbered from 1; labels without outer blanks.

    After them stand the columns that are kept for slices, each by its `kept_name`.

    `raw` is the record as it stood, without its line end; of UTF-16 and the like it is what became
    of it as UTF-8, of Parquet its values as JSON.
    """
    wanted = _wanted(source)
    fields = parse(source, piece, wanted)
    columns = dict(zip(wanted, fields.columns, strict=True))
    none = pa.nulls(len(fields.detail), pa.string())
    label, group = (
        pc.utf8_trim_whitespace(none if place is None else columns[place])
        for place in (source.label, source.group)
    )
    null = pa.scalar(None, pa.string())
    values = {
        "row": pa.array(np.arange(1, len(none) + 1)),
        "text": columns[source.text],
        "label": label,
        "group": pc.if_else(pc.equal(group, ""), null, group),
        "reason": pc.if_else(pc.is_valid(fields.detail), UNREADABLE, null),
        "detail": fields.detail,
        "raw": fields.raw,
    }
    rows = pa.table(values, schema=ROWS)
    for place in source.kept:
        rows = rows.append_column(kept_name(source.columns[place]), columns[place])
    return rows


def read_rows(source: Source) -> Iterator[pa.Table]:
    """`ROWS` of the whole file, a piece at a time; `row` is the number in the file."""
    num_rows = 0
    for piece in pieces(source, size=_SIZE):
        table = read_piece(source, piece)
        yield table.set_column(0, "row", pc.add(table["row"], num_rows))
        num_rows += len(table)


def check_unreadable(source: Source, unreadable: int, rows: int) -> None:
    """DataError where most rows of a file can't be read: it isn't what it was taken for."""
    if 2 * unreadable <= rows:
        return
    details = (table["detail"].drop_null().to_pylist() for table in read_rows(source))
    first = next((f" (first fault: {detail[0]})" for detail in details if detail), "")
    raise DataError(
        f"{source.path}: {unreadable} of {rows} rows can't be read as {source.format} in "
        f"{source.encoding}; mend the file{first}, or save it as UTF-8"
    )


def _wanted(source: Source) -> list[int]:
    places = (source.text, source.label, source.group, *source.kept)
    return [place for place in dict.fromkeys(places) if place is not None]


def _pieces(source: Source, size: int, wanted: Sequence[int]) -> Iterator[Piece]:
    if source.format == "parquet":
        yield from _tables(source, size, wanted)
        return
    delimiter = DELIMITERS.get(source.format)
    stored = blocks(source.path, source.compression, max(size, 4))  # a mark isn't cut
    found = cut(cuttable(stored, source.encoding, path=source.path), delimiter, path=source.path)
    yield from _without_header(found, delimiter) if delimiter else found


def _without_header(found: Iterator[bytes], delimiter: bytes) -> Iterator[bytes]:
    for piece in found:
        if piece.strip(b"\r\n"):
            if rest := piece[first_record(piece, delimiter).stop :].lstrip(b"\r\n"):
                yield rest
            break
    yield from found


def _tables(source: Source, size: int, wanted: Sequence[int]) -> Iterator[pa.Table]:
    names = [source.columns[place] for place in wanted]
    with opened(source.path) as file:
        parquet = pq.ParquetFile(file)
        groups = (parquet.metadata.row_group(i) for i in range(parquet.num_row_groups))
        row_bytes = sum(group.total_byte_size for group in groups) / max(
            1, parquet.metadata.num_rows
        )
        rows = max(1, int(size / max(1, row_bytes)))
        for batch in parquet.iter_batches(rows, columns=names, use_threads=False):
            yield pa.Table.from_batches([batch]).select(names)
