"""A look at a file that nobody has described: which column has the texts, which the labels."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from statistics import fmean

import pyarrow as pa

from bigmodel.config import DataConfig
from bigmodel.data.files import files_of
from bigmodel.data.read import check_unreadable, read_records
from bigmodel.data.sources import DELIMITERS, Source, columns_of, position
from bigmodel.errors import DataError

TEXT_NAMES = frozenset(
    "text texts content review reviews comment comments sentence title headline query body message "
    "文本 内容 正文 评论 评论内容 评价 评价内容 句子 微博 标题 新闻 问题 留言".split()
)
LABEL_NAMES = frozenset(
    "label labels category class cat tag type topic sentiment intent polarity target "
    "标签 类别 分类 类型 类 情感 情感倾向 主题 意图 极性".split()
)
"""What people call these columns, in lower case."""

MOST_ROWS = 200_000  # a second or two
MOST_LABELS = 1_000
LONGEST_LABEL = 30  # characters, on average
_NUMBER = re.compile(r"[\d\s.,:/%+\-TZ]+")  # or a date
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SAMPLE = 1_000


@dataclass(frozen=True)
class Column:
    """A column's name and its values that aren't blank."""

    name: str
    values: Sequence[str]

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(self.values)

    @cached_property
    def is_number(self) -> bool:
        """Whether most values are numbers or dates, or there are none."""
        sample = self.values[:_SAMPLE]
        return 2 * sum(_NUMBER.fullmatch(value) is not None for value in sample) >= len(sample)

    @cached_property
    def length(self) -> float:
        return fmean(map(len, self.values)) if self.values else 0.0

    @property
    def weight(self) -> float:
        """Texts are long, different from each other, and Chinese."""
        sample = "".join(self.values[:_SAMPLE])
        chinese = len(_HAN.findall(sample)) / max(1, len(sample))
        return self.length * len(self.counts) / max(1, len(self.values)) * (0.1 + chinese)

    @property
    def may_be_label(self) -> bool:
        """Labels are short, and each stands in two rows or more on average."""
        few = 2 <= len(self.counts) <= min(MOST_LABELS, len(self.values) // 2)
        return few and self.length <= LONGEST_LABEL


@dataclass(frozen=True)
class Look:
    """What was found; `labels` has the most frequent first, counted in the first `num_rows`."""

    source: Source
    num_rows: int
    text_column: str
    label_column: str
    labels: dict[str, int]


def look(path: str, *, text_column: str | None = None, label_column: str | None = None) -> Look:
    """Look at a file, of a folder or glob at the first; DataError where it can't tell.

    A column that is given is taken as it is.
    """
    source = _source(files_of(path)[0])
    records = list(islice(read_records(source), MOST_ROWS))
    rows = [fields for fields, _ in records if fields is not None]
    check_unreadable(source, len(records) - len(rows), len(records))
    if not rows:
        raise DataError(f"{source.path}: no rows; expected labelled texts")
    columns = [
        Column(name, [value for value in map(str.strip, values) if value])
        for name, values in zip(source.columns, zip(*rows, strict=True), strict=True)
    ]
    label = _named(source, columns, label_column, "--label-column") if label_column else None
    text = _named(source, columns, text_column, "--text-column") if text_column else None
    text = text or _text(source, [column for column in columns if column is not label])
    label = label or _label(source, [column for column in columns if column is not text])
    _check(source, text, label)
    return Look(source, len(rows), text.name, label.name, dict(label.counts.most_common()))


def _source(path: str) -> Source:
    """The file with all its columns; which of them is which isn't known yet."""
    source, types, _ = columns_of(path, DataConfig(train=path))
    if types:
        typed = zip(source.columns, types, strict=True)
        told = tuple(name for name, kind in typed if not _is_thing(kind))
        source = replace(source, columns=told)
    if not source.columns:
        raise DataError(f"{path}: no columns; expected one with texts and one with their labels")
    return source


def _is_thing(kind: pa.DataType) -> bool:
    """Whether a Parquet column has lists, structures or bytes."""
    tests = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _named(source: Source, columns: Sequence[Column], name: str, flag: str) -> Column:
    return columns[position(source.path, source.columns, name, remedy=f"name one with {flag}")]


def _text(source: Source, columns: Sequence[Column]) -> Column:
    worded = [column for column in columns if not column.is_number]
    if not worded:
        raise DataError(
            f"{source.path}: no column with texts, all are numbers, dates or blank "
            f"(found: {_names(columns)}); expected texts in one and their labels in another"
        )
    called = [c for c in worded if c.name.strip().lower() in TEXT_NAMES and not c.may_be_label]
    return max(called or worded, key=lambda column: column.weight)


def _label(source: Source, columns: Sequence[Column]) -> Column:
    if not columns:
        raise DataError(
            f"{source.path}: only the column {source.columns[0]!r}; expected a second one with "
            "the labels: add it"
        )
    fit = [column for column in columns if column.may_be_label]
    called = [column for column in fit if column.name.strip().lower() in LABEL_NAMES]
    usual = [column for column in fit if column.name == "label"]
    found = usual or called or fit
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{source.path}: several columns could be the labels ({_names(found)}); "
            "name one with --label-column"
        )
    counted = ", ".join(f"{c.name!r} {len(c.counts):,} in {len(c.values):,}" for c in columns)
    raise DataError(
        f"{source.path}: no column looks like labels, which are short and repeat (different "
        f"values: {counted}); add one, or name it with --label-column"
    )


def _check(source: Source, text: Column, label: Column) -> None:
    """DataError for a file without a header, or whose columns are exchanged or called alike."""
    if text is label:
        raise DataError(f"{source.path}: {text.name!r} is named for texts and labels; name two")
    for column in (text, label):
        position(source.path, source.columns, column.name)
    if source.format in DELIMITERS and label.name in label.counts:
        raise DataError(
            f"{source.path}: the first line looks like a row ({_names([label, text])}), not like "
            "the names of the columns; put a line such as text,label above it"
        )
    if source.format in ("tabbed", "fasttext") and text.name != "text":
        raise DataError(
            f"{source.path}: looks like text<TAB>label; expected label<TAB>text: exchange them, or "
            "save the file as .tsv under the names of the columns"
        )


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(column.name[:LONGEST_LABEL] for column in columns)
