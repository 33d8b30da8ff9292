"""What a promise comes to: how often answers that are given are right, and how many these are."""

from typing import Any

import numpy as np

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import share
from bigmodel.evaluation.resampling import Resamples, effective_size, share_interval
from bigmodel.metrics import Scores


def kept(answers: Answers, threshold: float, *, seed: int) -> dict[str, Any]:
    """What the promise comes to on at least one row: the `precision` of the answers given, and the
    `coverage`, their share; with intervals, fit for JSON.

    Without any answer the precision is 0 and its interval 0 to 1: nothing is known of it.
    """
    given = answers.confidence >= threshold
    right = given & (answers.predicted == answers.truth)
    outcome = np.where(given, 1 + right, 0)  # 0 abstained, 1 wrong, 2 right
    resamples = Resamples.draw(outcome, answers.unit, seed=seed)
    drawn, found = resamples.count(outcome, 3), np.bincount(outcome, minlength=3).astype(float)
    size, size_given = effective_size(answers.unit), effective_size(answers.unit[given])
    precision, coverage = _precision(found), _coverage(found)
    return {
        "precision": float(precision),
        "coverage": float(coverage),
        "interval": {
            "precision": share_interval(float(precision), _precision(drawn), size_given),
            "coverage": share_interval(float(coverage), _coverage(drawn), size),
        },
        "rows": len(answers),
        "kept": int(given.sum()),
    }


def _precision(outcomes: Scores) -> Scores:
    return share(outcomes[..., 2], outcomes[..., 1:].sum(-1))


def _coverage(outcomes: Scores) -> Scores:
    return share(outcomes[..., 1:].sum(-1), outcomes.sum(-1))
