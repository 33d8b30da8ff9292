"""The files of a recipe: which they are, and what a look at them tells."""

import csv
import hashlib
import os
from functools import cache
from itertools import islice
from pathlib import Path

import opencc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigmodel.config import DataConfig, SplitConfig
from bigmodel.data.files import files_of, stamp
from bigmodel.data.read import read_rows
from bigmodel.data.sources import file_digest, open_source, sources_of
from bigmodel.errors import DataError

HEADER = "text,label\n"
ROWS = "text,label\n很好,正面\n"
REVIEWS = Path(__file__).parents[2] / "jobs" / "recipes" / "reviews.csv"


def config(**keys) -> DataConfig:
    return DataConfig(**{"train": "评论.csv", **keys})


def written(tmp_path: Path, data: str | bytes = ROWS, name: str = "评论.csv") -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_the_files_stand_in_the_order_of_the_splits_with_their_weights(tmp_path):
    for name in ("b/2.csv", "b/10.csv", "a.csv", "验.tsv", "考/1.jsonl"):
        written(tmp_path, ROWS.replace(",", "\t") if name == "验.tsv" else ROWS, name)
    written(tmp_path, '{"text": "很好", "label": "正面"}', "考/1.jsonl")
    train = [{"path": str(tmp_path / "b"), "weight": 0.5}, {"path": str(tmp_path / "a.csv")}]
    found = sources_of(
        config(train=train, valid=str(tmp_path / "验.tsv"), test=str(tmp_path / "考"))
    )
    assert [(Path(one.path).name, one.split, one.weight, one.format) for one in found] == [
        ("10.csv", "train", 0.5, "csv"),
        ("2.csv", "train", 0.5, "csv"),
        ("a.csv", "train", 1, "csv"),
        ("验.tsv", "valid", 1, "tsv"),
        ("1.jsonl", "test", 1, "jsonl"),
    ]


