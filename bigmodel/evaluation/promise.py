"""From which confidence on answers are right as often as was promised, and how many these are."""

from typing import Any

import numpy as np
from scipy.special import betaincinv

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import share
from bigmodel.evaluation.resampling import Resamples, effective_size, share_interval
from bigmodel.metrics import Ids, Scores

_RISK = 0.1  # that the true precision lies below the bound


def threshold(answers: Answers, precision: float) -> float | None:
    """The least confidence from which on the promise holds; None where it can't be given.

    `answers` are of the valid split. The lower 90 % bound of the precision (Clopper and Pearson,
    one-sided) of all rows with at least that confidence must reach `precision`.
    """
    order = np.argsort(-answers.confidence, kind="stable")
    confidence = answers.confidence[order]
    right = (answers.predicted == answers.truth)[order].astype(float).cumsum()
    rows = np.arange(1.0, len(order) + 1)
    size = rows**2 / (2 * _earlier(answers.unit[order]) + 1).cumsum()  # effective_size of each
    holds = _lower_bound(right / rows, size) >= precision
    ends = np.append(confidence[1:] < confidence[:-1], True)  # equal ones are kept together
    kept = np.flatnonzero(holds & ends)
    return float(confidence[kept[-1]]) if len(kept) else None


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


def _earlier(unit: Ids) -> Scores:
    """How many rows before each are of its unit [N]."""
    order = np.argsort(unit, kind="stable")
    _, first, place = np.unique(unit[order], return_index=True, return_inverse=True)
    earlier = np.zeros(len(unit))
    earlier[order] = np.arange(len(unit)) - first[place]
    return earlier


def _lower_bound(right: Scores, size: Scores) -> Scores:
    """Of a share that was seen to be `right` in `size` independent rows."""
    hits = right * size
    return np.where(hits > 0, betaincinv(hits, size - hits + 1, _RISK), 0.0)
