"""The report on a version: its rows, its figures, and what is kept beside it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bigmodel.config import EvaluateConfig, PatternSlice, PromiseConfig, ReportConfig
from bigmodel.errors import DataError
from bigmodel.evaluation.beside import OWN, Beside
from bigmodel.evaluation.labelled import Labelled, own_test_rows, rows_of_file
from bigmodel.evaluation.report import report
from bigmodel.predictor import Predictor
from bigmodel.storage import folder


def labelled(reviews, times=1, **columns):
    texts, labels = map(list, zip(*reviews * times, strict=True))
    unit = np.arange(len(texts)) % len(reviews)
    return Labelled(texts, labels, unit, columns)


def with_recipe(artifact, **sections):
    return replace(artifact, recipe=artifact.recipe.model_copy(update=sections))


def test_rows_come_back_from_a_table(reviews):
    rows = labelled(reviews, city=["北京", None] * 12)
    again = Labelled.of(rows.table())
    assert (again.texts, again.labels, again.columns) == (rows.texts, rows.labels, rows.columns)
    some = rows.take(np.array([3, 0]))
    assert some.texts == [rows.texts[3], rows.texts[0]] and some.columns == {"city": [None, "北京"]}
    assert len(rows.take(np.zeros(24, np.bool_))) == 0


def test_every_readable_row_of_a_file_is_scored_duplicates_included(tiny, tmp_path):
    path = tmp_path / "评论.csv"
    path.write_text("text,label\n很好,正面\n很好,正面\n,正面\n太差,负面\n", encoding="utf-8")
    rows = rows_of_file(str(path), tiny, tiny.labels.names)
    assert rows.texts == ["很好", "很好", "太差"] and rows.labels == ["正面", "正面", "负面"]
    assert rows.unit[0] == rows.unit[1] != rows.unit[2]


def test_the_files_of_a_folder_are_scored_together_whatever_their_encodings(tiny, tmp_path):
    (tmp_path / "评论.csv").write_text("text,city,label\n很好,北京,正面\n", encoding="gb18030")
    (tmp_path / "更多.txt").write_text("负面\t太差\n负面\t\n", encoding="utf-8")
    config = EvaluateConfig(slices=("city",))
    rows = rows_of_file(str(tmp_path), with_recipe(tiny, evaluate=config), tiny.labels.names)
    assert rows.texts == ["太差", "很好"] and rows.labels == ["负面", "正面"]
    assert rows.columns == {"city": [None, "北京"]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("text,label\n,正面\n", "no usable rows; expected labelled texts"),
        ("text,label\n很好,中性\n", "unknown label '中性'"),
        ("text\n很好\n", "no column 'label'"),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused(tiny, tmp_path, data, said):
    path = tmp_path / "评论.csv"
    path.write_text(data, encoding="utf-8")
    with pytest.raises(DataError, match=rf"^{path}: {said}"):
        rows_of_file(str(path), tiny, tiny.labels.names)


def test_test_rows_that_are_gone_are_told(tiny):
    with pytest.raises(DataError, match="unknown folder: this model's test rows are gone"):
        own_test_rows(tiny)


def test_a_report_has_every_figure_and_is_fit_for_json(tiny, reviews):
    slices = ("city", PatternSlice(name="有书", pattern="书"))
    config = EvaluateConfig(slices=slices, promise=PromiseConfig(precision=0.8))
    artifact = with_recipe(tiny, evaluate=config, report=ReportConfig(texts=True))
    rows = labelled(reviews, 5, city=["北京", "上海"] * 60)
    wrong = replace(
        rows, labels=["负面" if n % 6 == 0 else said for n, said in enumerate(rows.labels)]
    )
    found, answers = report(Predictor(artifact), wrong, model="reviews@1", split="test")
    json.dumps(found)
    assert found["model"] == "reviews@1" and found["rows"] == 120 and found["units"] == 24
    assert found["accuracy"] == np.mean(answers.predicted == answers.truth) == 100 / 120
    assert found["confused"] == [{"label": "负面", "said": "正面", "rows": 20}]
    assert {(one["by"], one["value"]) for one in found["slices"]} >= {
        ("city", "北京"), ("city", "上海"), ("pattern", "有书")
    }  # fmt: skip
    assert {one["text"] for one in found["mistakes"]} == {rows.texts[n] for n in range(0, 24, 6)}
    assert found["promise"] == {"precision": 0.8, "threshold": None}
    quiet, _ = report(Predictor(tiny), wrong, model="reviews@1", split="test")
    assert quiet["mistakes"] == [] and quiet["promise"] is None
    again, _ = report(Predictor(artifact), wrong, model="reviews@1", split="test")
    assert again == found


def test_a_single_row_is_judged_and_hardly_anything_is_known_of_it(tiny, reviews):
    found, _ = report(Predictor(tiny), labelled(reviews[:1]), model="m", split="一行.csv")
    low, high = found["interval"]["accuracy"]
    assert found["rows"] == 1 and high - low > 0.5


def test_what_a_promise_came_to_on_these_rows_is_told(tiny, reviews):
    config = EvaluateConfig(promise=PromiseConfig(precision=0.9))
    artifact = replace(with_recipe(tiny, evaluate=config), threshold=0.6)
    found, answers = report(Predictor(artifact), labelled(reviews), model="m", split="test")
    given = answers.confidence >= 0.6
    assert found["promise"]["test"]["coverage"] == given.mean()


def test_what_stands_beside_a_version_comes_back(tiny, reviews, tmp_path):
    beside = Beside(folder(tmp_path / "reviews"))
    assert beside.report() is None and beside.test_rows() is None
    assert beside.known() is None and beside.run() == {}
    rows = labelled(reviews, city=["北京"] * 24)
    found, answers = report(Predictor(tiny), rows, model="reviews@1", split="test")
    page = beside.save(OWN, found)
    assert page == f"{tmp_path}/reviews/test.html"
    assert "reviews@1" in Path(page).read_text(encoding="utf-8")
    beside.keep_answers(OWN, rows, answers)
    beside.keep_run({"curves": [{"epoch": 1.0, "train_loss": 0.5}]})
    assert beside.report() == json.loads(json.dumps(found))
    assert beside.test_rows().table().equals(rows.table())
    assert beside.run()["curves"][0]["epoch"] == 1
    table = pq.read_table(tmp_path / "reviews" / "test.parquet")
    said = [answers.labels[i] for i in answers.predicted]
    assert table["predicted"].to_pylist() == said
    assert table["probability 正面"].to_numpy() == pytest.approx(answers.probabilities[:, 0])
