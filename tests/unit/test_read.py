"""Files to records: what is read, what is set aside and why, and what stops a job."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bigmodel.config import DataConfig, SplitConfig
from bigmodel.data import parse, records
from bigmodel.data.read import pieces, read_piece, read_records, read_rows
from bigmodel.data.schema import ROWS, UNREADABLE, kept_columns
from bigmodel.data.sources import Source, open_source, sources_of
from bigmodel.errors import DataError, RecipeError

HEADER = "text,label\n"
GOOD = ("很好", "正面")
BAD_BYTES = "很好".encode("gbk")


def opened(path: Path, **keys) -> Source:
    labelled = keys.pop("labelled", True)
    settings = DataConfig(train="评论.csv", **keys)
    return open_source(str(path), "train", settings, labelled=labelled)


def rows_of(path: Path, **keys) -> list[dict]:
    tables = list(read_rows(opened(path, **keys)))
    assert all(table.schema == ROWS for table in tables)
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["row"] for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert row["reason"] == (UNREADABLE if row["detail"] else None)
        assert (row["raw"] is None) == (row["text"] is not None) == (row["detail"] is None)
    return rows


def found(path: Path, **keys) -> list[str | tuple[str, str]]:
    """What is wrong with a record, or its text and label."""
    return [row["detail"] or (row["text"], row["label"]) for row in rows_of(path, **keys)]


def written(tmp_path: Path, data: str | bytes, name: str = "评论.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


CSV = [
    ("很好,正面\n", [GOOD]),
    ("很好,正面", [GOOD]),  # no line end at the end
    ("很好,正面\r\n太差,负面\r\n", [GOOD, ("太差", "负面")]),
    ("很好,正面\r太差,负面\r", [GOOD, ("太差", "负面")]),
    ('"很好,真的","正面"\n', [("很好,真的", "正面")]),
    ('"他说""好""",正面\n', [('他说"好"', "正面")]),
    ('他说"好",正面\n', [('他说"好"', "正面")]),
    ('"很\n好",正面\n太差,负面\n', [("很\n好", "正面"), ("太差", "负面")]),
    ('"很\r\n\r\n好",正面\n', [("很\r\n\r\n好", "正面")]),
    ("很好, 正面 \n", [GOOD]),  # blanks around a label
    (" 很好 ,正面\n", [(" 很好 ", "正面")]),
    ("\n很好,正面\n\n\r\n", [GOOD]),  # empty lines are no records
    (",正面\n很好,\n,\n", [("", "正面"), ("很好", ""), ("", "")]),
    ("\ufeff很好,正面\n", [("\ufeff很好", "正面")]),
    ("很好,正面,x\n很好\n很好,正面\n", ["columns", "columns", GOOD]),
    ('"很\n好",正面,"x\n"\n很好,正面\n', ["columns", GOOD]),
    ("很\0好,正面\n很好,正面\n", ["NULs", GOOD]),
    ('"很"好,正面\n很好,正面\n', ["quotes", GOOD]),
    (BAD_BYTES + ",正面\n很好,正面\n".encode(), ["bytes", GOOD]),
    (b'"' + BAD_BYTES + ',\n",正面\n很好,正面\n'.encode(), ["bytes", GOOD]),
    ("好" * 349_526 + ",正面\n很好,正面\n", ["too long", GOOD]),
    ("a" * ((1 << 20) - 8) + ",正面\n", [("a" * ((1 << 20) - 8), "正面")]),
    ("a" * ((1 << 20) - 7) + ",正面\n", ["too long"]),
    # a quote that is never closed costs its own line, not the rest of the file
    ('"很好,正面\n很好,正面\n太差,负面\n', ["quotes", GOOD, ("太差", "负面")]),
    ('"很好,正面\n"太差,负面\n很好,正面\n', ["quotes", "quotes", GOOD]),
    ("", []),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), CSV)
