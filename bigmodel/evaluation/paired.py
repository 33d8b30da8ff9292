"""Two models' answers to the same rows: better, worse, or it can't be told."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import bdtr

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import Counts, accuracy, f1, macro_f1
from bigmodel.evaluation.resampling import (
    actual_counts,
    change_interval,
    drawn_counts,
    effective_size,
)
from bigmodel.metrics import Scores

BETTER, WORSE, UNSURE = "better", "worse", "can't tell"


def difference(one: Answers, other: Answers, *, seed: int) -> dict[str, Any]:
    """`other` minus `one` on the same rows, at least one, fit for JSON.

    Both are scored on the same resamples of units, so that rows hard for both don't count. The
    verdict is by the 95 % interval of the difference in macro-F1; where only ten rows are answered
    differently, it holds the truth in 93 of 100 cases. McNemar's exact test takes every
    row for itself: near-duplicates make it surer than it may be.
    """
    assert one.labels == other.labels and np.array_equal(one.truth, other.truth)
    found, drawn = actual_counts([one, other]), drawn_counts([one, other], seed=seed)

    def compared(score: Callable[[Counts], Scores], size: float) -> dict[str, float]:
        (a, b), (before, after) = map(score, found), map(score, drawn)
        low, high = change_interval(after - before, size)
        change = {"one": float(a), "other": float(b), "difference": float(b - a)}
        return change | {"low": low, "high": high}

    def class_compared(k: int) -> dict[str, float]:
        of_class = (one.truth == k) | (one.predicted == k) | (other.predicted == k)
        size = effective_size(one.unit[of_class])
        return compared(lambda counts: np.asarray(f1(counts)[..., k]), size)

    size = effective_size(one.unit)
    overall = compared(macro_f1, size)
    return {
        "rows": len(one),
        "accuracy": compared(accuracy, size),
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
