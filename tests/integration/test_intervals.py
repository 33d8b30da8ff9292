"""Whole simulations: how often intervals hold what is true of all rows there could be."""

import numpy as np
import pytest
from answered import coverage, of_predictions, two_models

from bigmodel.evaluation.counts import Counts, macro_f1
from bigmodel.evaluation.paired import difference

pytestmark = pytest.mark.chaos


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    """Enough for a trial: what they leave open is averaged over the trials."""
    monkeypatch.setattr("bigmodel.evaluation.resampling.TIMES", 500)


@pytest.mark.parametrize(
    ("num_labels", "num_rows", "skill", "most_alike"),
    [
        (2, 100, (0.7, 0.98), 1),
        (2, 200, (0.7, 0.98), 3),
        (5, 250, (0.8, 0.98), 1),
        (5, 500, (0.6, 0.95), 3),
        (10, 500, (0.9, 0.99), 1),
        (10, 1000, (0.5, 0.9), 2),
        (14, 700, (0.7, 0.95), 1),
    ],
)
def test_intervals_cover_95_per_cent(num_labels, num_rows, skill, most_alike):
    found = coverage(num_labels, num_rows, skill=skill, trials=2000, most_alike=most_alike)
    assert found == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("num_labels", "num_rows", "accuracy", "apart", "within"),
    [
        (2, 100, 0.9, 0.1, 0.04),
        (2, 1000, 0.9, 0.05, 0.02),
        (5, 250, 0.9, 0.05, 0.04),
        (10, 1000, 0.8, 0.15, 0.02),
    ],
)
@pytest.mark.parametrize("better", [0.0, 0.02])
def test_intervals_of_differences_cover_95_per_cent(
    num_labels, num_rows, accuracy, apart, within, better
):
    """Of `apart` of the rows only one model is right; balanced classes and even mistakes.

    Where that are ten rows, 98 % were measured: what wasn't seen counts.
    """
    generator = np.random.default_rng(0)
    chances = [accuracy - apart / 2, (apart - better) / 2, (apart + better) / 2]
    chances.append(1 - sum(chances))
    hits, trials = 0, 2000
    for trial in range(trials):
        one, other = two_models(num_rows, num_labels, chances=chances, generator=generator)
        found = difference(one, other, seed=trial)["accuracy"]
        hits += found["low"] <= better <= found["high"]
    assert 0.94 < hits / trials < 0.95 + within


def by_class(rows, chances, generator):
    """Two models' answers to so many rows of each class, and the true change of macro-F1.

    `chances` of each class: that both, only one, only the other model is right, else neither; a
    wrong answer is the next class.
    """
    rows, chances = np.array(rows), np.array(chances)
    truth = np.repeat(np.arange(len(rows)), rows)
    luck = generator.random(len(truth))[:, None]
    outcome = (luck > chances.cumsum(1)[truth]).sum(1)
    answers, scores = [], []
    for right in ([0, 1], [0, 2]):
        predicted = np.where(np.isin(outcome, right), truth, (truth + 1) % len(rows))
        answers.append(of_predictions(truth, predicted, len(rows)))
        hits = rows * chances[:, right].sum(1)
        scores.append(macro_f1(Counts(hits, hits + np.roll(rows - hits, 1), rows)))
    return *answers, float(scores[1] - scores[0])


FEW_LOST, BOTH_WAYS = (0.85, 0.03, 0.0), (0.85, 0.04, 0.02)


@pytest.mark.parametrize(
    ("rows", "chances"),
    [
        ((297, 3), ((0.997, 0.0, 0.0), (0.8, 0.15, 0.0))),  # it loses recall of the rare class
        ((297, 3), ((0.995, 0.0015, 0.0), (0.9, 0.0, 0.0))),  # it takes other rows for it
        ((495, 5), ((0.99, 0.003, 0.002), (0.7, 0.15, 0.05))),
        ((990, 10), ((0.995, 0.001, 0.001), (0.8, 0.08, 0.02))),
        ((10, 10), ((0.85, 0.04, 0.0), (0.85, 0.04, 0.0))),
        ((50, 50), (FEW_LOST, FEW_LOST)),
        ((500, 500), (BOTH_WAYS, BOTH_WAYS)),
        ((100,) * 10, (BOTH_WAYS,) * 10),
        ((300, 200, 200, 100, 100, 50, 30, 10, 5, 5), (BOTH_WAYS,) * 10),
    ],
)
def test_what_is_worse_by_the_margin_seldom_passes(rows, chances):
    """2.5 % are promised; 0.35 % is one standard error of the trials."""
    generator = np.random.default_rng(0)
    passed, trials = 0, 2000
    for trial in range(trials):
        one, other, change = by_class(rows, chances, generator)
        passed += difference(one, other, seed=trial)["macro_f1"]["low"] > change
    assert change < -0.01 and passed / trials <= 0.033


@pytest.mark.parametrize(
    ("rows", "changed", "least"),
    [((500, 500), 0.05, 0.75), ((100,) * 10, 0.05, 0.7), ((200, 200), 0.0, 0.95)],
)
def test_what_is_as_good_mostly_passes_a_margin_of_two_hundredths(rows, changed, least):
    """`changed` of the rows only one model answers rightly, as many each."""
    generator = np.random.default_rng(0)
    chances = [(0.85, changed / 2, changed / 2)] * len(rows)
    passed = 0
    for trial in range(500):
        one, other, change = by_class(rows, chances, generator)
        passed += difference(one, other, seed=trial)["macro_f1"]["low"] > -0.02
    assert change == 0 and passed / 500 >= least
