"""From which confidence on answers are right as often as was promised, and how many these are."""

from typing import Any

import numpy as np
from scipy.special import betaincinv

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import share
from bigmodel.evaluation.resampling import Resamples, share_interval
from bigmodel.metrics import Scores

_RISK = 0.1  # that the true precision lies below the bound


def threshold(answers: Answers, precision: float) -> float | None:
    """The least confidence from which on the promise holds; None where it can't be given.

    `answers` are of the valid split. The lower 90 % bound of the precision (Clopper and Pearson,
    one-sided) of all rows with at least that confidence must reach `precision`.
    """
    order = np.argsort(-answers.confidence, kind="stable")
    confidence = answers.confidence[order]
    right = (answers.predicted == answers.truth)[order].astype(float).cumsum()
    first = np.zeros(len(order))
    first[np.unique(answers.unit[order], return_index=True)[1]] = 1
    holds = _lower_bound(right, np.arange(1.0, len(order) + 1), first.cumsum()) >= precision
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
    units = len(np.unique(answers.unit))
    units_given = len(np.unique(answers.unit[given]))
    precision, coverage = _precision(found), _coverage(found)
    return {
        "precision": float(precision),
        "coverage": float(coverage),
        "interval": {
            "precision": share_interval(float(precision), _precision(drawn), units_given),
            "coverage": share_interval(float(coverage), _coverage(drawn), units),
        },
        "rows": len(answers),
    }


def _precision(outcomes: Scores) -> Scores:
    return share(outcomes[..., 2], outcomes[..., 1:].sum(-1))


def _coverage(outcomes: Scores) -> Scores:
    return share(outcomes[..., 1:].sum(-1), outcomes.sum(-1))


def _lower_bound(right: Scores, rows: Scores, units: Scores) -> Scores:
    """Of a share right / rows, as if there were as many independent rows as units."""
    hits = right * units / rows
    return np.where(hits > 0, betaincinv(hits, units - hits + 1, _RISK), 0.0)
