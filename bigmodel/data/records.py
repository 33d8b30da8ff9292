"""Where records end: bytes cut into pieces of whole records, and pieces into records.

A record is a line, ended by LF, CR LF, CR or the end of the file; an empty line is none. In
delimited text a field that begins with a quote goes on to the next quote that isn't doubled, over
delimiters and line ends, and a delimiter or line end must follow it. Where none does, or where the
record would have more than `LONGEST` bytes, the line alone is a record, and can't be read: a stray
quote costs one line. The cutter and the parser both follow `_grammar`, so how many bytes are read
at a time changes nothing.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from bigmodel.errors import DataError

LONGEST = 1 << 20
"""The most bytes of a record with its line end; a longer one is unreadable."""

_LONGEST_LINE = 64 << 20
_STRETCH = 1 << 16  # bytes that one match may cover, for the sake of memory


@dataclass(frozen=True)
class _Grammar:
    lines: re.Pattern[bytes]  # records of one line and that many fields, and empty lines
    whole: re.Pattern[bytes]  # one record of that many fields
    record: re.Pattern[bytes]  # one record
    quoted: re.Pattern[bytes]  # records that have a quoted field, and empty lines


@cache
def _grammar(delimiter: bytes, columns: int) -> _Grammar:
    """What follows a field decides everything, so that no pattern goes back far.

    No group is possessive: those of Python before 3.11.5 are wrong.
    """
    plain = rb'[^"%b\r\n][^%b\r\n]*+' % (delimiter, delimiter)
    quoted = rb'"[^"]*+(?:""[^"]*+)*"'
    on_a_line = rb'"[^"\r\n]*+(?:""[^"\r\n]*+)*"'
    field = rb"(?:%b|%b|)" % (plain, quoted)
    short = rb"(?:%b|%b|)" % (plain, on_a_line)
    others, more = rb"{%d}[\r\n]" % (columns - 1), rb"(?:%b%b)" % (delimiter, field)
    lines = rb"(?:[\r\n]++|%b(?:%b%b)%b)*" % (short, delimiter, short, others)
    with_quotes = rb"(?:[\r\n]++|(?:(?:%b)?%b)*%b%b*[\r\n])*" % (plain, delimiter, quoted, more)
    return _Grammar(
        re.compile(lines),
        re.compile(field + more + others),
        re.compile(rb"%b%b*[\r\n]" % (field, more)),
        re.compile(with_quotes),
    )


_EMPTY = re.compile(rb"[\r\n]*")
_LINE = re.compile(rb"[^\r\n]*+[\r\n]?")


def cut(blocks: Iterable[bytes], delimiter: bytes | None, *, path: str) -> Iterator[bytes]:
    """Bytes as they come -> pieces of whole records; `delimiter` None: every line is a record.

    A piece has about the bytes of a block; together they have all. DataError, beginning with
    `path`, for a line without end, which would have to be held in memory.
    """
    held = b""
    for block in blocks:
        held += block
        if end := _decided(held, delimiter):
            yield held[:end]
            held = held[end:]
        elif len(held) > _LONGEST_LINE:
            raise DataError(
                f"{path}: a line of over {len(held) >> 20} MB; expected a record a line"
            )
    if held:
        yield held


def _decided(held: bytes, delimiter: bytes | None) -> int:
    """The end of the last record that nothing to come can change."""
    end = _last_line_end(held, 0, len(held))
    place = 0
    while delimiter and (place := _stray(held, place, end, delimiter)) < end:
        if len(held) < place + LONGEST:
            return place
        place = _line_end(held, place)
    return end


def _stray(data: bytes, place: int, end: int, delimiter: bytes) -> int:
    """The start of the first line from `place` on with a quote that no record begins; or `end`."""
    grammar = _grammar(delimiter, 1)
    while (quote := data.find(b'"', place, end)) >= 0:
        place = start = max(place, _last_line_end(data, place, quote))
        if stretch := grammar.quoted.match(data, start, start + _STRETCH):
            place = stretch.end()
        if place == start:
            record = grammar.record.match(data, start, start + LONGEST)
            if record is None:
                return start
            place = record.end()
    return end


def _last_line_end(data: bytes, start: int, end: int) -> int:
    """After the last line end in between, or 0."""
    return max(data.rfind(b"\n", start, end), data.rfind(b"\r", start, end)) + 1


def _line_end(data: bytes, start: int) -> int:
    line = _LINE.match(data, start)
    return line.end() if line else start


def _record_end(piece: bytes, start: int, delimiter: bytes) -> int:
    record = _grammar(delimiter, 1).record.match(piece, start, start + LONGEST)
    return record.end() if record else _line_end(piece, start)


def first_record(piece: bytes, delimiter: bytes) -> slice:
    """Where the first record of a whole piece stands, without its line end; may be empty."""
    start = len(piece) - len(piece.lstrip(b"\r\n"))
    end = _record_end(piece + b"\n", start, delimiter)
    return slice(start, start + len(piece[start:end].rstrip(b"\r\n")))


def split(
    piece: bytes, delimiter: bytes, columns: int, *, singly: bool
) -> Iterator[tuple[slice, bool]]:
    """A piece that ends with a line end, as stretches of good records (True) and single odd ones.

    Good: that many fields, at most LONGEST bytes. With `singly` each record is a stretch.
    """
    grammar, start = _grammar(delimiter, columns), 0
    runs = _EMPTY if singly else grammar.lines
    while start < len(piece):
        run = runs.match(piece, start, start + _STRETCH)
        end, good = run.end() if run else start, True
        if end == start:
            end = _record_end(piece, start, delimiter)
            whole = grammar.whole.fullmatch(piece, start, end)
            good = whole is not None and end - start <= LONGEST
        yield slice(start, end), good
        start = end


def is_plain(piece: bytes, delimiter: bytes) -> bool:
    """Whether a piece that ends with a line end has no stray quotes, NULs and long records.

    Then only the number of fields may be wrong, and any parser of the format reads it the same.
    """
    half = LONGEST // 2
    halves = range(0, len(piece) - half, half)
    return (
        b"\0" not in piece
        and all(_last_line_end(piece, start, start + half) for start in halves)
        and _stray(piece, 0, len(piece), delimiter) == len(piece)
    )


def is_well_quoted(record: bytes, delimiter: bytes) -> bool:
    """Whether all quotes of a record, given without its line end, are where they may be."""
    return _grammar(delimiter, 1).record.fullmatch(record + b"\n") is not None
