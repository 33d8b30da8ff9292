"""A version's report, two versions compared, and the gate before the champion's place."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="module")
def weak(demo, on_our_ray):
    """A version of the demo's model that was trained on 200 of its rows."""
    lines = (demo.recipe.parent / "reviews.csv").read_text(encoding="utf-8").splitlines()
    (demo.folder / "few.csv").write_text("\n".join(lines[:201]) + "\n", encoding="utf-8")
    changes = [f'data.train="{demo.folder / "few.csv"}"', "train.num_workers=1"]
    options = [option for change in changes for option in ("--set", change)]
    return on_our_ray("run", demo.recipe, *options, "--until", "promote", "--json", cwd=demo.folder)


@pytest.fixture(scope="module")
def weak_model(demo, weak, on_our_ray):
    return on_our_ray("models", "list", "--json", cwd=demo.folder).json[-1]["model"]


def test_a_run_leaves_a_page_and_the_rows_with_their_answers(demo):
    page = Path(demo.run.json["report"])
    assert page.name == "test.html" and "reviews@1" in page.read_text(encoding="utf-8")
    report = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert report["gate"]["passed"] is True
    assert report["baselines"]["majority"]["accuracy"] < report["accuracy"]
    low, high = report["interval"]["accuracy"]
    assert low < report["accuracy"] < high and high - low < 0.06
    assert report["mistakes"] == [] and report["curves"] and report["run"]["seed"] == "0"
    rows = pq.read_table(page.with_suffix(".parquet"))
    assert len(rows) == report["rows"]
    said = zip(rows["label"].to_pylist(), rows["predicted"].to_pylist(), strict=True)
    assert sum(a == b for a, b in said) / len(rows) == report["accuracy"]


def test_a_weaker_version_is_published_but_does_not_become_champion(demo, weak, weak_model, here):
    assert weak.code == 4
    (said,) = [line for line in weak.err.splitlines() if line.startswith("bigmodel: ")]
    assert f"{weak_model} doesn't become champion: it is worse: macro-F1 0." in said
    assert said.endswith(f"bigmodel models promote {weak_model} champion --force WHY")
    assert here("models", "show", "reviews@champion", "--json", cwd=demo.folder).json["model"] == (
        "reviews@1"
    )
    again = here("models", "promote", weak_model, "champion", cwd=demo.folder)
    assert again.code == 4 and "it is worse" in again.err


def test_two_versions_are_compared(demo, weak_model, run, here):
    found = run("compare", weak_model, "reviews@1", "--json", cwd=demo.folder).json
    assert found["verdict"] == "better" and found["macro_f1"]["low"] > 0.1
    assert found["rows"] > 900 and found["mcnemar"]["p"] < 1e-6
    assert len(pq.read_table(found["differing"])) > 100
    people = here("compare", "reviews@1", weak_model, cwd=demo.folder)
    assert f"{weak_model} is worse: " in people.out


def test_what_is_forced_is_kept_with_its_reason_and_is_taken_back_by_one_command(
    demo, weak_model, here
):
    forced = here(
        "models", "promote", weak_model, "champion", "--force", "演示", "--json", cwd=demo.folder
    )
    assert forced.json["gate"]["passed"] is False and forced.json["aliases"] == ["champion"]
    last = here("models", "show", weak_model, "--json", cwd=demo.folder).json["moves"][-1]
    assert last["why"] == "演示" and last["numbers"]["verdict"] == "worse"
    stays = here("models", "delete", weak_model, cwd=demo.folder)
    assert stays.code == 4 and "is champion and stays" in stays.err
    assert here("models", "rollback", "reviews", "--json", cwd=demo.folder).json["model"] == (
        "reviews@1"
    )
    assert here("models", "delete", weak_model, cwd=demo.folder).code == 0
    gone = here("evaluate", weak_model, cwd=demo.folder)
    assert gone.code == 4 and "has no version" in gone.err


def test_a_file_without_labels_is_one_sentence(demo, here, tmp_path):
    file = tmp_path / "评论.csv"
    file.write_text("text\n房间很干净\n", encoding="utf-8")
    done = here("evaluate", "reviews@1", "--data", file, cwd=demo.folder)
    assert done.code == 3 and "no column 'label' (found: text)" in done.err.splitlines()[-1]
