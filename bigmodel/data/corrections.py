"""The file of mended labels: `check` lists suspects, a person edits it, prepare follows it."""

import re
from collections.abc import Mapping

from bigmodel.config import DataConfig, WeightedSource
from bigmodel.data.read import read_rows
from bigmodel.data.sources import Source, open_source
from bigmodel.data.split import key64
from bigmodel.errors import DataError
from bigmodel.text.normalize import Normalizer

_FORMULA = re.compile(r"'*[=+\-@]")
_QUOTED = re.compile(r"'+[=+\-@]")


def quoted(cell: str) -> str:
    """A cell that a spreadsheet leaves as it is: one that looks like a formula gets a quote."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unquoted(cell: str) -> str:
    """The inverse of `quoted`; of a cell that somebody wrote without the quote it is the cell."""
    return cell[1:] if _QUOTED.match(cell) else cell


def open_corrections(path: str | None) -> Source | None:
    """The file, whose columns are called `text` and `label`; others are for people."""
    if path is None:
        return None
    return open_source(path, "train", DataConfig(train=(WeightedSource(path=path),)))


def read_corrections(source: Source, normalizer: Normalizer) -> Mapping[int, str]:
    """The mended label of each text, "" where its rows are to go, by the key of the text.

    DataError for a line that can't be read, and for one that says otherwise than an earlier one.
    """
    found: dict[int, tuple[int, str]] = {}
    for table in read_rows(source):
        for row in table.to_pylist():
            where = f"{source.path}, row {row['row']}"
            text = normalizer(unquoted(row["text"] or ""))
            if row["reason"] or not text:
                why = f"it can't be read ({row['detail']})" if row["reason"] else "it has no text"
                raise DataError(f"{where}: {why}; mend the line, or take it out")
            key, label = key64(text), unquoted(row["label"] or "")
            before, other = found.setdefault(key, (row["row"], label))
            if other != label:
                raise DataError(
                    f"{where}: its text is {label!r} here and {other!r} in row {before}; "
                    "decide for one"
                )
    return {key: label for key, (_, label) in found.items()}
