"""Logit adjustment: a trained model made fairer to classes of few rows (Menon et al. 2021)."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bigmodel.config import TrainConfig
from bigmodel.metrics import Ids, confusion, fit_temperature, summary
from bigmodel.models import LinearNgrams, Net, Residual
from bigmodel.training.rows import TrainingData

_TRIED = np.round(np.arange(0, 1.01, 0.05), 2)


def shift_of(
    scores: npt.NDArray[np.float32],
    truth: Ids,
    counts: npt.NDArray[np.float64],
    amount: float | Literal["auto"],
) -> npt.NDArray[np.float32]:
    """What is added to each class's score [L], zero on average.

    scores [N, L] and truth [N] are those of the valid rows, `counts` [L] the training rows of each
    class as the model was shown them. -amount * ln(share of the class), in units of the scores,
    whose temperature says how many of them make a factor of e. "auto": the smallest amount, 0 to 1,
    of the best macro-F1.
    """
    share = (counts + 1) / (counts + 1).sum()
    towards = -np.log(share) * fit_temperature(scores, truth)
    towards = (towards - towards.mean()).astype(np.float32)
    if amount == "auto":
        found = [_macro_f1(scores + tried * towards, truth) for tried in _TRIED]
        amount = float(_TRIED[np.argmax(found)])
    return np.asarray(amount * towards, np.float32)


def adjusted(
    model: nn.Module,
    scores: npt.NDArray[np.float32],
    truth: Ids,
    data: TrainingData,
    config: TrainConfig,
) -> npt.NDArray[np.float32]:
    """The scores [N, L] of the valid rows as the model says them from now on: as before, unless
    `train.logit_adjustment` is set."""
    if not config.logit_adjustment:
        return scores
    shift = shift_of(scores, truth, learnt_counts(data, config), config.logit_adjustment)
    add_to_bias(model, shift)
    return scores + shift


def learnt_counts(data: TrainingData, config: TrainConfig) -> npt.NDArray[np.float64]:
    """How many rows of each class [L] the model was shown, with weights and resampling."""
    rows = data.weighted(config.class_weights)
    counts = np.bincount(rows.label, rows.weight, minlength=data.num_labels)
    power = {"none": 1.0, "root": 0.5, "balanced": 0.0}[config.resample]
    return np.asarray(np.where(counts > 0, counts**power, 0.0))


def add_to_bias(model: nn.Module, shift: npt.NDArray[np.float32]) -> None:
    """Let the model say `shift` more of each class."""
    inner = model.net if isinstance(model, Residual) else model
    assert isinstance(inner, LinearNgrams | Net)
    bias = inner.bias if isinstance(inner, LinearNgrams) else inner.output.bias
    with torch.no_grad():
        bias.add_(torch.from_numpy(shift))


def _macro_f1(scores: npt.NDArray[np.float32], truth: Ids) -> float:
    return float(summary(confusion(truth, scores.argmax(1), scores.shape[1]))["macro_f1"])
