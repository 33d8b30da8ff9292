"""Texts without labels: their files, which of them are used, and what is said of bad ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import DataConfig
from bigmodel.data.history import History
from bigmodel.data.prepared import SealedFolder, find_sealed, seal, write_arrow
from bigmodel.data.read import read_rows
from bigmodel.data.refusals import check_unlabelled
from bigmodel.data.sources import unlabelled_of
from bigmodel.data.split import Earlier
from bigmodel.data.unlabelled import choose
from bigmodel.errors import DataError, RecipeError
from bigmodel.recipe import absolute_paths, make_recipe
from bigmodel.storage import folder

KEYS = st.lists(st.integers(-9, 9), max_size=12)


@given(st.lists(KEYS, max_size=5), KEYS)
def test_the_first_of_equal_texts_is_chosen_unless_a_kept_row_has_it(parts, kept):
    found = choose([np.array(part, np.int64) for part in parts], np.array(kept, np.int64))
    seen, expected = set(kept), []
    for part in parts:
        expected.append([key not in seen and not seen.add(key) for key in part])
    assert [one.tolist() for one in found] == expected


def config(*paths: Path, **keys) -> DataConfig:
    return DataConfig(train="评论.csv", unlabelled=[{"path": str(one)} for one in paths], **keys)


def test_files_of_any_kind_need_no_column_but_the_texts(tmp_path):
    (tmp_path / "a.csv").write_text("时间,text\n昨天,物流很快\n今天,客服不在\n")
    (tmp_path / "b.txt").write_bytes("耳机有杂音\n屏幕很亮\n".encode("gb18030"))
    (tmp_path / "c.jsonl").write_text('{"text": "房间干净", "星": 5}\n')
    pq.write_table(pa.table({"text": ["水果新鲜"], "id": [1]}), tmp_path / "d.parquet")
    sources = unlabelled_of(config(tmp_path))
    texts = [table["text"].to_pylist() for source in sources for table in read_rows(source)]
    assert texts == [
        ["物流很快", "客服不在"],
        ["耳机有杂音", "屏幕很亮"],
        ["房间干净"],
        ["水果新鲜"],
    ]
    assert {(source.split, source.label, source.group) for source in sources} == {
        ("unlabelled", None, None)
    }


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("时间,正文\n昨天,物流很快\n", r"no column 'text' .*name it with data\.text_column"),
        ("text\n", "no rows after the header; expected texts"),
        ("", "the file is empty"),
        (None, "no such file"),
    ],
)
def test_a_bad_file_is_told_in_a_sentence(tmp_path, written, said):
    file = tmp_path / "没有标签.csv"
    if written is not None:
        file.write_text(written)
    with pytest.raises(DataError, match=said):
        unlabelled_of(config(file))


def test_too_many_unreadable_texts_are_refused_and_empty_ones_are_not(tmp_path):
    (tmp_path / "a.csv").write_text("text\n好\n")
    (source,) = unlabelled_of(config(tmp_path / "a.csv"))
    check_unlabelled(source, Counter(), 0, 0.0)
    check_unlabelled(source, Counter(columns=1), 100, 0.01)
    with pytest.raises(DataError) as refused:
        check_unlabelled(source, Counter(columns=1, bytes=2), 100, 0.01)
    assert str(refused.value) == (
        f"{tmp_path}/a.csv: 3 of 100 texts without labels can't be read (bytes: 2, columns: 1), "
        "more than data.max_bad_rows allows (1.00%); mend them, set data.encoding, or allow more"
    )


def test_a_recipe_names_one_file_or_a_list_without_weights():
    def unlabelled(value):
        data = {"train": "评论.csv", "unlabelled": value}
        tree = absolute_paths({"name": "reviews", "data": data}, Path("/家"))
        return [one.path for one in make_recipe(tree, "recipe").data.unlabelled]

    assert unlabelled("语料/*.txt") == ["/家/语料/*.txt"]
    assert unlabelled([{"path": "a.txt"}, {"path": "s3://bucket/b"}]) == [
        "/家/a.txt",
        "s3://bucket/b",
    ]
    assert unlabelled([]) == []
    with pytest.raises(RecipeError, match=r"unknown key data\.unlabelled\.0\.weight"):
        unlabelled([{"path": "a.txt", "weight": 2}])


@pytest.fixture
def remembered(tmp_path) -> tuple[History, SealedFolder]:
    """A history of one prepare with two texts in a file without labels."""
    place = folder(tmp_path)
    rows = place.child("rows/r")
    seal(rows, [write_arrow(rows, "splits.arrow", Earlier.none().table())])
    inputs = {"files": [], "split": "by hash"}
    text = {"user dictionary": "", "unlabelled texts": [["text", "utf-8", "text", "a"]]}
    found = find_sealed(rows)
    History.of(place, "reviews").remember(inputs, text, origin=found, encoded="e")
    return History.of(place, "reviews"), found


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ([["text", "utf-8", "text", "a"]], []),
        ([["text", "utf-8", "text", "b"]], ["unlabelled texts changed"]),
        ([], ["unlabelled texts changed"]),
    ],
)
def test_changed_texts_without_labels_are_a_reason_to_encode_anew(remembered, now, why):
    history, _ = remembered
    assert history.why_text({"user dictionary": "", "unlabelled texts": now}, "") == why


def test_what_an_earlier_release_did_not_remember_is_no_change(remembered):
    history, _ = remembered
    text = {"user dictionary": "", "unlabelled texts": history.latest["text"]["unlabelled texts"]}
    assert history.why_text(text | {"new in this release": [1]}, "") == []
