"""Two versions on the same rows, and whether the new one may take the champion's place."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from bigmodel.config import EvaluateConfig, GateConfig
from bigmodel.data.prepared import (
    PreparedRows,
    find_sealed,
    seal,
    write_arrow,
    write_parquet,
)
from bigmodel.data.split import key64
from bigmodel.evaluation.answers import answer
from bigmodel.evaluation.beside import OWN, Beside
from bigmodel.evaluation.compare import Candidate, ask_both, both_test_rows, compare, differing
from bigmodel.evaluation.gate import decide, small_slices
from bigmodel.evaluation.labelled import Labelled
from bigmodel.predictor import Predictor
from bigmodel.storage import folder

TIMES = 20  # each review, with another ending


def rows_of(reviews, ending, **columns):
    texts = [f"{text}{ending}{n}号" for n in range(TIMES) for text, _ in reviews]
    labels = [label for _ in range(TIMES) for _, label in reviews]
    return Labelled(texts, labels, np.arange(len(texts)), columns)


def negated(artifact):
    """The same model that always says the contrary."""
    model = deepcopy(artifact.model)
    model.load_state_dict({name: -value for name, value in model.state_dict().items()})
    return replace(artifact, model=model)


def candidate(tmp_path, name, artifact, rows, *, known=()):
    """A version with its test rows, and the hashes of the texts that it knows."""
    beside = Beside(folder(tmp_path / name))
    if rows is not None:
        truth = artifact.labels.ids(rows.labels, where=name)
        beside.keep_answers(OWN, rows, answer(Predictor(artifact), rows.texts, truth, rows.unit))
    keys = np.sort(np.array([key64(artifact.encoder.normalizer(text)) for text in known], np.int64))
    write_arrow(beside.place, "known.arrow", pa.table({"key": keys}))
    return Candidate(
        f"reviews@{name}",
        artifact.named(name) if isinstance(artifact, Flipping) else replace(artifact, digest=name),
        beside,
    )


CONFIG = EvaluateConfig()


def test_the_first_champion_has_nobody_to_beat(tiny, reviews, tmp_path):
    new = candidate(tmp_path, "1", tiny, rows_of(reviews, "，"))
    found = decide(new, None, CONFIG, seed=0)
    assert found.passed and found.figures() == {"passed": True, "why": "it is the first champion"}


def test_an_equal_one_passes_and_a_worse_one_does_not(tiny, reviews, tmp_path):
    champion = candidate(tmp_path, "1", tiny, rows_of(reviews, "，"))
    equal = decide(candidate(tmp_path, "2", tiny, rows_of(reviews, "！")), champion, CONFIG, seed=0)
    assert equal.passed and equal.numbers["macro_f1"]["difference"] == 0
    same = decide(champion, champion, CONFIG, seed=0)
    assert same.passed and same.why == "it is the same as reviews@1, byte for byte"
    assert equal.numbers["rows"] == 2 * TIMES * len(reviews)
    worse = candidate(tmp_path, "3", negated(tiny), rows_of(reviews, "！"))
    found = decide(worse, champion, CONFIG, seed=0)
    assert not found.passed and found.numbers["verdict"] == "worse"
    assert found.why.startswith("it is worse: macro-F1 0.0") and "of reviews@1 on 960" in found.why


def test_what_cannot_be_told_from_few_rows_does_not_pass(tiny, reviews, tmp_path):
    rows = rows_of(reviews, "，").take(np.arange(12))
    champion = candidate(tmp_path, "1", Flipping(tiny, {rows.texts[0]}), rows)
    new = candidate(tmp_path, "2", Flipping(tiny, {rows.texts[1]}), None)
    found = decide(new, champion, CONFIG, seed=0)
    assert found.numbers["verdict"] == "can't tell" and not found.passed
    assert found.why.startswith("it isn't shown to be as good: macro-F1 0.91")


def test_rows_that_one_of_them_knows_are_left_out(tiny, reviews, tmp_path):
    rows = rows_of(reviews, "，")
    champion = candidate(tmp_path, "1", tiny, rows, known=rows.texts[:100])
    new = candidate(tmp_path, "2", tiny, rows, known=rows.texts[50:300])
    found = decide(new, champion, CONFIG, seed=0)
    assert (found.numbers["rows"], found.numbers["left_out"]) == (len(rows) - 300, 300)
    assert found.numbers["near_rows_looked_for"] is False


def test_without_a_row_that_neither_knows_nothing_is_shown(tiny, reviews, tmp_path):
    rows = rows_of(reviews, "，")
    champion = candidate(tmp_path, "1", tiny, rows)
    new = candidate(tmp_path, "2", tiny, None, known=rows.texts)
    found = decide(new, champion, CONFIG, seed=0)
    assert not found.passed and found.why.startswith("480 test rows none is left")


def test_a_slice_that_falls_keeps_it_out(tiny, reviews, tmp_path):
    rows = rows_of(reviews, "，", city=(["北京"] + ["上海"] * 23) * TIMES)
    champion = candidate(tmp_path, "1", tiny, rows)
    in_peking = [
        text for text, city in zip(rows.texts, rows.columns["city"], strict=True) if city == "北京"
    ]
    flips = Flipping(tiny, set(in_peking))
    new = replace(candidate(tmp_path, "2", tiny, rows), artifact=flips)
    config = EvaluateConfig(slices=("city",), gate=GateConfig(slices=("city=北京",), margin=0.3))
    found = decide(new, champion, config, seed=0)
    assert found.numbers["slices"] == [{"slice": "city=北京", "rows": TIMES, "difference": -1.0}]
    assert not found.passed and "on the 20 rows of the slice city=北京" in found.why
    few = EvaluateConfig(slices=("city",), gate=GateConfig(slices=("city=广州",), margin=0.3))
    found = decide(new, champion, few, seed=0)
    assert not found.passed and found.why.startswith("0 test rows are in the slice city=广州")


class Flipping:
    """A model that says the contrary to some texts."""

    def __init__(self, artifact, texts):
        self._artifact, self._texts = artifact, texts

    def named(self, digest):
        return Flipping(replace(self._artifact, digest=digest), self._texts)

    def __getattr__(self, name):
        return getattr(self._artifact, name)

    def score(self, texts):
        found = self._artifact.score(texts)
        sign = np.array([-1 if text in self._texts else 1 for text in texts], np.float32)
        return replace(found, scores=found.scores * sign[:, None])


def test_two_versions_are_compared_overall_and_in_slices(tiny, reviews, tmp_path):
    rows = rows_of(reviews, "，", city=["北京", "上海"] * (12 * TIMES))
    one = candidate(tmp_path, "1", negated(tiny), rows)
    other = candidate(tmp_path, "2", tiny, rows)
    pair = ask_both(one, other, both_test_rows(one, other))
    found = compare(pair, patterns=(), seed=0)
    assert found["verdict"] == "better" and found["rows"] == 480 and found["left_out"] == 0
    cities = [part for part in found["slices"] if part["by"] == "city"]
    assert [part["verdict"] for part in cities] == ["better", "better"]
    table = differing(pair)
    assert len(table) == 480 and table.column_names[:2] == ["text", "label"]
    assert table["other"].to_pylist() == rows.labels


def test_a_label_that_one_does_not_know_counts_against_it(train_tiny, tiny, reviews, tmp_path):
    rows = rows_of(reviews, "，")
    one = candidate(tmp_path, "1", tiny, rows)
    pair = ask_both(one, one, replace(rows, labels=["中性", *rows.labels[1:]]))
    assert pair.one.labels == ("中性", "正面", "负面")
    assert pair.one.predicted[0] != pair.one.truth[0] == 0


@pytest.mark.parametrize("which", ["one", "other"])
def test_each_text_is_asked_once_with_the_label_of_the_newer(tiny, reviews, tmp_path, which):
    rows = rows_of(reviews, "，").take(np.arange(4))
    contrary = replace(rows, labels=rows.labels[::-1])
    one = candidate(tmp_path, "1", tiny, rows)
    other = candidate(tmp_path, "2", tiny, contrary)
    first, second = (one, other) if which == "one" else (other, one)
    both = both_test_rows(first, second)
    expected = contrary if which == "one" else rows
    assert (both.texts, both.labels) == (rows.texts, list(expected.labels))


def test_a_text_that_the_newer_one_took_out_is_not_asked(tiny, reviews, tmp_path, monkeypatch):
    rows = rows_of(reviews, "，")
    one, other = (candidate(tmp_path, name, tiny, rows) for name in "12")
    aside = pa.table({"reason": ["removed", "empty"], "text": [rows.texts[3], rows.texts[5]]})
    seal(folder(tmp_path), [write_parquet(folder(tmp_path), "quarantine.parquet", aside)])
    prepared = PreparedRows(find_sealed(folder(tmp_path)))
    newer = lambda lineage: prepared if lineage == {"prepared": "2"} else None  # noqa: E731
    monkeypatch.setattr("bigmodel.evaluation.compare.find_rows", newer)
    other = replace(other, artifact=replace(tiny, digest="2", lineage={"prepared": "2"}))
    assert rows.texts[3] not in both_test_rows(one, other).texts
    assert len(both_test_rows(one, other)) == len(rows) - 1
    assert len(both_test_rows(other, one)) == len(rows)


def test_of_what_nobody_knows_the_training_rows_nothing_is_shown(tiny, reviews, tmp_path):
    rows = rows_of(reviews, "，")
    champion, new = (candidate(tmp_path, name, tiny, rows) for name in "12")
    (tmp_path / "2" / "known.arrow").unlink()
    for first, second in ((champion, new), (new, champion)):
        found = decide(second, first, CONFIG, seed=0)
        assert not found.passed
        assert found.why == "which rows reviews@2 was trained on isn't known any more"


def test_slices_that_could_never_open_the_gate_are_found_before(reviews):
    rows = rows_of(reviews, "，", city=(["北京"] * 23 + ["上海"]) * TIMES)
    wanted = ("city=北京", "city=上海", "city=广州", "length=1–10")
    config = EvaluateConfig(slices=("city",), gate=GateConfig(slices=wanted))
    assert small_slices(rows, config).keys() <= {"city=广州", "length=1–10"}
    assert small_slices(rows, config)["city=广州"] == 0
    assert small_slices(rows, CONFIG) == {}
