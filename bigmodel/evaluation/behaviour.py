"""Does the answer move as it should when a text is written otherwise: with the failing examples."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from bigmodel.config import Change
from bigmodel.evaluation.changes import CHANGES
from bigmodel.predictor import Predictor

MOST_TEXTS = 500  # of each change
EXAMPLES = 5
SURE = 0.7  # probability from which on a negated answer should move

_PRAISE = ("很好", "非常好", "很满意", "非常满意", "很喜欢", "强烈推荐", "质量很好", "值得购买")
_BLAME = ("很差", "太差了", "很失望", "非常失望", "不满意", "不推荐", "质量很差", "垃圾")
_AGREED = 0.75  # share of these that a model must give one label


def behaviour(
    predictor: Predictor, texts: Sequence[str], changes: Sequence[Change], *, seed: int
) -> list[dict[str, Any]]:
    """How often each change fails, on at most MOST_TEXTS texts that the seed draws.

    {"change", "expected": "same" | "other", "texts", "failed", "examples"}: `texts` counts those
    that the change really changes; the examples are the shortest that failed. After a negation the
    label should be another one; that is asked only of texts that the model surely took for praise,
    and of none where its labels don't tell praise from blame, as topics don't.
    """
    return [_tried(predictor, texts, change, seed) for change in changes]


def _tried(predictor: Predictor, texts: Sequence[str], change: Change, seed: int) -> dict[str, Any]:
    pairs = _changed(texts, change, seed)
    before, after = (
        predictor.probabilities(side) for side in ([a for a, _ in pairs], [b for _, b in pairs])
    )
    said, then = before.argmax(1), after.argmax(1)
    if change == "negation":
        asked = (said == praised(predictor)) & (before.max(1) >= SURE)
        failed = asked & (said == then)
    else:
        asked = np.ones(len(pairs), np.bool_)
        failed = said != then
    shortest = sorted(np.flatnonzero(failed).tolist(), key=lambda row: len(pairs[row][0]))
    return {
        "change": change,
        "expected": "other" if change == "negation" else "same",
        "texts": int(asked.sum()),
        "failed": int(failed.sum()),
        "examples": [
            {
                "text": pairs[row][0],
                "changed": pairs[row][1],
                "before": predictor.labels[said[row]],
                "after": predictor.labels[then[row]],
            }
            for row in shortest[:EXAMPLES]
        ],
    }


def _changed(texts: Sequence[str], change: Change, seed: int) -> list[tuple[str, str]]:
    """Texts in an order drawn by the seed, each with what the change makes of it."""
    rng = random.Random(seed)
    order = rng.sample(range(len(texts)), len(texts))
    tried = ((texts[row], CHANGES[change](texts[row], rng)) for row in order)
    return list(islice((pair for pair in tried if pair[0] != pair[1]), MOST_TEXTS))


def praised(predictor: Predictor) -> int:
    """The class of praise, where that of blame is another; -1 where the labels don't tell them."""
    (good, sure_of_good), (bad, sure_of_bad) = (
        Counter(predictor.probabilities(texts).argmax(1).tolist()).most_common(1)[0]
        for texts in (_PRAISE, _BLAME)
    )
    agreed = sure_of_good >= _AGREED * len(_PRAISE) and sure_of_bad >= _AGREED * len(_BLAME)
    return int(good) if agreed and good != bad else -1