def test_a_record_is_read_or_set_aside_with_its_fault(tmp_path, data, expected):
    data = data.encode() if isinstance(data, str) else data
    assert found(written(tmp_path, HEADER.encode() + data)) == expected
    with_tabs = (HEADER.encode() + data).replace(b",", b"\t")
    expected = [e if isinstance(e, str) else (e[0].replace(",", "\t"), e[1]) for e in expected]
    assert found(written(tmp_path, with_tabs, "评论.tsv")) == expected


def test_what_is_set_aside_is_kept_as_it_stood(tmp_path):
    line = b'"' + BAD_BYTES + b'",x,'
    bad, good = rows_of(written(tmp_path, HEADER.encode() + line + "\r\n很好,正面\n".encode()))
    assert (bad["raw"], bad["text"], bad["label"]) == (line, None, None)
    assert good["raw"] is None


def test_groups_come_from_their_column_and_a_blank_one_is_none(tmp_path):
    path = written(tmp_path, "text,label,user\n很好,正面, 甲\n太差,负面, \n很好\n")
    rows = rows_of(path, split=SplitConfig(group_column="user"))
    assert [row["group"] for row in rows] == ["甲", None, None]


def test_a_column_may_be_both_text_and_group(tmp_path):
    path = written(tmp_path, "text,label\n很好,正面\n")
    (row,) = rows_of(path, split=SplitConfig(group_column="text"))
    assert (row["text"], row["group"]) == ("很好", "很好")


def test_one_column_is_enough_without_labels(tmp_path):
    path = written(tmp_path, 'text\n很好\n""\n\n"太\n差"\na,b\n')
    rows = rows_of(path, labelled=False)
    assert [row["text"] for row in rows] == ["很好", "", "太\n差", None]
    assert {row["label"] for row in rows} == {None}


def reference(data: bytes, longest: int) -> list[tuple]:
    """(text, label, detail, raw) of a CSV file's records below its header, a byte at a time."""
    judged = []
    start = 0
    while start < len(data):
        if data[start] in b"\r\n":
            start += 1
            continue
        fields, end = fields_at(data, start)
        if fields is None or end + 1 - start > longest:
            fields, end = None, start
            while data[end : end + 1] not in (b"", b"\r", b"\n"):
                end += 1
        raw = data[start:end]
        detail = fault_of(raw, fields, longest)
        if detail:
            judged.append((None, None, detail, raw))
        else:
            judged.append((fields[0].decode(), fields[1].decode().strip(), None, None))
        start = end
    return judged


def fields_at(data: bytes, start: int) -> tuple[list[bytes] | None, int]:
    fields, place = [], start
    while True:
        begin = place
        if data[place : place + 1] == b'"':
            place += 1
            while (quote := data.find(b'"', place)) >= 0 and data[quote + 1 : quote + 2] == b'"':
                place = quote + 2
            place = quote + 1
            if quote < 0 or data[place : place + 1] not in (b"", b",", b"\r", b"\n"):
                return None, start
            fields.append(data[begin + 1 : quote].replace(b'""', b'"'))
        else:
            while data[place : place + 1] not in (b"", b",", b"\r", b"\n"):
                place += 1
            fields.append(data[begin:place])
        if data[place : place + 1] != b",":
            return fields, place
        place += 1


def fault_of(raw: bytes, fields: list[bytes] | None, longest: int) -> str | None:
    if len(raw) >= longest:
        return "too long"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "bytes"
    if b"\0" in raw:
        return "NULs"
    if fields is None:
        return "quotes"
    return None if len(fields) == 2 else "columns"


FRAGMENTS = (
    '"', '"', ",", "\n", "\r", "\r\n", "好", "a", " ", '""', '",', '"\n', "\ufeff", "好,差\n", "\0",
    "\udce5", "\udcff",
)  # fmt: skip


