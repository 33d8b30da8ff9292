"""What a step's rows cost: weighted, smoothed, focal, mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bigmodel.config import TrainConfig
from bigmodel.errors import RecipeError

ClassWeights = Literal["none", "balanced"] | dict[str, float]


@dataclass(frozen=True)
class Loss:
    """The loss of each row [B] of scores [B, L], as the recipe's `train` says."""

    label_smoothing: float
    focal_gamma: float

    @classmethod
    def of(cls, config: TrainConfig) -> "Loss":
        return cls(config.label_smoothing, config.focal_gamma if config.loss == "focal" else 0.0)

    def __call__(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy; focal: times (1 - p)^gamma, p the probability of the row's own label."""
        losses = functional.cross_entropy(
            scores, labels, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.focal_gamma:
            own = torch.log_softmax(scores, 1).gather(1, labels[:, None])[:, 0].exp()
            wrong = (1 - own).clamp(min=1e-6)  # of a power below 1 the slope at 0 is no number
            losses = losses * wrong**self.focal_gamma
        return losses


def class_factor(
    label: npt.NDArray[np.int64],
    weight: npt.NDArray[np.float32],
    class_weights: ClassWeights,
    names: tuple[str, ...],
) -> npt.NDArray[np.float32]:
    """What a row of each class [L] counts: 1 each, given by name, or balanced.

    Balanced: each class of the rows has the same sum of weights, and the sum of all stays.
    """
    if isinstance(class_weights, dict):
        return np.array([class_weights.get(name, 1.0) for name in names], np.float32)
    if class_weights == "none":
        return np.ones(len(names), np.float32)
    sums = np.bincount(label, weight, minlength=len(names))
    factor = sums.sum() / (len(names) * np.where(sums > 0, sums, 1))
    return np.asarray(factor, np.float32)


def check_class_weights(class_weights: ClassWeights, names: Sequence[str]) -> None:
    """RecipeError for a weight of a label that there isn't."""
    unknown = set(class_weights) - set(names) if isinstance(class_weights, dict) else set()
    if unknown:
        raise RecipeError(
            f"train.class_weights: {min(unknown)} is no label of the data (found: "
            f"{', '.join(names)}); correct it, or take it out"
        )
