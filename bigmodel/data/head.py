"""The first records of a file, from which its encoding and its columns are known."""

import csv
import io
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from bigmodel.data.encodings import cuttable, detect, encoding_of_bytes
from bigmodel.data.files import blocks
from bigmodel.data.records import first_record
from bigmodel.errors import DataError

LABEL_MARK = "__label__"

_SAMPLE = 1 << 20
_LINES = 100  # of a text file, to know its kind by


@dataclass(frozen=True)
class Head:
    """Whole lines from where a file begins, as they are cut; `encoding` is the file's.

    `remedy` is what can be done where that isn't so.
    """

    path: str
    encoding: str
    data: bytes
    is_all: bool
    remedy: str

    @classmethod
    def of(
        cls, path: str, compression: str | None, encoding: str | None, *, limit: float, remedy: str
    ) -> "Head":
        """Look at a file. Without an encoding it is detected, `limit` being the share of bad lines.

        DataError for a file of nothing but empty lines.
        """
        sample = next(blocks(path, compression, _SAMPLE), b"")
        is_all = len(sample) < _SAMPLE
        if not is_all:
            sample = sample[: max(sample.rfind(b"\n"), sample.rfind(b"\r")) + 1] or sample
        encoding = encoding or detect(sample, limit=limit, path=path, remedy=remedy)
        data = b"".join(cuttable([sample], encoding, path=path)).lstrip(b"\r\n")
        if not data:
            raise DataError(f"{path}: the file is empty; expected rows with texts")
        return cls(path, encoding, data, is_all, remedy)

    def header(self, delimiter: bytes) -> tuple[tuple[str, ...], bool]:
        """The names of the columns, and whether anything follows."""
        place = first_record(self.data, delimiter)
        more = not self.is_all or bool(self.data[place.stop :].strip(b"\r\n"))
        found = self.data[place]
        try:
            line = io.StringIO(found.decode(self._inner), newline="")
            (columns,) = csv.reader(line, delimiter=delimiter.decode(), strict=True)
        except UnicodeDecodeError:
            raise DataError(
                f"{self.path}: the header can't be read as {self.encoding}; {self.remedy}"
            ) from None
        except csv.Error as error:
            raise DataError(
                f"{self.path}: the header can't be read ({error}); expected the names of the "
                "columns, with no stray quotes"
            ) from None
        if b"\0" in found:
            raise DataError(f"{self.path}: the header has NULs; save the file as UTF-8 without any")
        return tuple(columns), more

    def keys(self) -> tuple[tuple[str, ...], int]:
        """(those of all lines that are JSON objects, which of them most often has a string)"""
        strings: Counter[str] = Counter()
        for line in self.data.splitlines():
            with suppress(ValueError, RecursionError):
                found = json.loads(line.decode(self._inner))
                if isinstance(found, dict):
                    strings.update({key: isinstance(found[key], str | None) for key in found})
        if not strings:
            raise DataError(f"{self.path}: no line is a JSON object; expected one a line")
        columns = tuple(strings)
        return columns, columns.index(max(columns, key=strings.__getitem__))

    def kind_of_text(self, *, labelled: bool) -> tuple[str, tuple[str, ...]]:
        """(format, columns) of a text file; without labels, each line may be a text."""
        lines = self.data.splitlines()[:_LINES]
        tabs = sum(b"\t" in line for line in lines)
        if 2 * sum(line.lstrip().startswith(LABEL_MARK.encode()) for line in lines) > len(lines):
            return "fasttext", ("label", "text")
        if 2 * tabs > len(lines) or (labelled and tabs):
            return "tabbed", ("label", "text")
        if labelled:
            raise DataError(
                f"{self.path}: the first lines have neither a tab nor {LABEL_MARK}; expected "
                f"label<TAB>text or {LABEL_MARK}x text"
            )
        return "tabbed", ("text",)

    @property
    def _inner(self) -> str:
        return encoding_of_bytes(self.encoding)
