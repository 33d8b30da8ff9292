"""Whole simulations: how often intervals hold what is true of all rows there could be."""

import numpy as np
import pytest
from answered import coverage, two_models

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
        (2, 100, 0.9, 0.1, 0.03),
        (2, 1000, 0.9, 0.05, 0.02),
        (5, 250, 0.9, 0.05, 0.02),
        (10, 1000, 0.8, 0.15, 0.02),
    ],
)
@pytest.mark.parametrize("better", [0.0, 0.02])
def test_intervals_of_differences_cover_95_per_cent(
    num_labels, num_rows, accuracy, apart, within, better
):
    """Of `apart` of the rows only one model is right; balanced classes and even mistakes.

    Where that are ten rows, 93 % were measured.
    """
    generator = np.random.default_rng(0)
    chances = [accuracy - apart / 2, (apart - better) / 2, (apart + better) / 2]
    chances.append(1 - sum(chances))
    hits, trials = 0, 2000
    for trial in range(trials):
        one, other = two_models(num_rows, num_labels, chances=chances, generator=generator)
        found = difference(one, other, seed=trial)["accuracy"]
        hits += found["low"] <= better <= found["high"]
    assert hits / trials == pytest.approx(0.95, abs=within)
