"""Scores and labels to figures: what training watches and what an artefact carries."""

from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def confusion(truth: Ids, predicted: Ids, num_labels: int) -> Ids:
    """Counts [L, L]: row = true class, column = predicted class."""
    cells = np.bincount(truth * num_labels + predicted, minlength=num_labels * num_labels)
    return cells.reshape(num_labels, num_labels)


def summary(counts: Ids) -> dict[str, Any]:
    """`accuracy`, `macro_f1` and `rows` from a confusion table; 0, 0 and 0 without rows.

    macro_f1 is the plain mean over the classes that have rows or predictions, as scikit-learn's
    f1_score(average="macro") over the labels present.
    """
    rows = int(counts.sum())
    hits = np.diag(counts)
    either = counts.sum(0) + counts.sum(1)
    present = either > 0
    f1 = 2 * hits[present] / either[present]
    return {
        "accuracy": float(hits.sum() / rows) if rows else 0.0,
        "macro_f1": float(f1.mean()) if rows else 0.0,
        "rows": rows,
    }


def softmax(scores: npt.NDArray[Any], temperature: float = 1.0) -> Scores:
    """Probabilities [B, L] of scores / temperature, each row summing to 1."""
    scaled = scores.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_loss(scores: npt.NDArray[Any], truth: Ids, temperature: float = 1.0) -> float:
    """Mean negative log probability of the true class, over at least one row."""
    chosen = softmax(scores, temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def fit_temperature(scores: npt.NDArray[Any], truth: Ids) -> float:
    """The temperature (Guo et al. 2017), within 0.01 to 100, that suits the rows; 1 of no rows.

    It has the least log loss where each of N rows is taken to have its label with a chance of
    (N + 1) / (N + 2) only, after Platt (1999): that all of few rows were answered rightly doesn't
    make the next one certain, and of rows without a mistake the plain loss would ask for a
    temperature of 0. Never one that raises the plain log loss above that at 1.

    Golden-section search over its logarithm: the loss, convex in 1 / temperature, has one valley.
    """
    if not len(truth):
        return 1.0
    scaled = scores.astype(np.float64)
    doubt = 1 / (len(truth) + 2)
    true = scaled[np.arange(len(truth)), truth]
    others = (scaled.sum(1) - true) / max(1, scaled.shape[1] - 1)
    expected = (1 - doubt) * true + doubt * others

    def loss(temperature: float) -> float:
        return float((_log_sum_exp(scaled / temperature) - expected / temperature).mean())

    low, high = np.log(0.01), np.log(100.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(np.exp(left)) < loss(np.exp(right)):
            high = right
        else:
            low = left
    found = float(np.exp((low + high) / 2))
    return found if log_loss(scores, truth, found) <= log_loss(scores, truth) else 1.0


def _log_sum_exp(scores: Scores) -> Scores:
    largest = scores.max(axis=1)
    return np.asarray(largest + np.log(np.exp(scores - largest[:, None]).sum(axis=1)))
