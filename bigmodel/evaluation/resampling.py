"""Intervals by drawing units again: how far off a score may be because the rows are but a sample.

A unit is a group of near-duplicates: its rows are right or wrong together, and so are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import Counts
from bigmodel.metrics import Ids, Scores

LEVEL = 0.95
TIMES = 2_000
_Z = 1.959963984540054  # the normal quantile of LEVEL on both sides

Interval = list[float]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Resamples:
    """TIMES draws of as many units as there are, with replacement.

    Units whose rows hold the same cells can't be told apart by a count, so that how often each such
    kind of unit is drawn is multinomial: few numbers instead of one a row. `times` [kinds, TIMES];
    `rows` are those of one unit of each kind, `kind` theirs.
    """

    times: Scores
    rows: Ids
    kind: Ids

    @classmethod
    def draw(cls, cells: Ids, unit: Ids, *, seed: int) -> "Resamples":
        """Of at least one row; what is counted of a row must follow from its cell [N]."""
        kinds, held = _kinds(cells, unit)
        units = int(held.sum())
        times = np.random.default_rng(seed).multinomial(units, held / units, size=TIMES)
        rows = np.flatnonzero(np.isin(unit, kinds))
        order = np.argsort(kinds)
        kind = order[np.searchsorted(kinds, unit[rows], sorter=order)]
        return cls(np.ascontiguousarray(times.T, float), rows, np.asarray(kind, np.int64))

    def count(self, classes: Ids, wide: int, among: Mask | None = None) -> Scores:
        """Rows of each class [TIMES, wide], all or `among` some [N]; `classes` [N] are ids."""
        among = np.ones(len(classes), bool) if among is None else among
        cells = (among[self.rows].astype(float), (classes[self.rows], self.kind))
        by_class = sparse.csr_array(cells, shape=(wide, len(self.times)))
        return np.asarray((by_class @ self.times).T)


def drawn_counts(several: Sequence[Answers], *, seed: int) -> list[Counts]:
    """The counts [TIMES, L] of each of several models' answers to the same rows, drawn together."""
    truth, wide = several[0].truth, len(several[0].labels)
    cells = truth
    for answers in several:
        cells = cells * wide + answers.predicted
    resamples = Resamples.draw(cells, several[0].unit, seed=seed)
    true = resamples.count(truth, wide)
    return [
        Counts(
            resamples.count(truth, wide, answers.predicted == truth),
            resamples.count(answers.predicted, wide),
            true,
        )
        for answers in several
    ]


def actual_counts(several: Sequence[Answers]) -> list[Counts]:
    """The counts [L] of each, as they are."""
    wide = len(several[0].labels)
    return [
        Counts(
            np.bincount(a.truth, a.predicted == a.truth, wide).astype(float),
            np.bincount(a.predicted, minlength=wide).astype(float),
            np.bincount(a.truth, minlength=wide).astype(float),
        )
        for a in several
    ]


def share_interval(
    estimate: float, drawn: Scores, size: float, *, at_most: bool = True
) -> Interval:
    """Of a score within 0 to 1, from its values over the resamples: Wilson's interval.

    As for a share of independent draws, of which there are as many as give the variance seen over
    the resamples, and at most `size` (effective_size); where the values don't vary, `size`. See
    Dean and Pagano, "Evaluating confidence interval methods for binomial proportions in clustered
    surveys" (2015). Scores that are no shares may be surer: at_most=False. Of size 0 nothing is
    known: 0 to 1. The plain middle of the values is too narrow near 0 and 1, and a point there.
    """
    variance = float(np.var(drawn)) if len(drawn) else 0.0
    spread = estimate * (1 - estimate)
    if variance > 1e-12 and spread > 0:
        seen = spread / variance
        size = min(size, seen) if at_most else seen
    middle = (size * estimate + _Z**2 / 2) / (size + _Z**2)
    half = _Z * np.sqrt(size * spread + _Z**2 / 4) / (size + _Z**2)
    return [float(max(0.0, middle - half)), float(min(1.0, middle + half))]


def change_interval(estimate: float, drawn: Scores, most: float) -> Interval:
    """Of a difference within -1 to 1, from its values over the resamples; a unit moves it by `most`
    at the most.

    Resamples hold no change that wasn't seen, as in a class of three rows; so z^2 times most^2 is
    added to their variance. Where nothing changed this leaves z^2 times `most`, in n rows z^2 / n,
    as the score interval of paired proportions does: Tango, "Equivalence test and confidence
    interval for the difference in proportions for the paired-sample design" (1998).
    """
    half = _Z * np.sqrt(np.var(drawn) + (_Z * most) ** 2)
    return [float(max(-1.0, estimate - half)), float(min(1.0, estimate + half))]


def effective_size(unit: Ids) -> float:
    """How many independent rows tell as much as rows of these units [N], were those of a unit all
    right or all wrong together: the square of their number by the sum of the squared sizes (Kish).
    """
    sizes = np.unique(unit, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / max(1.0, (sizes**2).sum()))


def percentiles(drawn: Scores) -> Interval:
    """The middle LEVEL of the values over the resamples."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def around(estimate: float, drawn: Scores) -> Interval:
    """The same, moved so that their mean is the estimate, and not below 0: for a score that is
    larger in a resample than in its rows, because chance alone raises it."""
    low, high = percentiles(drawn - drawn.mean() + estimate)
    return [max(0.0, low), high]


def _kinds(cells: Ids, unit: Ids) -> tuple[Ids, Ids]:
    """(a unit of each kind, how many are of it): units of one kind hold the same cells as often.

    Units are told apart by the sum of random numbers that stand for their cells (Zobrist).
    """
    _, place = np.unique(cells, return_inverse=True)
    number = np.random.default_rng(0).integers(2**64, size=len(cells), dtype=np.uint64)[place]
    order = np.argsort(unit, kind="stable")
    units, begin = np.unique(unit[order], return_index=True)
    _, first, held = np.unique(
        np.add.reduceat(number[order], begin), return_index=True, return_counts=True
    )
    return np.asarray(units[first], np.int64), np.asarray(held, np.int64)
