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
    """The temperature with the least log loss (Guo et al. 2017), within 0.01 to 100; 1 of no rows.

    Golden-section search over its logarithm: the loss has a single valley there.
    """
    if not len(truth):
        return 1.0
    low, high = np.log(0.01), np.log(100.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(scores, truth, np.exp(left)) < log_loss(scores, truth, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