@given(
    fragments=st.lists(st.sampled_from(FRAGMENTS), max_size=40),
    size=st.integers(4, 12),
    longest=st.sampled_from([8, 20, 1 << 20]),
)
@example(fragments=['"', "\n", "好,差\n", '",', "\n"], size=4, longest=8)
def test_neither_the_size_of_pieces_nor_a_short_cut_changes_a_record(
    tmp_path_factory, fragments, size, longest
):
    data = "".join(fragments).encode("utf-8", "surrogateescape")
    path = written(tmp_path_factory.getbasetemp(), HEADER.encode() + data)
    source = opened(path, encoding="utf-8")

    def read(size: int) -> list[tuple]:
        tables = [read_piece(source, piece) for piece in pieces(source, size=size)]
        rows = [row for table in tables for row in table.to_pylist()]
        return [tuple(row[name] for name in ("text", "label", "detail", "raw")) for row in rows]

    with pytest.MonkeyPatch.context() as patch:
        for module in (records, parse):
            patch.setattr(module, "LONGEST", longest)
        patch.setattr(records, "_STRETCH", min(longest, 1 << 16))
        expected = reference(data, longest)
        assert b"".join(pieces(source, size=size)).lstrip(b"\r\n") == data.lstrip(b"\r\n")
        assert read(size) == expected
        assert read(1 << 20) == expected
        patch.setattr(parse, "is_plain", lambda piece, delimiter: False)
        assert read(1 << 20) == expected


def test_well_formed_files_are_read_as_the_csv_module_reads_them(tmp_path):
    texts = ['他说"好"，真的', "两\n行", '"', "a,b", "", " 空 ", "回\r车", "\ufeff", "😀" * 500]
    rows = [[text, f"{number}"] for number, text in enumerate(texts * 40)]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        data = io.StringIO(newline="")
        csv.writer(data, quoting=quoting).writerows([["text", "label"], *rows])
        path = written(tmp_path, data.getvalue())
        assert found(path) == [tuple(row) for row in rows]
        assert [fields for fields, _ in read_records(opened(path))] == rows


def test_a_piece_is_not_much_larger_than_asked_for(tmp_path):
    path = written(tmp_path, HEADER + '"很\n好",正面\n' * 20_000)
    sizes = [len(piece) for piece in pieces(opened(path), size=10_000)]
    assert max(sizes) < 10_100 and len(sizes) == 35


def test_a_line_without_end_is_refused_before_memory_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_LONGEST_LINE", 1 << 20)
    path = written(tmp_path, HEADER + "好" * 1_000_000)
    with pytest.raises(
        DataError, match=r"评论\.csv: a line of over 1 MB; expected a record a line"
    ):
        list(pieces(opened(path), size=1000))


GOOD_LINES = ("很好,正面", '"太差，真的",负面')
BAD_LINES = ("很好", "a,b,c", '"很好,正面', "\udcff,x", '""好,正面', "\0,x")


@given(lines=st.lists(st.sampled_from(GOOD_LINES + BAD_LINES), max_size=30))
def test_no_line_is_lost_whatever_stands_beside_it(tmp_path_factory, lines):
    data = (HEADER + "".join(f"{line}\n" for line in lines)).encode("utf-8", "surrogateescape")
    rows = rows_of(written(tmp_path_factory.getbasetemp(), data, "any.csv"), encoding="utf-8")
    assert [row["reason"] is None for row in rows] == [line in GOOD_LINES for line in lines]


