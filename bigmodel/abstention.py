"""When an answer isn't sure enough to be given: the confidence from which on a promise holds."""

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from bigmodel.metrics import Ids, Scores

NEVER = 2.0
"""A confidence that no answer reaches: every one abstains."""
_RISK = 0.1  # that the true precision lies below the bound


def threshold(
    confidence: Scores, right: npt.NDArray[np.bool_], unit: Ids, *, precision: float
) -> float:
    """The least confidence from which on the promise holds; NEVER where it can't be given.

    Of the valid rows [N]: how sure the answer was, whether it was right, and what is near what. The
    lower 90 % bound of the precision (Clopper and Pearson, one-sided) of all rows with at least
    that confidence must reach `precision`; rows of one unit prove no more than Kish's effective
    number of them.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    rows = np.arange(1.0, len(order) + 1)
    size = rows**2 / (2 * _earlier(unit[order]) + 1).cumsum()
    holds = _lower_bound(right[order].astype(float).cumsum() / rows, size) >= precision
    ends = np.append(falling[1:] < falling[:-1], True)  # equal ones are kept together
    kept = np.flatnonzero(holds & ends[: len(holds)])
    return float(falling[kept[-1]]) if len(kept) else NEVER


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
