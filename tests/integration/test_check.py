"""From a file with wrong labels to a report, and the mended labels back into what is prepared."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_reviews import labelled, write_csv

from bigmodel.config import Recipe
from bigmodel.data.prepare import prepare
from bigmodel.errors import DataError
from bigmodel.recipe import make_recipe
from jobs.check import check, main, show

OTHER = {"正面": "负面", "负面": "正面"}
WRONG = range(5, 700, 23)
CONTRACT = {
    "rows_read", "rows_kept", "quarantined", "duplicates", "conflicts", "splits", "data_id",
    "reused",
}  # fmt: skip


def recipe_for(folder: Path, **data: object) -> Recipe:
    tree = {"name": "reviews", "storage": str(folder / "storage")}
    return make_recipe(tree | {"data": {"train": str(folder / "评论.csv"), **data}}, "recipe")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A file of 720 reviews of which every 23rd has the wrong label, and three more records."""
    home = tmp_path_factory.mktemp("check")
    rows = labelled()
    for place in WRONG:
        rows[place] = (rows[place][0], OTHER[rows[place][1]])
    rows += [rows[0], ("说不清<b>好坏</b>", "正面"), ("说不清<b>好坏</b>", "负面")]
    write_csv(home / "评论.csv", rows)
    return home


@pytest.fixture(scope="module")
def found(ray_local, folder):
    return check(recipe_for(folder))


def test_a_check_has_the_counts_of_prepare_and_says_what_is_wrong(found, folder):
    assert CONTRACT <= found.keys()
    assert found["rows_read"] == 723
    aside = sum(found["quarantined"].values())
    assert found["rows_read"] == found["rows_kept"] + aside + found["duplicates"]
    assert (found["rows_kept"], found["duplicates"], found["conflicts"]) == (720, 1, 2)
    assert any("1 text stands under several labels" in said for said in found["warnings"])
    assert found["data_id"] == prepare(recipe_for(folder)).summary["data_id"]


def test_the_report_stands_in_the_storage(found, folder):
    place = folder / "storage" / "reports" / "data" / "reviews"
    assert found["report"] == str(place / "data.html")
    assert found["suspects"] == str(place / "suspects.csv")
    assert json.loads((place / "data.json").read_text(encoding="utf-8")) == found
    page = (place / "data.html").read_text(encoding="utf-8")
    assert "说不清&lt;b&gt;好坏&lt;/b&gt;" in page and "<b>" not in page


def test_mended_labels_are_fed_back_and_the_rest_changes_nothing(found, folder):
    right = dict(labelled())
    rows = list(csv.DictReader(io.StringIO(Path(found["suspects"]).read_text("utf-8-sig"))))
    wrong = [row for row in rows if right[row["text"]] != row["label"]]
    assert len(wrong) >= 0.8 * len(WRONG)
    dropped = wrong.pop()["text"]
    for row in rows:
        if row in wrong:
            row["label"] = row["suggested"]
        elif row["text"] == dropped:
            row["label"] = ""
    path = folder / "mended.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    before = prepare(recipe_for(folder)).table().to_pylist()
    mended = prepare(recipe_for(folder, corrections=str(path)))
    after = {row["text"]: row["label"] for row in mended.table().to_pylist()}
    assert mended.summary["quarantined"]["removed"] == 1 and dropped not in after
    changed = {row["text"] for row in before if after.get(row["text"]) != row["label"]}
    assert changed == {row["text"] for row in wrong} | {dropped}
    assert all(after[row["text"]] == right[row["text"]] for row in wrong)


def test_a_second_check_prepares_nothing_and_finds_the_same(found, folder):
    again = check(recipe_for(folder))
    assert again == found | {"reused": True}


def test_people_see_a_short_table_the_sentences_and_where_to_look(found):
    from rich.console import Console

    shown = io.StringIO()
    Console(width=200, file=shown).print(show(found))
    text = shown.getvalue()
    lines = [line.strip() for line in text.splitlines()]
    assert len(lines) < 25
    assert "rows read" in text and "723" in text and "conflict 2" in text
    assert f"report {found['report']}" in lines and f"suspects {found['suspects']}" in lines


def test_data_that_stop_prepare_stop_a_check_in_the_same_way(ray_local, tmp_path):
    write_csv(tmp_path / "评论.csv", [*labelled()[:20], ("", "正面")])
    with pytest.raises(DataError) as by_prepare:
        prepare(recipe_for(tmp_path))
    with pytest.raises(DataError) as by_check:
        check(recipe_for(tmp_path))
    assert str(by_check.value) == str(by_prepare.value)
    (tmp_path / "recipe.toml").write_text(
        'name = "reviews"\n[data]\ntrain = "评论.csv"\n', encoding="utf-8"
    )
    done = CliRunner().invoke(main, [str(tmp_path / "recipe.toml"), "--storage", str(tmp_path)])
    assert done.exit_code == 3
    assert not (tmp_path / "reports").exists()