JSON_LINES = [
    ('{"text": "很好", "label": "正面"}\n', [GOOD]),
    ('{"label": "正面", "text": "很好", "id": 3}', [GOOD]),
    ('{"text":"很\\n好","label":"\\u6b63面"}\r\n\r\n', [("很\n好", "正面")]),
    ('{"text": "很好", "label": 1}\n', [("很好", "1")]),
    ('{"text": "很好", "label": 1.5}\n', [("很好", "1.5")]),
    ('{"text": "很好", "label": true}\n', [("很好", "true")]),
    ('{"text": null, "label": null}\n', [("", "")]),
    ('{"text": "好", "label": "a"}\n{"text": 5, "label": "a"}\n', [("好", "a"), "no text"]),
    ('{"text": "好", "label": "a"}\n{"label": "a"}\n', [("好", "a"), "no text"]),
    ('{"label": "a"}\n{"text": "好", "label": "a"}\n', ["no text", ("好", "a")]),
    ('{"label": "a"}\n{"text": "好"}\n', ["no text", "no label"]),
    ('{"text": "好", "label": "a"}\n{"text": "好"}\n', [("好", "a"), "no label"]),
    ('{"text": "好", "label": "a"}\n{"text": "好", "label": ["a"]}\n', [("好", "a"), "no label"]),
    ('很好\n{"text": "好", "label": "a"}\n["好"]\n', ["not JSON", ("好", "a"), "not JSON"]),
    ('{"text": "好", "label": "a"}\n{"text": "好"\n', [("好", "a"), "not JSON"]),
    ('{"text": "好", "label": "a"}\n' + "[" * 9999 + "\n", [("好", "a"), "not JSON"]),
    ('{"text": "好", "label": "a"}\n{"a": 1' + "0" * 9999 + "}\n", [("好", "a"), "not JSON"]),
    ('{"text": "\\ud83d", "label": "a"}\n', ["bytes"]),
    (b'{"text": "\xff", "label": "a"}\n{"text": "a", "label": "a"}\n', ["bytes", ("a", "a")]),
    ('{"text": "好", "label": "a"}\n{"a": "' + "a" * (1 << 20) + '"}', [("好", "a"), "too long"]),
]


@pytest.mark.parametrize(("data", "expected"), JSON_LINES)
def test_a_json_line_is_read_or_set_aside_with_its_fault(tmp_path, data, expected):
    assert found(written(tmp_path, data, "评论.jsonl"), encoding="utf-8") == expected
    assert found(written(tmp_path, data, "评论.NDJSON"), encoding="utf-8") == expected


TEXT = [
    ("正面\t很好\n负面 \t太\t差\r\n", [GOOD, ("太\t差", "负面")]),
    ('正面\t"很好\n很好\n', [('"很好', "正面"), "columns"]),
    ("正面\t\n\t很好\n", [("", "正面"), ("很好", "")]),
    ("__label__正面 很好\n__label__负面\t太 差\n", [GOOD, ("太 差", "负面")]),
    ("__label__正面\n __label__正面 很好\n", [("", "正面"), GOOD]),
    ("__label__a __label__b 很好\n__label__a 很好\n", ["two labels", ("很好", "a")]),
    (
        "__label__a 很好\n__label__a 很 __label__b\n很好\n",
        [("很好", "a"), "two labels", "no label"],
    ),
    ("正面\t很好\n正面\t很\0好\n", [GOOD, "NULs"]),
]


@pytest.mark.parametrize(("data", "expected"), TEXT)
def test_a_line_of_text_is_read_or_set_aside_with_its_fault(tmp_path, data, expected):
    path = written(tmp_path, data, "评论.txt")
    assert found(path, text_column="review", label_column="star") == expected


def test_texts_alone_are_lines(tmp_path):
    path = written(tmp_path, "很好\n太差\t真的\n\n还行\n", "评论.txt")
    rows = rows_of(path, labelled=False)
    assert [row["text"] for row in rows] == ["很好", "太差\t真的", "还行"]


