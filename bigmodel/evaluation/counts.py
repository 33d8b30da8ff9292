"""Scores of predicted classes from counts, for one table or for thousands of resampled ones.

The definitions are scikit-learn's with zero_division=0; `macro` is over the classes that have rows
or predictions, as without its parameter `labels`.
"""

from dataclasses import dataclass

import numpy as np

from bigmodel.metrics import Scores


@dataclass(frozen=True)
class Counts:
    """Of each class [..., L]: rows answered rightly, rows answered so, rows that are so."""

    hits: Scores
    said: Scores
    true: Scores

    @property
    def rows(self) -> Scores:
        """Of all classes [...]."""
        return np.asarray(self.true.sum(-1))


def of_classes(counts: Counts) -> dict[str, Scores]:
    """`precision`, `recall` and `f1` of each class [..., L]."""
    return {
        "precision": share(counts.hits, counts.said),
        "recall": share(counts.hits, counts.true),
        "f1": f1(counts),
    }


def overall(counts: Counts) -> dict[str, Scores]:
    """Accuracy, macro and weighted scores and Matthews' correlation [...], in a report's order."""
    found = {"accuracy": accuracy(counts)}
    of_each = of_classes(counts)
    present = (counts.said + counts.true > 0).astype(float)
    found |= {f"macro_{name}": mean(values, present) for name, values in of_each.items()}
    found |= {f"weighted_{name}": mean(values, counts.true) for name, values in of_each.items()}
    return found | {"mcc": correlation(counts)}


def accuracy(counts: Counts) -> Scores:
    """The share of right answers [...]."""
    return share(counts.hits.sum(-1), counts.rows)


def f1(counts: Counts) -> Scores:
    """The harmonic mean of precision and recall, of each class [..., L]."""
    return share(2 * counts.hits, counts.said + counts.true)


def macro_f1(counts: Counts) -> Scores:
    """The plain mean of F1 [...] over the classes that have rows or predictions."""
    return mean(f1(counts), (counts.said + counts.true > 0).astype(float))


def correlation(counts: Counts) -> Scores:
    """Matthews' correlation coefficient of several classes (Gorodkin 2004) [...], -1 to 1."""
    rows = counts.rows
    together = counts.hits.sum(-1) * rows - (counts.said * counts.true).sum(-1)
    said, true = (rows**2 - (of**2).sum(-1) for of in (counts.said, counts.true))
    return share(together, np.sqrt(said * true))


def share(part: Scores, whole: Scores) -> Scores:
    """part / whole, and 0 of nothing."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0)


def mean(values: Scores, weights: Scores) -> Scores:
    """The weighted mean over the last axis, and 0 without any weight."""
    return share(np.asarray((values * weights).sum(-1)), np.asarray(weights.sum(-1)))
