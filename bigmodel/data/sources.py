"""The files of a recipe: what each is for, its format, encoding and columns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

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
    parquet, tabbed (`label<TAB>text`) or fasttext (`__label__x text`).
    """

    path: str
    split: str
    weight: float
    format: str
    compression: str | None
    encoding: str
    columns: tuple[str, ...]
    text: int
    label: int | None
    group: int | None


def sources_of(config: DataConfig) -> list[Source]:
    """All files of train, valid and test; those of a glob or folder by path.

    DataError where one lacks a column or has no record.
    """
    named = [(one.path, "train", one.weight) for one in config.train]
    given = {"valid": config.valid, "test": config.test}
    named += [(path, split, 1.0) for split, path in given.items() if path]
    found = []
    for path, split, weight in named:
        for file in files_of(path):
            source, has_rows = _look(file, split, config, weight=weight)
            if not has_rows:
                raise DataError(f"{file}: no rows after the header; expected labelled texts")
            found.append(source)
    return found


def open_source(
    path: str, split: str, config: DataConfig, *, weight: float = 1.0, labelled: bool = True
) -> Source:
    """Look at one file; DataError where it's missing, empty, damaged, or lacks a column."""
    return _look(path, split, config, weight=weight, labelled=labelled)[0]


def file_digest(source: Source) -> str:
    """SHA-256 of the file's bytes as they stand."""
    digest = hashlib.sha256()
    for block in blocks(source.path, None, 1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _look(
    path: str, split: str, config: DataConfig, *, weight: float, labelled: bool = True
) -> tuple[Source, bool]:
    """The source, and whether it has records."""
    given = None if config.encoding == "auto" else check_encoding(config.encoding)
    format, compression = format_of(path)
    check_file(path)
    text, label, has_rows = config.text_column, config.label_column, True
    group = config.split.group_column if split == "train" else None
    if format == "parquet":
        encoding, (schema, has_rows) = "utf-8", _schema(path)
        columns = tuple(schema.names)
    else:
        head = Head.of(path, compression, given, limit=config.max_bad_rows)
        encoding = head.encoding
        if format == "text":
            text, label = "text", "label"
            format, columns = head.kind_of_text(labelled=labelled)
        elif format == "jsonl":
            columns = head.keys()
        else:
            columns, has_rows = head.header(DELIMITERS[format])
    source = Source(
        path=path,
        split=split,
        weight=weight,
        format=format,
        compression=compression,
        encoding=encoding,
        columns=columns,
        text=_place(path, columns, "data.text_column", text),
        label=_place(path, columns, "data.label_column", label) if labelled else None,
        group=_place(path, columns, "data.split.group_column", group) if group else None,
    )
    if format == "parquet":
        _check_types(source, schema)
    return source, has_rows


def _place(path: str, columns: Sequence[str], key: str, name: str) -> int:
    if columns.count(name) != 1:
        problem = "several columns are called" if name in columns else "no column"
        found = ", ".join(columns).encode("utf-8", "replace").decode()
        found = found if len(found) < 300 else f"{found[:300]}…"
        raise DataError(f"{path}: {problem} {name!r} (found: {found}); name it with {key}")
    return columns.index(name)


def _schema(path: str) -> tuple[pa.Schema, bool]:
    with opened(path) as file:
        parquet = pq.ParquetFile(file)
        return parquet.schema_arrow, parquet.metadata.num_rows > 0


def _check_types(source: Source, schema: pa.Schema) -> None:
    """Texts have to be strings; a label or group may be whatever can be written as one."""
    for place in (source.text, source.label, source.group):
        if place is None:
            continue
        kind = schema.types[place]
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
