"""A piece of a file -> its columns as strings, and what is wrong with the records that are odd."""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from bigmodel.data.encodings import encoding_of_bytes, flaw
from bigmodel.data.head import LABEL_MARK
from bigmodel.data.records import LONGEST, is_plain, is_well_quoted, split
from bigmodel.data.sources import DELIMITERS, Source

_NUL = b"\0"


class Odd(NamedTuple):
    """A record that can't be read: why, and its bytes without the line end."""

    detail: str
    raw: bytes


@dataclass(frozen=True)
class Fields:
    """A row a record, in order: columns of strings, and of odd records `detail` and `raw` instead.

    These two are null where a record is good, the columns where it is odd.
    """

    columns: list[pa.Array]
    detail: pa.Array
    raw: pa.Array

    @classmethod
    def of(
        cls, found: Sequence[Sequence[str] | str], raws: Sequence[bytes], width: int
    ) -> "Fields":
        """Of each record's `width` values, which all can be UTF-8, or what is wrong with it."""
        details = [one if isinstance(one, str) else None for one in found]
        columns = [
            [None if detail else one[place] for one, detail in zip(found, details, strict=True)]
            for place in range(width)
        ]
        odd = [raw if detail else None for raw, detail in zip(raws, details, strict=True)]
        return cls(
            [pa.array(column, pa.string()) for column in columns],
            pa.array(details, pa.string()),
            pa.array(odd, pa.binary()),
        )

    @classmethod
    def good(cls, columns: Sequence[pa.Array]) -> "Fields":
        size = len(columns[0])
        return cls(list(columns), pa.nulls(size, pa.string()), pa.nulls(size, pa.binary()))

    def with_odd(self, where: pa.Array, odd: Sequence[Odd]) -> "Fields":
        """With the odd records in the rows `where`."""
        details, raws = (
            pa.array((one[place] for one in odd), kind)
            for place, kind in enumerate((pa.string(), pa.binary()))
        )
        return Fields(
            [pc.if_else(where, pa.scalar(None, pa.string()), column) for column in self.columns],
            pc.replace_with_mask(self.detail, where, details),
            pc.replace_with_mask(self.raw, where, raws),
        )


def parse(source: Source, piece: bytes | pa.Table, wanted: Sequence[int]) -> Fields:
    """The columns at the positions `wanted` of a piece; a Parquet piece has those alone."""
    if not isinstance(piece, bytes):
        judged = [place in (source.text, source.label, source.group) for place in wanted]
        return _table(piece, judged)
    encoding = encoding_of_bytes(source.encoding)
    if source.format in DELIMITERS:
        return _delimited(source, piece, wanted, encoding)
    lines = [line for line in piece.splitlines() if line]
    read = _LINES[source.format](source, wanted)
    return Fields.of([_record(line, read, encoding) for line in lines], lines, len(wanted))


def _delimited(source: Source, piece: bytes, wanted: Sequence[int], encoding: str) -> Fields:
    delimiter, width = DELIMITERS[source.format], len(source.columns)
    piece = b"\n" + piece + b"\n"  # the first, else a mark U+FEFF there would be lost
    if is_plain(piece, delimiter):
        try:
            return Fields.good(_columns(piece, delimiter, width, wanted, encoding))
        except (pa.ArrowInvalid, UnicodeDecodeError):
            pass  # some record has other columns, or bytes; find it
    readable = flaw(piece, encoding) is None
    parts, odd = [], []
    for place, good in split(piece, delimiter, width, singly=not readable):
        data = piece[place]
        if good and (readable or flaw(data, encoding) is None):
            parts.append(data)
            continue
        raw = data.rstrip(b"\r\n")
        quotes = "columns" if is_well_quoted(raw, delimiter) else "quotes"
        too_long = "too long" if len(raw) >= LONGEST else None
        odd.append(Odd(too_long or flaw(raw, encoding) or quotes, raw))
        parts.append(delimiter.join([_NUL] * width) + b"\n")  # keeps the place of the record
    columns = _columns(b"".join(parts), delimiter, width, wanted, encoding)
    return Fields.good(columns).with_odd(pc.equal(columns[0], _NUL.decode()), odd)


