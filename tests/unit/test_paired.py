"""Two models on the same rows: the difference, its interval, and what may be said of it."""

import json

import numpy as np
import pytest
from answered import NAMES, made_up, of_predictions, some_answers
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.paired import difference
from bigmodel.evaluation.resampling import change_interval
from bigmodel.evaluation.scores import interval_of


def two_models(num_rows, *, accuracy, better, seed=0, num_labels=3):
    """Two models' answers to the same rows: each is right with a chance of its own."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(num_labels, size=num_rows)
    wrong = (truth + generator.integers(1, num_labels, size=num_rows)) % num_labels
    luck = generator.random(num_rows)  # hard rows are hard for both
    return [
        of_predictions(truth, np.where(luck < chance, truth, wrong), num_labels)
        for chance in (accuracy, accuracy + better)
    ]


@given(some_answers(), st.integers(0, 1000))
def test_the_scores_of_both_are_scikit_learns(one, seed):
    predicted = np.random.default_rng(seed).integers(len(one.labels), size=len(one))
    other = Answers(one.labels, one.truth, np.eye(len(one.labels))[predicted], one.unit)
    found = difference(one, other, seed=0)
    for name, answers in (("one", one), ("other", other)):
        truth, said = answers.truth, answers.predicted
        assert found["accuracy"][name] == pytest.approx(accuracy_score(truth, said))
        expected = f1_score(truth, said, average="macro", zero_division=0.0)
        assert found["macro_f1"][name] == pytest.approx(expected)
        expected = f1_score(
            truth, said, labels=range(len(one.labels)), average=None, zero_division=0.0
        )
        for label, value in zip(one.labels, expected, strict=True):
            assert found["per_class"][label]["f1"][name] == pytest.approx(value)
    change = found["macro_f1"]
    assert change["difference"] == pytest.approx(change["other"] - change["one"])
    assert -1 <= change["low"] <= change["high"] <= 1
    only_one, only_other = (
        found["mcnemar"][name] for name in ("only_one_right", "only_other_right")
    )
    right = [answers.predicted == answers.truth for answers in (one, other)]
    assert only_other - only_one == right[1].sum() - right[0].sum()
    assert found["rows"] == len(one)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("better", "verdict"), [(0.1, "better"), (-0.1, "worse"), (0.0, "can't tell")]
)
def test_the_verdict(better, verdict):
    one, other = two_models(500, accuracy=0.8, better=better)
    found = difference(one, other, seed=0)
    assert found["verdict"] == verdict
    assert (found["mcnemar"]["p"] < 0.05) == (better != 0)


def test_a_difference_that_a_few_rows_made_is_none():
    one, other = two_models(40, accuracy=0.8, better=0.04)
    found = difference(one, other, seed=0)
    assert found["macro_f1"]["difference"] > 0 and found["verdict"] == "can't tell"


def test_rows_hard_for_both_do_not_count():
    """Both intervals overlap widely, and still the other is known to be better."""
    one, other = two_models(500, accuracy=0.75, better=0.04)
    assert (
        interval_of(other, seed=0)["interval"]["macro_f1"][0]
        < (interval_of(one, seed=0)["interval"]["macro_f1"][1])
    )
    assert difference(one, other, seed=0)["verdict"] == "better"


@pytest.mark.parametrize(("num_rows", "low"), [(30, -0.128), (300, -0.0128)])
def test_the_same_answers_prove_as_little_as_there_are_rows(num_rows, low):
    one = made_up(num_rows, 3)
    found = difference(one, one, seed=0)
    assert found["mcnemar"] == {"only_one_right": 0, "only_other_right": 0, "p": 1.0}
    for change in (found["accuracy"], found["macro_f1"]):
        assert change["difference"] == 0 and change["low"] == -change["high"]
    assert found["accuracy"]["low"] == pytest.approx(low, abs=1e-3)
    assert found["macro_f1"]["low"] == pytest.approx(low, rel=0.3)
    assert found["verdict"] == "can't tell"


def test_swapped_models_give_the_opposite():
    one, other = two_models(300, accuracy=0.8, better=0.05)
    there, back = difference(one, other, seed=0), difference(other, one, seed=0)
    assert there["accuracy"]["difference"] == -back["accuracy"]["difference"]
    assert there["accuracy"]["low"] == pytest.approx(-back["accuracy"]["high"], abs=0.01)
    assert there["mcnemar"]["p"] == back["mcnemar"]["p"]


def test_mcnemar_counts_rows_that_one_alone_answers_rightly():
    truth = np.zeros(20, np.int64)
    first, second = truth.copy(), truth.copy()
    first[:8] = 1
    second[6:11] = 1
    found = difference(*(of_predictions(truth, said, 2) for said in (first, second)), seed=0)
    expected = {"only_one_right": 3, "only_other_right": 6, "p": binomtest(3, 9).pvalue}
    assert found["mcnemar"] == pytest.approx(expected)


def test_repeated_rows_make_no_difference_surer():
    models = two_models(200, accuracy=0.8, better=0.04)
    rows = np.repeat(np.arange(200), 5)
    once, repeated = (
        difference(one, other, seed=0)["macro_f1"]
        for one, other in (models, [answers.take(rows) for answers in models])
    )
    for end in ("low", "high"):
        assert repeated[end] == pytest.approx(once[end], abs=0.005)


def test_answers_to_other_rows_are_not_compared():
    one = made_up(10, 2)
    with pytest.raises(AssertionError):
        difference(one, one.take(np.arange(9)), seed=0)
    assert one.labels == NAMES[:2]


@pytest.mark.parametrize(
    ("estimate", "drawn", "most", "interval"),
    [
        (0.0, [-0.1, 0.1], 0.0, [-0.196, 0.196]),
        (0.0, [0.0, 0.0], 0.01, [-0.0384, 0.0384]),
        (0.02, [-0.08, 0.12], 0.01, [-0.1797, 0.2197]),
        (1.0, [1.0, 1.0], 0.1, [0.6159, 1.0]),
        (0.0, [0.0, 0.0], 1.0, [-1.0, 1.0]),
    ],
)
def test_an_interval_of_a_change(estimate, drawn, most, interval):
    found = change_interval(estimate, np.array(drawn), most)
    assert found == pytest.approx(interval, abs=1e-4)


@pytest.mark.parametrize(("rows", "rare"), [(300, 3), (500, 5), (1000, 10)])
def test_a_rare_class_that_no_row_shows_to_fall_may_fall_all_the_same(rows, rare):
    truth = (np.arange(rows) < rare).astype(np.int64)
    one = of_predictions(truth, truth, 2)
    found = difference(one, one, seed=0)
    assert found["macro_f1"]["low"] < -0.02 and found["per_class"]["财经"]["f1"]["low"] < -0.15
    assert found["accuracy"]["low"] == pytest.approx(-3.84 / rows, abs=1e-4)


@pytest.mark.parametrize("rows", [100, 400])
def test_more_right_answers_are_never_shown_to_be_worse_than_fewer(rows):
    truth = np.arange(rows) % 2
    lows = []
    for more in (-1, 0, 1, 2):
        one, other = (truth.copy() for _ in range(2))
        one[: max(0, more)] ^= 1
        other[: max(0, -more)] ^= 1
        found = difference(*(of_predictions(truth, said, 2) for said in (one, other)), seed=0)
        lows.append(found["macro_f1"]["low"])
    assert lows == sorted(lows) and lows[0] > lows[1] - 0.015
    assert (lows[1] > -0.02) == (lows[2] > -0.02) == (rows == 400)


def test_ten_rows_show_little():
    one, other = two_models(10, accuracy=0.8, better=0.0)
    found = difference(one, other, seed=0)["accuracy"]
    assert (found["low"], found["high"]) == pytest.approx((-0.384, 0.384), abs=1e-3)
    json.dumps(found, allow_nan=False)
