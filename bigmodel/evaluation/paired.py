"""Two models' answers to the same rows: better, worse, or it can't be told."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import bdtr

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import Counts, accuracy, f1, macro_f1, share
from bigmodel.evaluation.resampling import (
    actual_counts,
    change_interval,
    drawn_counts,
    effective_size,
)
from bigmodel.metrics import Ids, Scores

BETTER, WORSE, UNSURE = "better", "worse", "can't tell"


def difference(one: Answers, other: Answers, *, seed: int) -> dict[str, Any]:
    """`other` minus `one` on the same rows, at least one, fit for JSON.

    Both are scored on the same resamples of units, so that rows hard for both don't count. The
    verdict is by the 95 % interval of the difference in macro-F1, over the classes that have rows
    or predictions: of others it knows nothing. McNemar's exact test takes every row for itself:
    near-duplicates make it surer than it may be.
    """
    assert one.labels == other.labels and np.array_equal(one.truth, other.truth)
    found, drawn = actual_counts([one, other]), drawn_counts([one, other], seed=seed)

    def compared(score: Callable[[Counts], Scores], most: float) -> dict[str, float]:
        (a, b), (before, after) = map(score, found), map(score, drawn)
        low, high = change_interval(float(b - a), after - before, most)
        change = {"one": float(a), "other": float(b), "difference": float(b - a)}
        return change | {"low": low, "high": high}

    def class_compared(k: int) -> dict[str, float]:
        of_class = (one.truth == k) | (one.predicted == k) | (other.predicted == k)
        together = _rows_of_a_unit(one.unit[of_class])
        most = max(float(_falls(counts)[0][k]) for counts in found) * together
        return compared(lambda counts: np.asarray(f1(counts)[..., k]), most if together else 1.0)

    together = np.array([_rows_of_a_unit(one.unit[one.truth == k]) for k in range(len(one.labels))])
    overall = compared(macro_f1, max(_macro_f1_fall(counts, together) for counts in found))
    return {
        "rows": len(one),
        "accuracy": compared(accuracy, _rows_of_a_unit(one.unit) / len(one)),
        "macro_f1": overall,
        "per_class": {label: {"f1": class_compared(k)} for k, label in enumerate(one.labels)},
        "mcnemar": mcnemar(one, other),
        "verdict": BETTER if overall["low"] > 0 else WORSE if overall["high"] < 0 else UNSURE,
    }


def mcnemar(one: Answers, other: Answers) -> dict[str, float]:
    """Rows that only one answers rightly, and the exact two-sided p (McNemar 1947)."""
    first, second = (answers.predicted == answers.truth for answers in (one, other))
    a, b = int((first & ~second).sum()), int((second & ~first).sum())
    p = min(1.0, 2 * float(bdtr(min(a, b), a + b, 0.5)))
    return {"only_one_right": a, "only_other_right": b, "p": p}


def _macro_f1_fall(counts: Counts, together: Scores) -> float:
    """By a unit that is no longer answered rightly, at the most; `together` [L] are its rows."""
    lost, taken = _falls(counts)
    fall = (lost[:, None] + taken) * together[:, None]
    np.fill_diagonal(fall, 0.0)
    return float(fall.max() / max(1, np.count_nonzero(counts.said + counts.true)))


def _falls(counts: Counts) -> tuple[Scores, Scores]:
    """How far the F1 of each class [L] falls by one of its rows that is no longer answered rightly,
    and by one of another class that is answered so: the derivatives of 2 hits / (said + true)."""
    size, found = counts.said + counts.true, f1(counts)
    return share(2 - found, size), share(found, size)


def _rows_of_a_unit(unit: Ids) -> float:
    """As seen from a row, on average; 0 of no rows."""
    return len(unit) / max(1.0, effective_size(unit))
