"""From which confidence on a promise holds, and what it comes to on other rows."""

import json

import numpy as np
import pytest
from answered import made_up, some_answers
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bigmodel import abstention
from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.promise import kept


def threshold(answers, precision):
    """Of these answers; None where nothing can be promised."""
    right = answers.predicted == answers.truth
    found = abstention.threshold(answers.confidence, right, answers.unit, precision=precision)
    return None if found == abstention.NEVER else found


def two_classes(confidence, right, unit=None):
    """Rows answered with some confidences, rightly or not."""
    sure = np.array(confidence, float)
    truth = np.where(np.array(right, bool), 1, 0)
    units = np.arange(len(sure)) if unit is None else np.array(unit)
    return Answers(("负面", "正面"), truth, np.stack([1 - sure, sure], 1), units)


def calibrated(num_rows, seed):
    """Rows that are right as often as their confidence says."""
    generator = np.random.default_rng(seed)
    sure = generator.uniform(0.5, 1, size=num_rows)
    return two_classes(sure, generator.random(num_rows) < sure)


@given(some_answers(), st.sampled_from([0.3, 0.5, 0.8]))
def test_it_is_the_least_confidence_whose_bound_holds(answers, precision):
    answers = Answers(answers.labels, answers.truth, answers.probabilities, np.arange(len(answers)))
    right = answers.predicted == answers.truth
    holding = []
    for least in np.unique(answers.confidence):
        given = answers.confidence >= least
        exact = binomtest(int(right[given].sum()), int(given.sum()), alternative="greater")
        if exact.proportion_ci(0.9).low >= precision:
            holding.append(least)
    assert threshold(answers, precision) == (min(holding) if holding else None)


@pytest.mark.parametrize(
    ("rows", "precision", "found"),
    [
        (21, 0.9, None),  # 0.9 ** 21 > 0.1: even without a mistake too few
        (22, 0.9, 0.75),
        (22, 0.95, None),
        (45, 0.95, 0.75),
    ],
)
def test_few_rows_can_promise_little(rows, precision, found):
    assert threshold(two_classes([0.75] * rows, [True] * rows), precision) == found


def test_equal_confidences_are_kept_together():
    answers = two_classes([0.9] * 30 + [0.7] * 10, [True] * 30 + [True] * 5 + [False] * 5)
    assert threshold(answers, 0.9) == 0.9
    assert threshold(answers, 0.75) == 0.7


def test_no_rows_promise_nothing():
    assert threshold(two_classes([], []), 0.5) is None


def test_near_duplicates_prove_no_more_than_one_of_them():
    alone = two_classes([0.75] * 22, [True] * 22)
    assert threshold(alone, 0.9) == 0.75
    alike = two_classes([0.75] * 42, [True] * 42, unit=np.arange(42) // 2)
    assert threshold(alike, 0.9) is None
    assert threshold(two_classes([0.75] * 42, [True] * 42), 0.9) == 0.75


def test_the_promise_is_kept_on_other_rows_about_as_often_as_it_says():
    broken = 0
    for seed in range(150):
        least = threshold(calibrated(500, seed), 0.85)
        assert least is not None
        broken += (1 + max(least, 0.5)) / 2 < 0.85  # the mean of what lies above is its precision
    assert broken / 150 < 0.2  # 10 % are expected; of 150 that is off by 2.4 %


def test_what_is_kept():
    answers = two_classes([0.9, 0.8, 0.8, 0.6], [True, True, False, False])
    found = kept(answers, 0.8, seed=0)
    assert (found["precision"], found["coverage"]) == (pytest.approx(2 / 3), 0.75)
    assert (found["rows"], found["kept"]) == (4, 3)
    for name in ("precision", "coverage"):
        low, high = found["interval"][name]
        assert 0 < low < found[name] < high < 1
    json.dumps(found, allow_nan=False)


def test_nothing_kept_says_nothing_of_the_precision():
    found = kept(two_classes([0.6] * 50, [True] * 50), 0.8, seed=0)
    assert (found["precision"], found["coverage"], found["kept"]) == (0, 0, 0)
    assert found["interval"]["precision"] == [0, 1]
    assert found["interval"]["coverage"] == pytest.approx([0, 0.0714], abs=1e-3)


def test_the_promise_holds_within_its_interval():
    least = threshold(calibrated(2000, 0), 0.9)
    found = kept(calibrated(2000, 1), least, seed=0)
    assert found["interval"]["precision"][0] <= 0.9 < found["interval"]["precision"][1]
    assert found["coverage"] == pytest.approx(0.4, abs=0.1)  # those above 0.8


def test_the_same_seed_gives_the_same():
    answers = made_up(200, 3, units=100)
    assert kept(answers, 0.6, seed=3) == kept(answers, 0.6, seed=3)