FILES = [
    "a.csv",
    "b.csv",
    "深/c.csv",
    "深/更深/d.CSV.GZ",
    ".藏/e.csv",
    ".f.csv",
    "读我.md",
    "g.tar.gz",
]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.csv", ["a.csv"]),
        ("", ["a.csv", "b.csv", "深/c.csv", "深/更深/d.CSV.GZ"]),
        ("深/", ["深/c.csv", "深/更深/d.CSV.GZ"]),
        ("*.csv", ["a.csv", "b.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("[!a].csv", ["b.csv"]),
        ("*/*.csv", ["深/c.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "深/c.csv"]),
        ("**/更深/**", ["深/更深/d.CSV.GZ"]),
        ("深/**", ["深/c.csv", "深/更深/d.CSV.GZ"]),
    ],
)
def test_a_folder_or_glob_is_its_files(tmp_path, monkeypatch, pattern, names):
    for name in FILES:
        written(tmp_path, name=name)
    assert files_of(f"{tmp_path}/{pattern}") == [f"{tmp_path}/{name}" for name in names]
    monkeypatch.chdir(tmp_path)
    assert files_of(f"file://{tmp_path}/{pattern}") == [f"{tmp_path}/{name}" for name in names]
    if pattern:
        assert files_of(pattern) == names


def test_a_file_whose_name_looks_like_a_glob_is_itself(tmp_path):
    path = written(tmp_path, name="评论[1].csv")
    written(tmp_path, name="评论1.csv")
    assert [one.path for one in sources_of(config(train=str(path)))] == [str(path)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("没有.csv", r"can't read the data \(no such file\); check the path"),
        ("空", r"no data files in this folder; expected \.csv, \.tsv, .* or \.txt"),
        ("*.jsonl", "no file fits this pattern; check it"),
        ("没有/*.csv", r"can't read the data \(no such file\)"),
        ("读我.md", r"unknown kind of file; expected \.csv, \.tsv"),
        ("a.parquet.gz", r"unknown kind of file; expected .* all but \.parquet also as \.gz"),
        ("空.csv", "the file is empty; expected rows with texts"),
        ("空.parquet", "the file is empty; expected rows with texts"),
        ("管.csv", r"can't read the data \(not a file\)"),
        ("表头.csv", "no rows after the header; expected labelled texts"),
        ("无行.parquet", "no rows; expected labelled texts"),
    ],
)
def test_what_is_no_data_is_one_sentence(tmp_path, name, said):
    for empty in ("空/.x", "空.csv", "空.parquet", "a.parquet.gz", "读我.md"):
        written(tmp_path, b"", empty)
    written(tmp_path, HEADER + "\n\r\n", "表头.csv")
    os.mkfifo(tmp_path / "管.csv")
    schema = pa.schema({"text": pa.string(), "label": pa.string()})
    pq.write_table(schema.empty_table(), tmp_path / "无行.parquet")
    with pytest.raises(DataError, match=f"^{tmp_path}/{name}: ".replace("*", r"\*") + said):
        sources_of(config(train=f"{tmp_path}/{name}"))


@pytest.mark.parametrize("uri", ["ftp9://host/x.csv", "s3:///x.csv", "s3://b/x.csv?nonsense=1"])
def test_a_uri_that_cannot_be_opened_is_one_sentence(uri):
    with pytest.raises(DataError, match=r"can't read the data \(.*\); check the path"):
        sources_of(config(train=uri))


def test_one_file_where_a_folder_stands_is_said(tmp_path):
    with pytest.raises(DataError, match=r"can't read the data \(a folder, not a file\)"):
        open_source(str(written(tmp_path, name="a.csv/b.csv").parent), "test", config())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("\n\n", "the file is empty; expected rows with texts"),
        ("\ufeff", "the file is empty; expected rows with texts"),
        (
            "text,star\n很好,5\n",
            r"no column 'label' \(found: text, star\); name it with data\.label",
        ),
        ("review,label\n", r"no column 'text' \(found: review, label\); name it with data\.text_c"),
        (
            "text,text,label\n",
            r"several columns are called 'text' \(found: text, text, label\); rename all but the r",
        ),
        (
            b"text,label,\xff\n",
            "the header can't be read as utf-8; save it as UTF-8, or set data.enc",
        ),
        (
            HEADER.encode("utf-16"),
            "the header can't be read as utf-8; save it as UTF-8, or set data",
        ),
        (
            'text,"label\n很好,正面\n',
            r"the header can't be read \(unexpected end of data\); expected",
        ),
        ('"text"x,label\n很好,正面\n', r"the header can't be read \(',' expected after '\"'\)"),
        ("te\0xt,label\n很好,正面\n", "the header has NULs; save the file as UTF-8 without any"),
    ],
)
def test_a_file_without_its_columns_is_refused(tmp_path, data, said):
    path = written(tmp_path, data)
    with pytest.raises(DataError, match=rf"^{path}: {said}"):
        sources_of(config(train=str(path), encoding="utf-8"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("review,label\n", r"no column 'text' \(found: review, label\); rename the right one$"),
        (
            (HEADER + "Très bon hôtel,positif\n" * 9).encode("latin-1"),
            "9 of the first 10 lines aren't UTF-8, nor .*; save it as UTF-8$",
        ),
    ],
)
def test_of_a_file_that_no_recipe_names_nothing_is_to_be_named_in_one(tmp_path, data, said):
    with pytest.raises(DataError, match=said):
        open_source(str(written(tmp_path, data)), "test", config())


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("\n\r\ntext,label\n", ("text", "label")),
        ("\ufefftext,label", ("text", "label")),
        ('"text","la""b\nel",label\r很好,x,正面', ("text", 'la"b\nel', "label")),
        ("编号,text,label\n", ("编号", "text", "label")),
    ],
)
def test_the_first_record_is_the_header(tmp_path, header, columns):
    assert open_source(str(written(tmp_path, header)), "test", config()).columns == columns


