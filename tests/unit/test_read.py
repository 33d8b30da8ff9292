"""Files to records: what is kept, what is set aside and why, and what stops a job."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import DataConfig, SplitConfig
from bigmodel.data.read import ROWS, open_source, read_rows
from bigmodel.errors import DataError, RecipeError

HEADER = "text,label\n"


def config(**keys) -> DataConfig:
    return DataConfig(train="评论.csv", **keys)


def rows_of(path: Path, **keys) -> list[dict]:
    settings = config(**keys)
    tables = list(read_rows(open_source(str(path), "train", settings), 0, settings.encoding))
    assert all(table.schema == ROWS for table in tables)
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["row"] for row in rows] == list(range(1, len(rows) + 1))
    return rows


def written(tmp_path: Path, data: str | bytes, name: str = "评论.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


GOOD = ("很好", "正面")
BAD_BYTES = "很好".encode("gbk")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("text,label\n很好,正面\n", [GOOD]),
        ("text,label\n很好,正面", [GOOD]),  # no line end at the end
        ("\ufefftext,label\n很好,正面\n", [GOOD]),
        ("text,label\r\n很好,正面\r\n太差,负面\r\n", [GOOD, ("太差", "负面")]),
        ("label,text\n正面,很好\n", [GOOD]),
        ("id,text,label\n1,很好,正面\n", [GOOD]),
        ('text,label\n"很好,真的","正面"\n', [("很好,真的", "正面")]),
        ('text,label\n"他说""好""",正面\n', [('他说"好"', "正面")]),
        ('text,label\n"很\n好",正面\n太差,负面\n', [("很\n好", "正面"), ("太差", "负面")]),
        ("text,label\n很好, 正面 \n", [GOOD]),  # blanks around a label
        ("text,label\n\n很好,正面\n\n", [GOOD]),  # empty lines are no records
        ("text,label\n,正面\n很好,正面\n", ["empty", GOOD]),
        ("text,label\n \u200b　,正面\n很好,正面\n", ["empty", GOOD]),
        ("text,label\n很好,\n很好, \n很好,正面\n", ["empty", "empty", GOOD]),
        ("text,label\n很好,正面,x\n很好\n很好,正面\n", ["unreadable", "unreadable", GOOD]),
        ("text,label\n很\0好,正面\n很好,正面\n", ["unreadable", GOOD]),
        ('text,label\n"很"好,正面\n很好,正面\n', ["unreadable", GOOD]),
        (b"text,label\n" + BAD_BYTES + ",正面\n很好,正面\n".encode(), ["unreadable", GOOD]),
        ("text,label\n" + "好" * 1_048_577 + ",正面\n很好,正面\n", ["unreadable", GOOD]),
        # a quote that is never closed costs its own line, not the rest of the file
        ('text,label\n"很好,正面\n很好,正面\n太差,负面\n', ["unreadable", GOOD, ("太差", "负面")]),
        ('text,label\n"很好,正面\n"太差,负面\n很好,正面\n', ["unreadable", "unreadable", GOOD]),
        ("text,label\n", []),
    ],
)
def test_a_record_is_kept_or_set_aside_with_its_reason(tmp_path, data, found):
    rows = rows_of(written(tmp_path, data))
    assert [row["reason"] or (row["text"], row["label"]) for row in rows] == found


def test_what_is_set_aside_is_kept_as_it_stood(tmp_path):
    line = b'"' + BAD_BYTES + b'",x,\n'
    (bad, good) = rows_of(written(tmp_path, HEADER.encode() + line + "很好,正面\n".encode()))
    assert (bad["raw"], bad["text"], bad["label"]) == (line, None, None)
    assert good["raw"] is None


def test_tabs_separate_where_the_file_says_so(tmp_path):
    path = written(tmp_path, "text\tlabel\n很好,真的\t正面\n", "评论.tsv")
    assert [row["text"] for row in rows_of(path)] == ["很好,真的"]


@pytest.mark.parametrize("encoding", ["gb18030", "gbk", "big5", "utf-8"])
def test_the_recipe_names_the_encoding(tmp_path, encoding):
    data = (
        (HEADER + "很好,正面\n").encode(encoding) + b"\xff\xff,x\n" + "太好,正面".encode(encoding)
    )
    rows = rows_of(written(tmp_path, data), encoding=encoding)
    assert [row["text"] for row in rows] == ["很好", None, "太好"]
    assert rows[1]["raw"] == b"\xff\xff,x\n"


def test_groups_come_from_their_column_and_a_blank_one_is_none(tmp_path):
    path = written(tmp_path, "text,label,user\n很好,正面,甲\n太差,负面, \n")
    rows = rows_of(path, split=SplitConfig(group_column="user"))
    assert [row["group"] for row in rows] == ["甲", None]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "the file is empty; expected a header and rows"),
        ("\n\n", "the file is empty; expected a header and rows"),
        (
            "text,star\n很好,5\n",
            r"no column 'label' \(found: text, star\); name it with data.label",
        ),
        (
            "review,label\n",
            r"no column 'text' \(found: review, label\); name it with data.text_col",
        ),
        ("text,text,label\n", "several columns are called 'text'"),
        (b"text,label,\xff\n", "the header can't be read as utf-8; set data.encoding"),
        ("text,label\n".encode("utf-16"), "the header can't be read as utf-8; set data.encoding"),
        ('text,"label\n很好,正面\n', "the header can't be read as utf-8"),
    ],
)
def test_a_file_without_its_columns_is_refused(tmp_path, data, said):
    path = written(tmp_path, data)
    with pytest.raises(DataError, match=said) as error:
        open_source(str(path), "train", config())
    assert str(error.value).startswith(f"{path}: ")


def test_a_missing_group_column_is_named(tmp_path):
    path = written(tmp_path, HEADER)
    settings = config(split=SplitConfig(group_column="user"))
    with pytest.raises(
        DataError, match=r"no column 'user' .*name it with data\.split\.group_column"
    ):
        open_source(str(path), "train", settings)
    assert open_source(str(path), "test", settings).group is None


def test_texts_to_label_need_no_label_column(tmp_path):
    source = open_source(str(written(tmp_path, "text\n")), "test", config(), labelled=False)
    assert (source.text, source.label) == (0, None)


@pytest.mark.parametrize("where", ["没有.csv", ".", "ftp9://host/x.csv"])
def test_a_file_that_cannot_be_opened_is_one_sentence(tmp_path, where):
    path = where if "://" in where else str(tmp_path / where)
    with pytest.raises(DataError, match=r"can't read the data \(.*\); check data\.train"):
        open_source(path, "train", config())


@pytest.mark.parametrize("encoding", ["utf-16", "klingon", "base64"])
def test_an_encoding_that_cannot_be_read_is_refused(tmp_path, encoding):
    with pytest.raises(RecipeError, match=rf"data\.encoding = '{encoding}'"):
        open_source(str(written(tmp_path, HEADER)), "train", config(encoding=encoding))


GOOD_LINES = ("很好,正面", '"太差，真的",负面')
BAD_LINES = (",正面", "很好", "a,b,c", '"很好,正面', "\udcff,x", '""好,正面')


@given(lines=st.lists(st.sampled_from(GOOD_LINES + BAD_LINES), max_size=30))
def test_no_line_is_lost_whatever_stands_beside_it(tmp_path_factory, lines):
    data = (HEADER + "".join(f"{line}\n" for line in lines)).encode("utf-8", "surrogateescape")
    rows = rows_of(written(tmp_path_factory.getbasetemp(), data, "any.csv"))
    assert [row["reason"] is None for row in rows] == [line in GOOD_LINES for line in lines]
