"""Files to prepared rows by real Ray Data: counts, quarantine, splits, bytes, reuse."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_reviews import labelled, write_csv

from bigmodel.config import Recipe
from bigmodel.data.prepare import find_prepared, prepare
from bigmodel.errors import DataError
from bigmodel.recipe import load_recipe, make_recipe

MESSY = [
    "\ufefftext,label",
    *(f"{text},{label}" for text, label in labelled()[:200]),
    "这本书很好,正面",  # again, with the same label
    "这本书很差,正面",  # again, with another one
    " ，。！ ,正面",  # kept: punctuation is a text
    "　 ,负面",  # nothing but blanks
    "没有标签,",
    "字段太多,正面,负面",
    '"引号没有闭合"了,正面',
    "",  # an empty line is no record
]
BROKEN = b"\xb2\xbb\xca\xc7utf-8,\xd5\xfd\xc3\xe6\n"  # GB18030 in a UTF-8 file


def write_messy(path: Path) -> Path:
    path.write_bytes("\n".join(MESSY).encode() + BROKEN)
    return path


def recipe_for(train: Path, *, kind: str = "linear", **data: object) -> Recipe:
    tree = {
        "name": "messy",
        "storage": str(train.parent / "storage"),
        "data": {"train": str(train), "max_bad_rows": 0.1, **data},
        "model": {"kind": kind},
    }
    return make_recipe(tree, "recipe")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Each file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def messy(ray_local, tmp_path_factory):
    return prepare(recipe_for(write_messy(tmp_path_factory.mktemp("messy") / "评论.csv")))


def test_every_record_is_counted_once(messy):
    summary = messy.summary
    assert not messy.reused
    assert summary["rows_read"] == 208
    assert summary["quarantined"] == {"unreadable": 3, "empty": 2, "conflict": 2}
    assert (summary["duplicates"], summary["conflicts"], summary["rows_kept"]) == (1, 2, 200)
    kept = sum(count for split in summary["splits"].values() for count in split.values())
    assert kept == summary["rows_kept"]
    assert summary["labels"] == ["正面", "负面"]


def test_what_is_set_aside_stands_in_the_quarantine_with_its_reason(messy):
    rows = pq.read_table(messy.place.local / "quarantine.parquet").to_pylist()
    found = [(row["reason"], row["row"], row["raw"]) for row in rows]
    assert [(reason, row) for reason, row, _ in found] == [
        ("conflict", 2),
        ("conflict", 202),
        ("empty", 204),
        ("empty", 205),
        ("unreadable", 206),
        ("unreadable", 207),
        ("unreadable", 208),
    ]
    assert found[-1][2] == BROKEN


def test_the_splits_share_no_text_and_hold_about_their_share(messy):
    texts = {split: set(messy.rows(split)[0]) for split in ("train", "valid", "test")}
    assert not texts["train"] & texts["valid"]
    assert not (texts["train"] | texts["valid"]) & texts["test"]
    assert 8 <= len(texts["test"]) <= 35 and 8 <= len(texts["valid"]) <= 35


def test_a_second_call_reuses_what_the_first_wrote(messy):
    recipe = recipe_for(messy.place.local.parents[2] / "评论.csv")
    before = bytes_of(messy.place.local)
    again = prepare(recipe)
    assert again.reused and again.summary == messy.summary
    assert again.place == messy.place and bytes_of(messy.place.local) == before
    assert not prepare(recipe.model_copy(update={"seed": 1})).reused


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train.parquet", lambda data: data[: len(data) // 2]),
        ("rows.parquet", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
        ("encoder/text.json", lambda data: None),
        ("manifest.json", lambda data: data[:-20]),
        ("manifest.json", lambda data: None),
    ],
)
def test_a_damaged_or_half_written_folder_is_not_used(messy, name, damage):
    recipe = recipe_for(messy.place.local.parents[2] / "评论.csv")
    before = bytes_of(messy.place.local)
    file = messy.place.local / name
    damaged = damage(file.read_bytes())
    file.unlink() if damaged is None else file.write_bytes(damaged)
    assert find_prepared(recipe) is None
    for name, data in before.items():
        (messy.place.local / name).write_bytes(data)
    assert find_prepared(recipe)


def test_a_damaged_folder_is_written_anew(messy):
    before = bytes_of(messy.place.local)
    (messy.place.local / "train.parquet").unlink()
    assert not prepare(recipe_for(messy.place.local.parents[2] / "评论.csv")).reused
    assert bytes_of(messy.place.local) == before


REFUSED = {
    "one class only": ("书很好,正面\n书不错,正面\n", {}, "only the label '正面'"),
    "too many bad rows": (
        "书很好,正面\n书很差,负面\n,正面\n",
        {"max_bad_rows": 0.2},
        "1 of 3 rows can't be used",
    ),
    "no rows": ("", {}, "no rows after the header"),
    "nothing to test on": (
        "".join(f"{text},{label}\n" for text, label in labelled()[:20]),
        {"split": {"test": 1e-9}},
        "no row is left for the test split",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_no_model_can_come_from_are_refused_and_leave_nothing(ray_local, tmp_path, case):
    rows, data, said = REFUSED[case]
    file = tmp_path / "评论.csv"
    file.write_text(f"text,label\n{rows}")
    recipe = recipe_for(file, **{"max_bad_rows": 0, **data})
    with pytest.raises(DataError, match=said):
        prepare(recipe)
    assert [path.name for path in tmp_path.rglob("*")] == ["评论.csv"]


def test_an_unknown_label_in_a_given_test_split_is_refused(ray_local, tmp_path):
    test = write_csv(tmp_path / "测试.csv", [("还可以", "中性")])
    file = write_csv(tmp_path / "评论.csv", labelled()[:60])
    with pytest.raises(DataError, match="测试.csv: unknown label '中性'"):
        prepare(recipe_for(file, test=str(test)))


def test_a_given_test_split_is_kept_whole_and_never_trained_on(ray_local, tmp_path):
    rows = labelled()
    test = write_csv(tmp_path / "测试.csv", rows[:20])
    file = write_csv(tmp_path / "评论.csv", rows[:200])
    prepared = prepare(recipe_for(file, test=str(test)))
    assert prepared.summary["duplicates"] == 20
    assert prepared.rows("test")[0] == [text for text, _ in rows[:20]]
    assert not set(prepared.rows("test")[0]) & set(prepared.rows("train")[0])


ELSEWHERE = """
import sys
from bigmodel.cluster.session import ray_session
from bigmodel.data import prepare as stage
from bigmodel.recipe import load_recipe

stage.BLOCK_BYTES = 1 << 13
with ray_session(num_cpus=1):
    for kind in ("linear", "mlp"):
        stage.prepare(load_recipe(sys.argv[1], [f"model.kind={kind}"]))
"""


def test_the_bytes_depend_neither_on_the_cpus_nor_on_the_blocks(ray_local, tmp_path):
    written = []
    for home in (tmp_path / "here", tmp_path / "elsewhere"):
        home.mkdir()
        write_csv(home / "评论.csv", labelled())
        recipe = home / "recipe.toml"
        recipe.write_text('name = "same"\nstorage = "storage"\n[data]\ntrain = "评论.csv"\n')
        if home.name == "here":
            for kind in ("linear", "mlp"):
                prepare(load_recipe(recipe, [f"model.kind={kind}"]))
        else:
            environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
            command = [sys.executable, "-c", ELSEWHERE, str(recipe)]
            subprocess.run(command, env=environment, check=True, timeout=240)
        written.append(bytes_of(home / "storage"))
    assert len(written[0]) > 10 and written[0].keys() == written[1].keys()
    assert written[0] == written[1]
