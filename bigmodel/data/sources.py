"""The files of a recipe: what each is for, its format, encoding and columns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bigmodel.config import DataConfig
from bigmodel.data.encodings import check_encoding
from bigmodel.data.files import blocks, check_file, files_of, format_of, opened
from bigmodel.data.head import Head
from bigmodel.errors import DataError

DELIMITERS = {"csv": b",", "tsv": b"\t"}


@dataclass(frozen=True)
class Source:
    """One file of records; `text`, `label` and `group` are positions in `columns`.

    `split` is what its rows are for ("train" rows may be split). `format`: csv, tsv, jsonl,
    parquet, tabbed (`label<TAB>text`) or fasttext (`__label__x text`). `kept`: columns that stay
    beside the rows, for the slices of a report.
    """

    path: str
    split: str
    weight: float
    format: str
    compression: str | None
    encoding: str
    columns: tuple[str, ...]
    text: int
    label: int | None = None
    group: int | None = None
    kept: tuple[int, ...] = ()


class Remedies(NamedTuple):
    """What can be done where a file has another encoding, or lacks the column of a recipe's key."""

    encoding: str
    column: str


IN_RECIPE = Remedies("save it as UTF-8, or set data.encoding", "name it with {key}")
IN_FILE = Remedies("save it as UTF-8", "rename the right one")


def sources_of(config: DataConfig, *, keep: Sequence[str] = ()) -> list[Source]:
    """All files of train, valid and test; those of a glob or folder by path.

    DataError where one lacks a column, those to `keep` included, or has no record.
    """
    named = [(one.path, "train", one.weight) for one in config.train]
    given = {"valid": config.valid, "test": config.test}
    named += [(path, split, 1.0) for split, path in given.items() if path]
    found = []
    for path, split, weight in named:
        for file in files_of(path):
            source, has_rows = _look(file, split, config, IN_RECIPE, weight=weight, keep=keep)
            _check_rows(source, has_rows, "labelled texts")
            found.append(source)
    return found


def unlabelled_of(config: DataConfig) -> list[Source]:
    """All files of texts without labels; those of a glob or folder by path.

    DataError where one lacks the column of texts, or has no record.
    """
    found = []
    for one in config.unlabelled:
        for file in files_of(one.path):
            source, has_rows = _look(file, "unlabelled", config, IN_RECIPE, labelled=False)
            _check_rows(source, has_rows, "texts")
            found.append(source)
    return found


def open_source(
    path: str, split: str, config: DataConfig, *, labelled: bool = True, keep: Sequence[str] = ()
) -> Source:
    """Look at one file, which no recipe names but has to be as `config` says.

    Of the columns to `keep` it may lack some. DataError where it's missing, empty, damaged, or
    lacks another one.
    """
    source = _look(path, split, config, IN_FILE, labelled=labelled)[0]
    places = [source.columns.index(name) for name in keep if name in source.columns]
    return replace(source, kept=tuple(places))


def columns_of(
    path: str, config: DataConfig, *, labelled: bool = True, remedy: str = IN_FILE.encoding
) -> tuple[Source, tuple[pa.DataType, ...], bool]:
    """(the file, its columns' types where it's Parquet, whether it has rows).

    What it and its columns are for isn't told yet: the texts stand where they may. DataError, with
    the `remedy` for another encoding, where it can't be read.
    """
    encoding = None if config.encoding == "auto" else check_encoding(config.encoding)
    format, compression = format_of(path)
    check_file(path)
    types, has_rows, text = (), True, 0
    if format == "parquet":
        encoding, (schema, has_rows) = "utf-8", _schema(path)
        columns, types = tuple(schema.names), tuple(schema.types)
        for name in columns:  # by which alone a column of these is read
            position(path, columns, name)
    else:
        head = Head.of(path, compression, encoding, limit=config.max_bad_rows, remedy=remedy)
        encoding = head.encoding
        if format == "text":
            format, columns = head.kind_of_text(labelled=labelled)
        elif format == "jsonl":
            columns, text = head.keys()
        else:
            columns, has_rows = head.header(DELIMITERS[format])
    source = Source(path, "train", 1.0, format, compression, encoding, columns, text)
    return source, types, has_rows


def file_digest(source: Source) -> str:
    """SHA-256 of the file's bytes as they stand."""
    digest = hashlib.sha256()
    for block in blocks(source.path, None, 1 << 20):
        digest.update(block)
    return digest.hexdigest()


def position(path: str, columns: Sequence[str], name: str, *, remedy: str = IN_FILE.column) -> int:
    """Of the column with that name; DataError where there are several, or, with `remedy`, none."""
    if columns.count(name) == 1:
        return columns.index(name)
    found = ", ".join(columns).encode("utf-8", "replace").decode()
    found = found if len(found) < 300 else f"{found[:300]}…"
    if name in columns:
        problem, remedy = "several columns are called", "rename all but the right one"
    else:
        problem = "no column"
    raise DataError(f"{path}: {problem} {name!r} (found: {found}); {remedy}")


def _look(
    path: str,
    split: str,
    config: DataConfig,
    remedies: Remedies,
    *,
    weight: float = 1.0,
    labelled: bool = True,
    keep: Sequence[str] = (),
) -> tuple[Source, bool]:
    """The file with its columns for texts, labels and groups, and whether it has rows."""
    source, types, has_rows = columns_of(path, config, labelled=labelled, remedy=remedies.encoding)
    text, label = config.text_column, config.label_column
    if source.format in ("tabbed", "fasttext"):  # whose columns nobody has named
        text, label = "text", "label"
    group = config.split.group_column if split == "train" else None

    def place(key: str, name: str) -> int:
        return position(path, source.columns, name, remedy=remedies.column.format(key=key))

    source = replace(
        source,
        split=split,
        weight=weight,
        text=place("data.text_column", text),
        label=place("data.label_column", label) if labelled else None,
        group=place("data.split.group_column", group) if group else None,
        kept=tuple(place("evaluate.slices", name) for name in keep),
    )
    if types:
        _check_types(source, types)
    return source, has_rows


def _check_rows(source: Source, has_rows: bool, expected: str) -> None:
    if not has_rows:
        place = " after the header" if source.format in DELIMITERS else ""
        raise DataError(f"{source.path}: no rows{place}; expected {expected}")


def _schema(path: str) -> tuple[pa.Schema, bool]:
    with opened(path) as file:
        parquet = pq.ParquetFile(file)
        return parquet.schema_arrow, parquet.metadata.num_rows > 0


def _check_types(source: Source, types: Sequence[pa.DataType]) -> None:
    """Texts have to be strings; a label or group may be whatever can be written as one."""
    for place in (source.text, source.label, source.group, *source.kept):
        if place is None:
            continue
        kind = types[place]
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = str(value).removeprefix("large_") in ("string", "string_view", "binary", "null")
        if not is_text and (place == source.text or not _has_strings(kind)):
            expected = "texts" if place == source.text else "strings or numbers"
            raise DataError(
                f"{source.path}: the column {source.columns[place]!r} is of type {kind}; expected "
                f"{expected}; name another column, or write it as strings"
            )


def _has_strings(kind: pa.DataType) -> bool:
    try:
        pa.nulls(1, kind).cast(pa.string())
    except pa.ArrowException:
        return False
    return True
