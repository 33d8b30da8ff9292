"""Figures from counts and scores, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from bigmodel.metrics import confusion, fit_temperature, log_loss, softmax, summary

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(ROWS)
def test_accuracy_and_macro_f1_are_scikit_learns(rows):
    truth, predicted = np.array(rows, np.int64).T
    counts = confusion(truth, predicted, 4)
    assert counts.tolist() == (
        sklearn_metrics.confusion_matrix(truth, predicted, labels=range(4)).tolist()
    )
    found = summary(counts)
    assert found["rows"] == len(rows)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    expected = sklearn_metrics.f1_score(truth, predicted, average="macro", zero_division=0.0)
    assert found["macro_f1"] == pytest.approx(expected)


def test_no_rows_have_no_score():
    nothing = np.zeros(0, np.int64)
    assert summary(confusion(nothing, nothing, 3)) == {"accuracy": 0.0, "macro_f1": 0.0, "rows": 0}


@pytest.mark.parametrize(
    ("scores", "temperature", "found"),
    [
        ([[0.0, 0.0]], 1.0, [[0.5, 0.5]]),
        ([[np.log(3), 0.0]], 1.0, [[0.75, 0.25]]),
        ([[np.log(9), 0.0]], 2.0, [[0.75, 0.25]]),
        ([[1e4, -1e4]], 1.0, [[1.0, 0.0]]),
    ],
)
def test_softmax(scores, temperature, found):
    assert np.allclose(softmax(np.array(scores), temperature), found)


def test_no_scores_have_no_probabilities():
    assert softmax(np.zeros((0, 2), np.float32)).shape == (0, 2)


def test_log_loss_is_scikit_learns():
    scores = np.random.default_rng(0).normal(size=(50, 3))
    truth = np.arange(50) % 3
    assert log_loss(scores, truth, 2.0) == pytest.approx(
        sklearn_metrics.log_loss(truth, softmax(scores, 2.0))
    )


@pytest.mark.parametrize("true_temperature", [0.2, 1.0, 5.0])
def test_the_temperature_of_scores_that_are_too_sure_is_found(true_temperature):
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(5_000, 3))
    chances = softmax(scores)
    truth = (generator.random((len(scores), 1)) > chances.cumsum(1)).sum(1)
    found = fit_temperature(scores * true_temperature, truth)
    assert found == pytest.approx(true_temperature, rel=0.1)
    best = log_loss(scores * true_temperature, truth, found)
    for factor in (0.8, 1.25):
        assert best <= log_loss(scores * true_temperature, truth, found * factor)


@pytest.mark.parametrize(
    ("scores", "truth", "found"),
    [
        (np.zeros((0, 2)), [], 1.0),
        ([[1, 0], [0, 1]], [1, 0], 100),  # always wrong: as unsure as the bounds allow
        ([[0.001, 0]] * 1000, [0] * 1000, 0.01),  # always right by a hair
        ([[9, 0]] * 9, [0] * 9, 1.0),  # as sure as can be: less would raise the loss
    ],
)
def test_the_temperature_at_its_ends(scores, truth, found):
    array = np.array(scores, np.float64)
    assert fit_temperature(array, np.array(truth, np.int64)) == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize(("num_rows", "num_labels"), [(1, 2), (10, 2), (10, 14), (1000, 2)])
def test_rows_without_a_mistake_make_no_answer_certain(num_rows, num_labels):
    truth = np.arange(num_rows) % num_labels
    scores = np.eye(num_labels)[truth] * 0.5
    chances = softmax(scores, fit_temperature(scores, truth))
    assert chances.max(1) == pytest.approx((num_rows + 1) / (num_rows + 2), abs=1e-4)


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 3, st.integers(0, 2)), min_size=1, max_size=30))
def test_the_temperature_never_raises_the_loss(rows):
    scores = np.array([row[:3] for row in rows])
    truth = np.array([row[3] for row in rows])
    temperature = fit_temperature(scores, truth)
    assert 0.01 <= temperature <= 100
    assert log_loss(scores, truth, temperature) <= log_loss(scores, truth)