def parquet(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("texts", "labels", "expected"),
    [
        (pa.array(["很好", None, ""]), pa.array(["正面 ", "a", None]), [GOOD, ("", "a"), ("", "")]),
        (pa.array(["好", "差"]), pa.array([1, 0]), [("好", "1"), ("差", "0")]),
        (pa.array(["好", "差"]), pa.array([True, None]), [("好", "true"), ("差", "")]),
        (pa.array(["好"], pa.large_string()), pa.array(["a"]).dictionary_encode(), [("好", "a")]),
        (pa.array(["好"]).dictionary_encode(), pa.array([1.5]), [("好", "1.5")]),
        (pa.array(["好".encode(), b"\xff"]), pa.array(["a", "b"]), [("好", "a"), "bytes"]),
        (pa.array([None, None]), pa.array(["a", "b"]), [("", "a"), ("", "b")]),
        (pa.array(["a" * (1 << 20), "好"]), pa.array(["a", "b"]), ["too long", ("好", "b")]),
        (pa.array([b"\xff"]).view(pa.string()), pa.array(["a"]), ["bytes"]),
    ],
)  # fmt: skip
def test_a_parquet_row_is_read_or_set_aside_with_its_fault(tmp_path, texts, labels, expected):
    path = parquet(
        tmp_path / "评论.parquet", id=pa.array(range(len(texts))), text=texts, label=labels
    )
    assert found(path) == expected
    source = opened(path)
    small = [read_piece(source, piece) for piece in pieces(source, size=1)]
    assert [len(table) for table in small] == [1] * len(texts)
    fields = [row for row, _ in read_records(source)]
    assert [row and row[0] for row in fields] == [
        None if isinstance(e, str) else str(number) for number, e in enumerate(expected)
    ]


def test_what_is_set_aside_of_parquet_is_json(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=pa.array([b"\xff"]), label=pa.array(["正面"]))
    (row,) = rows_of(path)
    assert json.loads(row["raw"]) == {"text": "\\xff", "label": "正面"}


@pytest.mark.parametrize(
    "encoding", ["gb18030", "gbk", "big5", "utf-8", "utf-16", "utf-16-be", "hz"]
)
def test_the_recipe_names_the_encoding(tmp_path, encoding):
    data = (HEADER + '很好,正面\n"太\n好",正面\n').encode(encoding)
    assert found(written(tmp_path, data), encoding=encoding) == [GOOD, ("太\n好", "正面")]


