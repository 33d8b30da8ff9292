"""`bigmodel new`: which column is which in a file that nobody described, and the recipe for it."""

import gzip
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import NAME_PATTERN
from bigmodel.data.look import look
from bigmodel.data.sources import sources_of
from bigmodel.errors import DataError
from bigmodel.recipe import load_recipe
from jobs.new import listed, main, name_of

TEXTS = "房间干净，服务热情 早餐难吃，前台冷淡 屏幕清晰，音质不错 物流太慢，包装破了".split()
LABELS = ["正面", "负面", "正面", "负面"]
VALUES: dict[str, list[Any]] = {
    "text": [f"{text}，第{i}次" for i, text in enumerate(TEXTS * 3)],
    "label": LABELS * 3,
    "number": list(range(100, 112)),
    "stars": [5, 1, 4, 2] * 3,
    "date": [f"2026-11-{day} 10:00" for day in range(10, 22)],
    "title": [f"{text[:4]}{i}" for i, text in enumerate(TEXTS * 3)],
    "user": [f"用户{i}" for i in range(12)],
    "blank": [""] * 12,
    "empty or 1": ["", 1] * 6,
    "same": ["大众点评"] * 12,
    "code": ["news_story", "news_culture", "news_story", "news_culture"] * 3,
}


def rows_of(*kinds: str) -> list[tuple[Any, ...]]:
    return list(zip(*(VALUES[kind] for kind in kinds), strict=True))


def table_file(place: Path, columns: dict[str, str], *, name: str = "评论.csv") -> Path:
    """A file with a header, each column's values by their kind."""
    between = "\t" if name.endswith(".tsv") else ","
    lines = [
        between.join(columns),
        *(between.join(map(str, r)) for r in rows_of(*columns.values())),
    ]
    file = place / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"text": "text", "label": "label"}, "text", "label"),
        ({"label": "label", "text": "text"}, "text", "label"),
        ({"评论": "text", "类别": "label"}, "评论", "类别"),
        ({"id": "number", "content": "text", "category": "label"}, "content", "category"),
        ({"a": "label", "b": "text"}, "b", "a"),
        ({"a": "number", "b": "date", "c": "text", "d": "label"}, "c", "d"),
        ({"标题": "title", "内容": "text", "标签": "label"}, "内容", "标签"),
        ({"甲": "title", "乙": "text", "丙": "label", "丁": "user"}, "乙", "丙"),
        ({"user": "user", "review": "text", "rating": "stars"}, "review", "rating"),
        ({"id": "number", "sentence": "text", "label_desc": "code", "label": "stars"},
         "sentence", "label"),
        ({"来源": "same", "空": "blank", "正文": "text", "情感": "label", "评分": "stars"},
         "正文", "情感"),
        ({" Text ": "text", "Label": "label"}, " Text ", "Label"),
        ({"评论": "label", "说的话": "text"}, "说的话", "评论"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_the_columns_of_a_table_are_told_apart(columns, text, label, suffix, tmp_path):
    found = look(str(table_file(tmp_path, columns, name=f"评论.{suffix}")))
    assert (found.text_column, found.label_column, found.num_rows) == (text, label, 12)
    assert found.source.format == suffix
    assert list(found.labels.values()) == sorted(found.labels.values(), reverse=True)


def written(place: Path, name: str, data: bytes) -> str:
    (place / name).write_bytes(data)
    return str(place / name)


def parquet(place: Path) -> str:
    columns = {"序号": "number", "评论": "text", "星": "stars"}
    table = pa.table({name: VALUES[kind] for name, kind in columns.items()})
    for name, value in {"图": ["1.jpg"], "图的字节": b"\xff\xd8", "别的": {"a": 1}}.items():
        table = table.append_column(name, pa.array([value] * 12))
    pq.write_table(table, place / "评论.parquet")
    return str(place / "评论.parquet")


PAIRS = rows_of("text", "label")
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in PAIRS)
LINES = [json.dumps({"n": i, "text": t, "kind": k}) for i, (t, k) in enumerate(PAIRS)]
FASTTEXT = "".join(f"__label__{label} {text}\n" for text, label in PAIRS)
FILES = {
    "jsonl": ("a.jsonl", "\n".join(LINES).encode(), "utf-8", ("text", "kind")),
    "tabbed": ("a.txt", "".join(f"{k}\t{t}\n" for t, k in PAIRS).encode(), "utf-8", None),
    "fasttext": ("a.txt.gz", gzip.compress(FASTTEXT.encode()), "utf-8", None),
    "csv": ("a.csv", CSV.encode("gb18030"), "gb18030", None),
}


