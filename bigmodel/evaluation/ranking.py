"""Average precision of every class, quickly for many weightings of the same rows."""

import numpy as np

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import share
from bigmodel.metrics import Ids, Scores


class Ranking:
    """Rows in order of each class's probability, sorted once."""

    def __init__(self, answers: Answers) -> None:
        self._classes = [
            _order(probability, answers.truth == k)
            for k, probability in enumerate(answers.probabilities.T)
        ]

    def average_precision(self, weights: Ids) -> Scores:
        """Of each class [L] with whole `weights` [N] a row; 0 of a class without any."""
        return np.array([_average_precision(weights, *one) for one in self._classes])


def _order(probability: Scores, positive: np.ndarray) -> tuple[Ids, Ids, Ids, Ids]:
    """(rows, likeliest first; places of positives; for each the last place, and the last positive,
    of those with its probability)."""
    order = np.argsort(-probability, kind="stable")
    falling = -probability[order]
    places = np.flatnonzero(positive[order])
    last = np.searchsorted(falling, falling[places], side="right") - 1
    return order, places, last, np.searchsorted(places, last, side="right") - 1


def _average_precision(weights: Ids, order: Ids, places: Ids, last: Ids, hit: Ids) -> float:
    """The sum of precision times the step of recall, at each probability that is there."""
    ranked = weights[order]
    mine = ranked[places]
    precision = share(mine.cumsum()[hit], ranked.cumsum()[last])
    return float(share(np.asarray((mine * precision).sum()), np.asarray(mine.sum())))