@pytest.mark.parametrize("encoding", ["gb18030", "gbk", "big5", "utf-8"])
def test_a_record_of_bad_bytes_costs_itself(tmp_path, encoding):
    data = (HEADER + "很好,正面\n").encode(encoding) + b"\xff\xff,x\n"
    data += '"很\n好",正面\n'.encode(encoding) + "很好".encode(encoding)[:-1] + b'","\n'
    rows = rows_of(written(tmp_path, data + "很好,正面".encode(encoding)), encoding=encoding)
    assert [row["text"] for row in rows] == ["很好", None, "很\n好", None, "很好"]
    assert [row["detail"] for row in rows] == [None, "bytes", None, "bytes", None]
    assert rows[1]["raw"] == b"\xff\xff,x"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_unit_that_is_none_costs_its_record_in_utf_16_too(tmp_path, encoding):
    lone = "\ud800".encode(encoding, "surrogatepass")
    data = (HEADER + "很").encode(encoding) + lone + "好,正面\n很好,正面\n".encode(encoding)
    path = written(tmp_path, data + "很好,正面".encode(encoding)[:-1])
    assert found(path, encoding=encoding) == ["bytes", GOOD, "bytes"]
    (first, *_) = pieces(opened(path, encoding=encoding), size=5)
    assert first.decode("utf-8", "ignore") == "很好,正面\n"


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
FILES = {
    "评论.csv": HEADER + "很好,正面\n太差,负面\n",
    "评论.tsv": "text\tlabel\n很好\t正面\n太差\t负面\n",
    "评论.jsonl": '{"text": "很好", "label": "正面"}\n{"text": "太差", "label": "负面"}\n',
    "评论.txt": "正面\t很好\n负面\t太差\n",
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", FILES)
def test_compressed_files_are_read_as_they_are(tmp_path, name, suffix):
    data = COMPRESS[suffix](FILES[name].encode())
    assert found(written(tmp_path, data, name + suffix)) == [GOOD, ("太差", "负面")]
    half = FILES[name].encode()
    data = COMPRESS[suffix](half[:10]) + COMPRESS[suffix](
        half[10:]
    )  # two streams, one after another
    assert found(written(tmp_path, data, name + suffix)) == [GOOD, ("太差", "负面")]


@pytest.mark.parametrize("suffix", [*COMPRESS, ".parquet"])
def test_a_file_that_ends_too_soon_is_named_wherever_it_ends(tmp_path, suffix):
    rows = [(f"第{number}本书很好 {number * 7919 % 10_007}", "正面") for number in range(3000)]
    if suffix == ".parquet":
        texts, labels = zip(*rows, strict=True)
        data = parquet(tmp_path / "whole", text=texts, label=labels).read_bytes()
    else:
        data = COMPRESS[suffix]((HEADER + "".join(f"{t},{n}\n" for t, n in rows)).encode())
    name = "评论.parquet" if suffix == ".parquet" else f"评论.csv{suffix}"
    assert len(rows_of(written(tmp_path, data, name))) == 3000
    for end in {1, 3, 9, 11, 20, len(data) // 3, len(data) // 2, *range(len(data) - 9, len(data))}:
        path = written(tmp_path, data[:end], name)
        with pytest.raises(DataError) as error:
            rows_of(path)
        assert "the file ends in the middle of its data" in str(error.value), end


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("评论.csv.gz", "the file isn't compressed as its name says, or is damaged; rename it"),
        ("评论.csv.zst", "the file isn't compressed as its name says, or is damaged; rename it"),
        ("评论.parquet", "this isn't Parquet, or the file ends in the middle of its data; copy it"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_one_sentence(tmp_path, name, said):
    path = written(tmp_path, FILES["评论.csv"] * 9, name)
    with pytest.raises(DataError, match=rf"^{path}: {said}[^\n]*$"):
        rows_of(path)


def test_a_parquet_file_with_damaged_names_is_one_sentence(tmp_path):
    data = parquet(tmp_path / "whole", text=["很好"], label=["正面"]).read_bytes()
    path = written(tmp_path, data.replace(b"text", b"te\xaat"), "评论.parquet")
    with pytest.raises(DataError, match=rf"^{path}: can't read the data \('utf-8' codec can't"):
        rows_of(path)


@pytest.mark.parametrize("encoding", ["klingon", "base64", "rot13", "undefined", "", "a\0b"])
def test_an_encoding_that_python_does_not_know_is_refused(tmp_path, encoding):
    with pytest.raises(
        RecipeError, match=r"data\.encoding = .* is no encoding; try utf-8, gb18030, big5 or utf-16"
    ):
        opened(written(tmp_path, HEADER), encoding=encoding)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("评论.csv", "text,city,label,stars\n很好,北京,正面,5\n很差,,负面,1\n"),
        (
            "评论.jsonl",
            '{"text": "很好", "label": "正面", "city": "北京", "stars": 5}\n'
            '{"text": "很差", "label": "负面", "city": "", "stars": 1}\n',
        ),
    ],
)
def test_columns_kept_for_slices_stand_beside_the_rows(tmp_path, name, data):
    file = tmp_path / name
    file.write_text(data, encoding="utf-8")
    source = open_source(
        str(file), "test", DataConfig(train=str(file)), keep=("city", "stars", "没有")
    )
    (table,) = read_rows(source)
    kept = {column: values.to_pylist() for column, values in kept_columns(table).items()}
    assert kept == {"city": ["北京", ""], "stars": ["5", "1"]}
    with pytest.raises(DataError, match="no column '没有' .*; name it with evaluate.slices"):
        sources_of(DataConfig(train=str(file)), keep=("没有",))