@pytest.mark.parametrize("format", FILES)
def test_formats_and_encodings_are_found(format, tmp_path):
    name, data, encoding, columns = FILES[format]
    found = look(written(tmp_path, name, data))
    assert (found.source.format, found.source.encoding) == (format, encoding)
    assert (found.text_column, found.label_column) == (columns or ("text", "label"))
    assert found.labels == {"正面": 6, "负面": 6}


def test_numbers_may_be_labels_in_parquet(tmp_path):
    found = look(parquet(tmp_path))
    assert (found.source.format, found.text_column, found.label_column) == ("parquet", "评论", "星")
    assert found.labels == {"5": 3, "1": 3, "4": 3, "2": 3}


def test_of_a_folder_the_first_file_is_looked_at(tmp_path):
    for name in ("2.csv", "1.csv"):
        table_file(tmp_path, {"评论": "text", "类别": "label"}, name=name)
    assert Path(look(str(tmp_path)).source.path).name == "1.csv"


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": "number", "b": "stars"}, "no column with texts, all are numbers, dates or blank "
         "(found: a, b)"),
        ({"a": "date", "b": "blank"}, "no column with texts"),
        ({"text": "text"}, "only the column 'text'; expected a second one with the labels"),
        ({"text": "text", "label": "user"}, "no column looks like labels, which are short and "
         "repeat (different values: 'label' 12 in 12)"),
        ({"text": "text", "label": "same"}, "(different values: 'label' 1 in 12)"),
        ({"text": "text", "label": "blank"}, "(different values: 'label' 0 in 0)"),
        ({"text": "text", "甲": "label", "乙": "stars"}, "several columns could be the labels "
         "(甲, 乙); name one with --label-column"),
        ({"房间很好，下次还来": "text", "正面": "label"}, "the first line looks like a row "
         "(正面, 房间很好，下次还来)"),
    ],
)  # fmt: skip
def test_where_it_cannot_tell_it_names_the_columns(columns, sentence, tmp_path):
    file = table_file(tmp_path, columns)
    with pytest.raises(DataError) as caught:
        look(str(file))
    assert str(caught.value).startswith(f"{file}: ") and sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"text,label\n", "no rows; expected labelled texts"),
        (
            "a.csv",
            CSV.replace("，", "\0").encode(),
            r"12 of 12 rows can't be read as csv in utf-8; mend the file \(first fault: NULs\)",
        ),
        (
            "a.jsonl",
            b"[\n" + ",\n".join(LINES).encode() + b"\n]",
            r"13 of 14 rows can't be read as jsonl in utf-8; mend the file \(first fault: not JSON",
        ),
        (
            "a.csv",
            CSV.replace("text", "label").encode(),
            r"several columns are called 'label' \(found: label, label\); rename all but the right",
        ),
        ("a.csv", "Très bon,où\n".encode("latin-1"), "aren't UTF-8, nor .*; save it as UTF-8$"),
        ("a.xlsx", b"PK", "unknown kind of file"),
        ("a.txt", "".join(f"{t}\t{k}\n" for t, k in PAIRS).encode(), "looks like text<TAB>label"),
        ("a.txt", "没有标签\n".encode(), "neither a tab nor __label__"),
    ],
)
def test_a_file_that_is_none_is_refused(name, data, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        look(written(tmp_path, name, data))


def test_a_given_column_is_taken(tmp_path):
    columns = {"甲": "label", "乙": "stars", "标题": "title", "内容": "text"}
    found = look(str(table_file(tmp_path, columns)), label_column="乙", text_column="标题")
    assert (found.text_column, found.label_column) == ("标题", "乙")
    said = r"no column '丙' \(found: 甲, 乙, 标题, 内容\); name one with --label-column"
    with pytest.raises(DataError, match=said):
        look(str(table_file(tmp_path, columns)), label_column="丙")


def new(*arguments: object) -> Any:
    return CliRunner().invoke(main, [*map(str, arguments), "--json"])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_recipe_reads_the_file(tmp_path):
    table_file(tmp_path, {"序号": "number", "评论": "text", "类别": "label"})
    done = new("reviews-2026", "--data", "评论.csv")
    assert json.loads(done.stdout) == {
        "recipe": "reviews-2026/recipe.toml",
        "rows_looked_at": 12,
        "labels": {"正面": 6, "负面": 6},
        "text_column": "评论",
        "label_column": "类别",
        "encoding": "utf-8",
        "format": "csv",
    }
    recipe = load_recipe("reviews-2026/recipe.toml")
    (source,) = sources_of(recipe.data)
    assert (recipe.name, recipe.model.kind) == ("reviews-2026", "linear")
    assert (source.columns[source.text], source.columns[source.label]) == ("评论", "类别")
    assert source.path == str(tmp_path / "评论.csv")


def test_what_is_usual_is_not_written(tmp_path):
    written(tmp_path, "评论.csv", CSV.encode())
    assert new("a", "--data", "评论.csv").exit_code == 0
    assert tomllib.loads(Path("a/recipe.toml").read_text())["data"] == {
        "train": str(tmp_path / "评论.csv"),
        "split": {"valid": 0.1, "test": 0.1},
    }


def test_data_in_the_folder_is_named_from_there_and_its_encoding_said(tmp_path):
    (tmp_path / "a" / "数据").mkdir(parents=True)
    written(tmp_path, 'a/数据/"甲" 1.csv', CSV.encode("gb18030"))
    assert new("a", "--data", 'a/数据/"甲" 1.csv').exit_code == 0
    data = tomllib.loads(Path("a/recipe.toml").read_text())["data"]
    assert (data["train"], data["encoding"]) == ('数据/"甲" 1.csv', "gb18030")
    assert sources_of(load_recipe("a/recipe.toml").data)[0].encoding == "gb18030"


@pytest.mark.parametrize("name", ["recipe.toml", "recipe.toml/x"])
def test_what_is_there_is_left_alone(name, tmp_path):
    written(tmp_path, "评论.csv", CSV.encode())
    (tmp_path / "a" / name).parent.mkdir(parents=True)
    (tmp_path / "a" / name).write_text("mine")
    done = new("a", "--data", "评论.csv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("bigmodel: a/recipe.toml: there is a recipe already; remove it")
    assert (tmp_path / "a" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("a", "--data", "没有.csv"), 3, "can't read the data (no such file)"),
        (("评论.csv/a", "--data", "评论.csv"), 2, "can't write the recipe (Not a directory)"),
        (("a", "--data", "数.csv"), 3, "no column with texts"),
        (("a",), 2, "Missing option '--data'"),
    ],
)
def test_a_failure_leaves_nothing(arguments, code, sentence, tmp_path):
    written(tmp_path, "评论.csv", CSV.encode())
    table_file(tmp_path, {"a": "number", "b": "stars"}, name="数.csv")
    done = new(*arguments)
    assert (done.exit_code, done.stdout) == (code, "") and sentence in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"评论.csv", "数.csv"}


