"""Two models' answers to the same rows: is one better, worse, or can't it be told?"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import Counts, accuracy, f1, macro_f1
from bigmodel.evaluation.resampling import actual_counts, drawn_counts, percentiles
from bigmodel.metrics import Scores


def difference(one: Answers, other: Answers, *, seed: int) -> dict[str, Any]:
    """`other` minus `one` on the same rows, at least one, fit for JSON.

    Both are scored on the same resamples of units, so that rows hard for both don't count. The
    verdict is by the 95 % interval of the difference in macro-F1. McNemar's exact test takes every
    row for itself: near-duplicates make it surer than it may be.
    """
    assert one.labels == other.labels and np.array_equal(one.truth, other.truth)
    found, drawn = actual_counts([one, other]), drawn_counts([one, other], seed=seed)

    def compared(score: Callable[[Counts], Scores], k: int | None = None) -> dict[str, float]:
        a, b = (float(score(counts) if k is None else score(counts)[k]) for counts in found)
        before, after = (score(counts) if k is None else score(counts)[:, k] for counts in drawn)
        low, high = percentiles(after - before)
        return {"one": a, "other": b, "difference": b - a, "low": low, "high": high}

    overall = compared(macro_f1)
    return {
        "rows": len(one),
        "accuracy": compared(accuracy),
        "macro_f1": overall,
        "per_class": {label: {"f1": compared(f1, k)} for k, label in enumerate(one.labels)},
        "mcnemar": mcnemar(one, other),
        "verdict": "better" if overall["low"] > 0 else "worse" if overall["high"] < 0 else UNSURE,
    }


UNSURE = "can't tell"


def mcnemar(one: Answers, other: Answers) -> dict[str, float]:
    """Rows that only one answers rightly, and the exact two-sided p (McNemar 1947)."""
    from scipy.stats import binomtest

    first, second = (answers.predicted == answers.truth for answers in (one, other))
    a, b = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(a, a + b).pvalue) if a + b else 1.0
    return {"only_one_right": a, "only_other_right": b, "p": p}