def _columns(
    data: bytes, delimiter: bytes, width: int, wanted: Sequence[int], encoding: str
) -> list[pa.Array]:
    """Of good records; else pa.ArrowInvalid or UnicodeDecodeError."""
    if not re.search(rb"[^\r\n]", data):
        return [pa.array([], pa.string())] * len(wanted)
    if encoding != "utf-8":
        data = data.decode(encoding).encode()
    names = [str(place) for place in wanted]
    table = csv.read_csv(
        pa.py_buffer(data),
        csv.ReadOptions(
            use_threads=False,
            block_size=len(data) + 1,
            column_names=[str(place) for place in range(width)],
        ),
        csv.ParseOptions(delimiter=delimiter.decode(), newlines_in_values=True),
        csv.ConvertOptions(
            include_columns=sorted(set(names)), column_types=dict.fromkeys(names, pa.string())
        ),
    )
    return [table[name].combine_chunks() for name in names]


Reader = Callable[[str], list[str] | str]
"""From a line to the wanted values, or to what is wrong with it."""


def _record(line: bytes, read: Reader, encoding: str) -> list[str] | str:
    if len(line) >= LONGEST:
        return "too long"
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError:
        return "bytes"
    return "NULs" if "\0" in text else read(text)


def _tabbed(source: Source, wanted: Sequence[int]) -> Reader:
    """Of `label<TAB>text`, where the text may have tabs, or of texts alone."""
    width = len(source.columns)

    def read(line: str) -> list[str] | str:
        fields = line.split("\t", width - 1)
        return [fields[place] for place in wanted] if len(fields) == width else "columns"

    return read


def _fasttext(source: Source, wanted: Sequence[int]) -> Reader:
    def read(line: str) -> list[str] | str:
        mark, *rest = line.split(maxsplit=1) or [""]
        if not mark.startswith(LABEL_MARK):
            return "no label"
        text = rest[0] if rest else ""
        if any(word.startswith(LABEL_MARK) for word in text.split()):
            return "two labels"
        fields = (mark.removeprefix(LABEL_MARK), text)
        return [fields[place] for place in wanted]

    return read


def _json(source: Source, wanted: Sequence[int]) -> Reader:
    """Of one object a line. A number becomes its text, and null the empty one."""
    columns = [source.columns[place] for place in wanted]
    text = source.columns[source.text]
    label = None if source.label is None else source.columns[source.label]

    def read(line: str) -> list[str] | str:
        try:
            found = json.loads(line)
            if not isinstance(found, dict):
                return "not JSON"
            values = [_written(found.get(column)) for column in columns]
            "".join(values).encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return "bytes"
        except (ValueError, RecursionError):
            return "not JSON"
        if not isinstance(found.get(text, 0), str | None):
            return "no text"
        if label is not None and isinstance(found.get(label, []), list | dict):
            return "no label"
        return values

    return read


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


_LINES = {"jsonl": _json, "tabbed": _tabbed, "fasttext": _fasttext}


def _table(table: pa.Table, judged: Sequence[bool]) -> Fields:
    """Of a Parquet file: null is the empty string; `raw` of an odd record is its values as JSON.

    Of columns that aren't judged anything may be there, of any length.
    """
    columns = [
        _strings(column.combine_chunks(), one).fill_null("")
        for column, one in zip(table.columns, judged, strict=True)
    ]
    lengths = (pc.binary_length(c) for c, one in zip(columns, judged, strict=True) if one)
    try:
        for column in columns:
            column.validate(full=True)  # are the bytes UTF-8?
        if all(pc.all(pc.less(length, LONGEST)).as_py() for length in lengths):
            return Fields.good(columns)
    except pa.ArrowInvalid:
        pass  # some value isn't UTF-8; find it
    rows = list(zip(*(column.cast(pa.binary()).to_pylist() for column in columns), strict=True))
    values = [[one.decode("utf-8", "backslashreplace") for one in row] for row in rows]
    found = [_fault(row, judged) or one for row, one in zip(rows, values, strict=True)]
    named = (dict(zip(table.column_names, one, strict=True)) for one in values)
    raws = [json.dumps(one, ensure_ascii=False).encode() for one in named]
    return Fields.of(found, raws, len(columns))


def _fault(row: Sequence[bytes], judged: Sequence[bool]) -> str | None:
    if any(one and len(value) >= LONGEST for value, one in zip(row, judged, strict=True)):
        return "too long"
    return "bytes" if any(flaw(value, "utf-8") == "bytes" for value in row) else None


def _strings(array: pa.Array, judged: bool) -> pa.Array:
    """Any values as strings, lists and the like as JSON; the bytes of texts aren't looked at."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if "binary" not in str(array.type):
        with suppress(pa.ArrowNotImplementedError):
            return array.cast(pa.string())
    elif judged:
        return array.cast(pa.binary()).view(pa.string())
    return pa.array([_written(value) for value in array.to_pylist()], pa.string())