def test_people_see_the_next_commands(tmp_path):
    written(tmp_path, "评论.csv", CSV.encode())
    shown = CliRunner().invoke(main, ["我的 评论", "--data", "评论.csv"]).stdout
    assert "bigmodel check '我的 评论/recipe.toml'" in shown
    assert "column label: 正面 6, 负面 6" in shown


def test_rare_labels_are_pointed_out(tmp_path):
    written(tmp_path, "评论.csv", (CSV + "说不清，都可以,中性\n" * 2).encode())
    assert new("a", "--data", "评论.csv").exit_code == 0
    text = Path("a/recipe.toml").read_text()
    assert "# 3 labels: 正面 6, 负面 6, 中性 2.\n" in text
    assert "so few rows that a split may lack them: 正面 6, 负面 6, 中性 2.\n" in text


def test_labels_stand_on_one_line_whatever_they_are():
    labels = {"多\n行": 1_000, "长" * 99: 2} | {f"类{i}": 1 for i in range(20)}
    assert listed(labels) == (
        f"多 行 1,000, {'长' * 30} 2, " + ", ".join(f"类{i} 1" for i in range(10)) + " and 10 more"
    )


@pytest.mark.parametrize(
    ("candidates", "name"),
    [
        (("reviews", "x.csv"), "reviews"),
        (("我的评论", "reviews.csv.gz"), "reviews"),
        (("我的评论", "评论.csv"), "model"),
        (("my reviews (2026)", "x"), "my-reviews-2026"),
        (("-_a_-", "x"), "a"),
    ],
)
def test_a_name_is_made_of_the_folders_or_the_files(candidates, name):
    assert name_of(*candidates) == name


@given(st.lists(st.text()))
def test_any_name_is_a_models_name(candidates):
    assert re.match(NAME_PATTERN, name_of(*candidates))
