"""Encoded rows to weights, for each kind of model: the same code in a worker and in a trial."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bigmodel.config import Recipe
from bigmodel.metrics import summary
from bigmodel.models import build_model
from bigmodel.text.features import Encoded
from bigmodel.training.loop import make_optimizer, make_schedule, steps, train_epoch, validate
from bigmodel.training.newton import Step, make_blocks, minimise
from bigmodel.training.team import Team


@dataclass(frozen=True)
class TrainingData:
    """The encoded training and valid rows with their class ids, and the sizes a model needs.

    `train_weight`: of each training row, its source's; a row of weight 2 counts as two rows.
    """

    train: Encoded
    train_label: npt.NDArray[np.int64]
    train_weight: npt.NDArray[np.float32]
    valid: Encoded
    valid_label: npt.NDArray[np.int64]
    num_ids: int
    num_labels: int

    def row_weight(self, class_weights: Any) -> npt.NDArray[np.float32]:
        """A row's own weight; with "balanced" times what gives each class the same sum."""
        if class_weights == "none":
            return self.train_weight
        sums = np.bincount(self.train_label, self.train_weight, minlength=self.num_labels)
        factor = sums.sum() / (self.num_labels * np.where(sums > 0, sums, 1))
        label_weight: npt.NDArray[np.float32] = factor.astype(np.float32)
        return self.train_weight * label_weight[self.train_label]


@dataclass(frozen=True)
class Epoch:
    """What one epoch (for `linear` one outer step) came to; scores are on the valid split."""

    epoch: int
    loss: float
    accuracy: float
    macro_f1: float
    rows_per_s: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Weights:
    """The weights of the best epoch (`linear`: of the last step) and the course of the run."""

    state: dict[str, Tensor]
    history: tuple[Epoch, ...]


OnEpoch = Callable[[Epoch], None]


def fit_weights(recipe: Recipe, data: TrainingData, team: Team, on_epoch: OnEpoch) -> Weights:
    """Train the recipe's kind from the recipe's seed; every member of the team returns the same."""
    fit = _fit_linear if recipe.model.kind == "linear" else _fit_by_gradients
    return fit(recipe, data, team, on_epoch)


def _fit_linear(recipe: Recipe, data: TrainingData, team: Team, on_epoch: OnEpoch) -> Weights:
    config = recipe.model.linear
    two = data.num_labels == 2
    nb = two if config.nb == "auto" else config.nb
    c = (0.3 if nb else 0.5) if config.C == "auto" else config.C
    blocks = make_blocks(
        data.train,
        data.train_label,
        num_ids=data.num_ids,
        num_columns=1 if two else data.num_labels,
        weight=data.row_weight(recipe.train.class_weights),
        team=team,
    )
    model = build_model(recipe.model, num_ids=data.num_ids, num_labels=data.num_labels)
    history: list[Epoch] = []
    clock = _Clock(len(data.train))

    def state_of(weights: Tensor) -> dict[str, Tensor]:
        columns = torch.cat([-weights, weights], dim=1) if two else weights
        ngrams = columns.half()
        ngrams[0] = 0  # the bias stands apart; id 0 is padding
        return {"weight": ngrams, "bias": columns[0].clone()}

    def on_step(step: Step) -> None:
        model.load_state_dict(state_of(step.weights))
        history.append(_epoch(step.number, step.loss, model, data, team, clock))
        on_epoch(history[-1])

    best = minimise(
        blocks,
        team,
        c=c,
        nb=nb,
        max_steps=recipe.train.epochs,
        tolerance=config.tolerance,
        on_step=on_step,
    )
    return Weights(state_of(best), tuple(history))


def _fit_by_gradients(recipe: Recipe, data: TrainingData, team: Team, on_epoch: OnEpoch) -> Weights:
    config = recipe.train
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model, num_ids=data.num_ids, num_labels=data.num_labels)
    wrapped = team.wrap(model.to(team.device))
    torch.manual_seed(recipe.seed * 1009 + team.rank)  # members drop different units
    optimizer = make_optimizer(model, config)
    num_steps = config.epochs * -(-len(data.train) // config.rows_per_step)
    schedule = make_schedule(optimizer, num_steps)
    row_weight = data.row_weight(config.class_weights)
    history: list[Epoch] = []
    best: dict[str, Tensor] = {}
    best_epoch = 0
    clock = _Clock(len(data.train))
    for number in range(1, config.epochs + 1):
        loss = train_epoch(
            wrapped,
            steps(
                data.train,
                data.train_label,
                rows_per_step=config.rows_per_step,
                team=team,
                seed=recipe.seed,
                epoch=number,
            ),
            optimizer,
            schedule,
            row_weight=row_weight,
            team=team,
            autocast=_autocast(recipe, team),
        )
        history.append(_epoch(number, loss, model, data, team, clock))
        if not best or history[-1].macro_f1 > history[best_epoch - 1].macro_f1:
            best = {
                name: value.detach().cpu().clone() for name, value in model.state_dict().items()
            }
            best_epoch = number
        on_epoch(history[-1])
        if config.early_stop and number - best_epoch >= config.early_stop:
            break
    return Weights(best, tuple(history))


def _autocast(recipe: Recipe, team: Team) -> bool:
    precision = recipe.train.precision
    return precision == "bf16" or (precision == "auto" and team.device.type == "cuda")


class _Clock:
    """Rows per second of each epoch, without the time spent on anything between two laps."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._start = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        rows_per_s = self._num_rows / (now - self._start)
        self._start = now
        return rows_per_s


def _epoch(
    number: int, loss: float, model: Any, data: TrainingData, team: Team, clock: _Clock
) -> Epoch:
    counts = validate(model, data.valid, data.valid_label, num_labels=data.num_labels, team=team)
    found = summary(counts)
    return Epoch(number, loss, found["accuracy"], found["macro_f1"], clock.lap())