def test_a_missing_group_column_is_named(tmp_path):
    path = str(written(tmp_path))
    settings = config(split=SplitConfig(group_column="user"))
    with pytest.raises(DataError, match=r"no column 'user' .*name it with data\.split\.group_col"):
        sources_of(settings.model_copy(update={"train": config(train=path).train}))
    assert open_source(path, "test", settings).group is None


def test_texts_to_label_need_no_label_column(tmp_path):
    source = open_source(str(written(tmp_path, "text\n")), "test", config(), labelled=False)
    assert (source.text, source.label) == (0, None)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", '{"review": "很好"}\n', r"no column 'text' \(found: review\)"),
        ("a.jsonl", '{"\\ud83d": "很好"}\n', r"no column 'text' \(found: \?\)"),
        ("a.jsonl", "很好\n[1]\n", "no line is a JSON object; expected one a line"),
        (
            "a.txt",
            "很好\n",
            r"neither a tab nor __label__; expected label<TAB>text or __label__x te",
        ),
    ],
)
def test_a_file_of_lines_without_its_columns_is_refused(tmp_path, name, data, said):
    path = written(tmp_path, data, name)
    with pytest.raises(DataError, match=rf"^{path}: .*{said}"):
        open_source(str(path), "train", config())


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"text": [1, 2]}, "the column 'text' is of type int64; expected texts"),
        ({"text": [["好"], ["差"]]}, "the column 'text' is of type list<.*>; expected texts"),
        (
            {"label": [["好"], ["差"]]},
            "the column 'label' is of type list<.*>; expected strings or",
        ),
    ],
)
def test_a_parquet_column_of_another_type_is_refused(tmp_path, column, said):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["好", "差"], "label": ["a", "b"]} | column), path)
    with pytest.raises(DataError, match=said):
        open_source(str(path), "train", config())


def test_of_parquet_no_two_columns_may_be_called_alike(tmp_path):
    path = tmp_path / "a.parquet"
    columns = [["很好"], ["好"], ["书"], ["正面"]]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "id", "id", "label"]), path)
    with pytest.raises(DataError, match=r"several columns are called 'id' .*; rename all but"):
        open_source(str(path), "train", config())


def test_the_columns_of_json_lines_are_the_keys_of_all(tmp_path):
    lines = '{"label": "正面", "id": 1}\n[]\n很好\n{"id": 2, "text": "很好"}\n'
    source = open_source(str(written(tmp_path, lines, "a.jsonl")), "train", config())
    assert source.columns == ("label", "id", "text")


def test_a_stamp_tells_whether_a_file_was_changed(tmp_path):
    path = written(tmp_path)
    before = stamp(str(path))
    assert before == (path.stat().st_size, path.stat().st_mtime_ns) == stamp(str(path))
    os.utime(path, ns=(1, 1))
    assert stamp(str(path)) == (before[0], 1)
    with pytest.raises(DataError, match=r"\(no such file\)"):
        stamp(f"{path}.gz")


def test_the_digest_is_of_the_bytes_as_they_stand(tmp_path):
    path = written(tmp_path)
    source = open_source(str(path), "train", config())
    assert file_digest(source) == hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def review_rows(num_rows: int, start: int = 0) -> str:
    """Rows of the demo's reviews with a header, and without quotes in the texts."""
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        rows = list(islice(csv.reader(file), 1 + start, 1 + start + num_rows))
    return HEADER + "".join(f'"{text.replace(chr(34), "")}",{label}\n' for text, label in rows)


TRADITIONAL = opencc.OpenCC("s2t")
SIMPLE = ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
FOUND = {"utf-8-sig": "utf-8", "gbk": "gb18030"}
COPIES = [(name, "simple") for name in SIMPLE]
COPIES += [(name, "traditional") for name in ("big5", "gb18030", "utf-8", "utf-16-le")]


