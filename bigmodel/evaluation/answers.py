"""What a model said to labelled rows: the one thing that every score is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bigmodel import progress
from bigmodel.metrics import Ids, Scores
from bigmodel.predictor import Predictor

_CHUNK = 2048


@dataclass(frozen=True)
class Answers:
    """Rows with the probabilities that a model gave their labels.

    `truth` [N] are class ids, `probabilities` [N, L] sum to 1 a row; rows of the same `unit` [N]
    (near-duplicates) are drawn together in a resample.
    """

    labels: tuple[str, ...]
    truth: Ids
    probabilities: Scores
    unit: Ids

    @property
    def predicted(self) -> Ids:
        """The most likely class [N]; of equal ones the first."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    @property
    def confidence(self) -> Scores:
        """The probability of the most likely class [N]."""
        return np.asarray(self.probabilities.max(1))

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Answers":
        """Those of some rows, by position or mask."""
        return Answers(self.labels, self.truth[rows], self.probabilities[rows], self.unit[rows])


def answer(
    predictor: Predictor, texts: Sequence[str], truth: Ids, unit: Ids, *, stage: str = "evaluate"
) -> Answers:
    """Answer every raw text as the endpoint would; progress is told as that of a `stage`."""
    parts = [np.zeros((0, len(predictor.labels)))]
    with progress.stage(stage, total=len(texts)) as told:
        for start in range(0, len(texts), _CHUNK):
            parts.append(predictor.probabilities(texts[start : start + _CHUNK]))
            told.update(done=min(start + _CHUNK, len(texts)))
    return Answers(predictor.labels, truth, np.concatenate(parts), unit)