@pytest.mark.parametrize(("encoding", "writing"), COPIES)
def test_the_encoding_of_reviews_is_found(tmp_path, encoding, writing):
    for num_rows, start in ((3, 0), (3, 40), (10, 80), (200, 0)):
        text = review_rows(num_rows, start)
        if writing == "traditional":
            text = TRADITIONAL.convert(text)
        data = text.encode(encoding, "ignore")
        (source,) = sources_of(config(train=str(written(tmp_path, data))))
        assert source.encoding == FOUND.get(encoding, encoding)
        (table,) = read_rows(source)
        kept = data.decode(encoding).splitlines()[1:]
        assert [f'"{row["text"]}",{row["label"]}' for row in table.to_pylist()] == kept


def test_a_traditional_file_in_big5_is_read_as_its_copy_in_utf_8(tmp_path):
    text = TRADITIONAL.convert(review_rows(300)).encode("big5", "ignore").decode("big5")
    tables = []
    for encoding in ("big5", "utf-8"):
        path = written(tmp_path, text.encode(encoding), f"{encoding}.csv")
        (source,) = sources_of(config(train=str(path)))
        assert source.encoding == encoding
        tables += read_rows(source)
    assert tables[0] == tables[1] and len(tables[0]) == 300
    assert tables[0]["reason"].null_count == 300


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ((ROWS * 99).encode() + "太差,负面\n".encode("gbk"), "utf-8"),
        (ROWS.encode() * 9 + "太差,负面\n".encode("gbk") * 6, "utf-8"),
        (review_rows(50).encode("gb18030") + b"\xff\xff,x\n", "gb18030"),
        (TRADITIONAL.convert(review_rows(50)).encode("big5", "ignore") + b"\xff,x\n", "big5"),
        ((HEADER + "啲嘢食好好味，嘅服務都唔錯喎,正面\n").encode("big5hkscs"), "big5hkscs"),
        ((HEADER + "hello,good\n").encode(), "utf-8"),
        ((HEADER + "很\0好,正面\n" * 9).encode(), "utf-8"),
        ((HEADER + "ok\0,good\n" * 9).encode(), "utf-8"),
        ((HEADER + "很\0好,正面\n" * 9).encode() + "太差,负面\n".encode("gbk") * 6, "utf-8"),
        ((HEADER + "ok,good\n" * 90 + "很好的书,正面\n" * 5).encode("utf-16-le"), "utf-16-le"),
        ("\ufefftext,label\n很好,正面\n".encode("gb18030"), "gb18030"),
    ],
)
def test_some_bad_records_do_not_decide_the_encoding(tmp_path, data, encoding):
    assert open_source(str(written(tmp_path, data)), "train", config()).encoding == encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("この本はとても面白かったです。また読みたい,良い\n", "shift_jis"),
        ("이 책은 정말 재미있었습니다 다시 읽고 싶어요,좋음\n", "euc-kr"),
        ("Très bon hôtel à côté de la gare,positif\n", "latin-1"),
    ],
)
def test_an_encoding_that_is_not_chinese_has_to_be_named(tmp_path, text, encoding):
    path = str(written(tmp_path, (HEADER + text * 20).encode(encoding)))
    with pytest.raises(DataError, match="20 of the first 21 lines aren't UTF-8, nor is this GB18"):
        open_source(path, "train", config())
    (table,) = read_rows(open_source(path, "train", config(encoding=encoding)))
    assert table["text"].to_pylist() == [text.split(",")[0]] * 20


def test_utf_16_without_a_mark_has_to_say_its_order(tmp_path):
    path = str(written(tmp_path, ROWS.encode("utf-16-be")))
    with pytest.raises(
        DataError, match=r"can't be read as utf-16 \(.*BOM\); set another data\.enc"
    ):
        open_source(path, "train", config(encoding="utf-16"))
