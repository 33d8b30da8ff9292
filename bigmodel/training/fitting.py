"""Encoded rows to weights, for each kind of model: the same code in a worker as in a trial."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bigmodel.config import Recipe
from bigmodel.metrics import summary
from bigmodel.models import Net, Residual, build_model
from bigmodel.models.words import WordModel
from bigmodel.training.base import Base, fit_base
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.linear import LinearStep, fit_linear
from bigmodel.training.loop import Loop, validate
from bigmodel.training.newton import State
from bigmodel.training.order import cut, draw
from bigmodel.training.rows import Rows, TrainingData
from bigmodel.training.team import Team
from bigmodel.training.vectors import ppmi_vectors


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


class Watch:
    """What surrounds a run: where it starts, who hears of it, and who keeps its checkpoints.

    This one starts at the beginning, tells nobody and keeps nothing.
    """

    start: Checkpoint | None = None

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""

    def on_step(self, epoch: int, share: float) -> None:
        """Some step of an epoch has ended, at this share of it."""

    def due(self) -> bool:
        """Is it time for a checkpoint?"""
        return False

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep it."""


def fit_weights(
    recipe: Recipe, data: TrainingData, team: Team, watch: Watch | None = None
) -> Weights:
    """Train the recipe's kind from the recipe's seed; every member of the team returns the same."""
    fit = _fit_linear if recipe.model.kind == "linear" else _fit_net
    return fit(recipe, data, team, watch or Watch())


def _fit_linear(recipe: Recipe, data: TrainingData, team: Team, watch: Watch) -> Weights:
    model = build_model(recipe.model, num_ids=data.num_ids, num_labels=data.num_labels)
    start = watch.start
    history = _history_of(start)
    clock = _Clock(len(data.train))

    def on_step(step: LinearStep) -> None:
        model.load_state_dict(step.weights)
        history.append(_epoch(step.number, step.loss, model, data.valid, data, team, clock))
        watch.on_epoch(history[-1])
        if watch.due():
            tensors = {"u": step.solver.u, "fall": step.solver.fall}
            watch.save(Checkpoint(step.number, tensors, _about(history)))
        clock.lap()

    found = fit_linear(
        recipe.model.linear,
        data.weighted(recipe.train.class_weights),
        team,
        num_ids=data.num_ids,
        num_labels=data.num_labels,
        max_steps=recipe.train.epochs,
        on_step=on_step,
        start=State(start.step, **start.tensors) if start else None,
    )
    return Weights(found, tuple(history))


def _fit_net(recipe: Recipe, data: TrainingData, team: Team, watch: Watch) -> Weights:
    run = _NetRun(recipe, data, team, watch)
    while not run.ended:
        run.epoch()
    return Weights(run.weights(), tuple(run.history))


class _NetRun:
    """A net's epochs, from the beginning or from a checkpoint."""

    def __init__(self, recipe: Recipe, data: TrainingData, team: Team, watch: Watch) -> None:
        self._recipe, self._team, self._watch = recipe, team, watch
        self._data = data
        self._base = self._base_of(data)
        self._train, self._valid = self._rows_of(data)
        self._lengths = np.diff(self._train.texts.offsets)
        self._net = _new_net(recipe, data, self._base)
        if team.rank == 0 and not watch.start:  # the others follow it
            _give_vectors(self._net, recipe, data)
        self._net.to(team.device)
        config = recipe.train
        self._loop = Loop(
            self._net,
            config,
            team,
            num_steps=config.epochs * -(-len(self._train) // config.rows_per_step),
            num_ids=data.num_ids,
            seed=recipe.seed,
        )
        self.history = _history_of(watch.start)
        self._best: dict[str, Tensor] = {}
        self._best_epoch = self._steps_done = 0
        if watch.start:
            self._go_on(watch.start)
        self._clock = _Clock(len(self._train))

    @property
    def ended(self) -> bool:
        config, done = self._recipe.train, len(self.history)
        patient = not config.early_stop or done - self._best_epoch < config.early_stop
        return done >= config.epochs or not patient

    def epoch(self) -> None:
        """The steps of the epoch that are left, and its scores."""
        number = len(self.history) + 1
        steps = self._steps(number)
        for rows in steps[self._steps_done :]:
            self._loop.train_on(self._train, rows)
            self._steps_done += 1
            if self._watch.due():
                self._save()
            self._watch.on_step(number, self._steps_done / len(steps))
        self._loop.check()
        with self._loop.parameters.averaged(self._loop.step):
            loss = self._loop.mean_loss()
            scored = _epoch(
                number, loss, self._net, self._valid, self._data, self._team, self._clock
            )
            self.history.append(scored)
            if not self._best or scored.macro_f1 > self.history[self._best_epoch - 1].macro_f1:
                self._best, self._best_epoch = _copy_of(self._net), number
        self._steps_done = 0
        self._watch.on_epoch(scored)
        self._clock.lap()

    def weights(self) -> dict[str, Tensor]:
        """Of the best epoch, with what was not trained."""
        return {name: tensor.cpu() for name, tensor in self._net.state_dict().items()} | self._best

    def _steps(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        config, seed = self._recipe.train, self._recipe.seed
        order = draw(self._train.label, seed=seed, epoch=epoch, resample=config.resample)
        return cut(order, self._lengths, rows_per_step=config.rows_per_step, seed=seed, epoch=epoch)

    def _base_of(self, data: TrainingData) -> Base | None:
        if not self._recipe.model.residual:
            return None
        if self._watch.start:
            return Base.of(self._watch.start.part("base."))
        return fit_base(
            self._recipe,
            _of_ngrams(data.train),
            _of_ngrams(data.valid),
            self._team,
            num_ids=data.num_ngrams,
            num_labels=data.num_labels,
        )

    def _rows_of(self, data: TrainingData) -> tuple[Rows, Rows]:
        """The training and the valid rows as the loop takes them."""
        train, valid = data.weighted(self._recipe.train.class_weights), data.valid
        if not self._base:
            return train, valid
        return (
            replace(train, texts=replace(train.texts, ngrams=None), base=self._base.train),
            replace(valid, texts=replace(valid.texts, ngrams=None), base=self._base.valid),
        )

    def _save(self) -> None:
        self._loop.check()  # a checkpoint holds nothing that isn't a number
        tensors = {f"loop.{name}": tensor for name, tensor in self._loop.state().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        if self._base:
            tensors |= {f"base.{name}": tensor for name, tensor in self._base.tensors().items()}
        about = _about(self.history) | {
            "steps_done": self._steps_done,
            "best_epoch": self._best_epoch,
        }
        self._watch.save(Checkpoint(self._loop.step, tensors, about))

    def _go_on(self, start: Checkpoint) -> None:
        self._loop.load(start.part("loop."), step=start.step)
        self._best = start.part("best.")
        self._best_epoch, self._steps_done = start.about["best_epoch"], start.about["steps_done"]


def _new_net(recipe: Recipe, data: TrainingData, base: Base | None) -> Net:
    torch.manual_seed(recipe.seed)
    net = build_model(
        recipe.model,
        num_ids=data.num_ids,
        num_labels=data.num_labels,
        num_ngrams=data.num_ngrams,
    )
    assert isinstance(net, Net)
    if isinstance(inner := _words_of(net), WordModel):
        inner.words.spell(data.words)
    if isinstance(net, Residual):
        assert base
        net.linear.load_state_dict(base.linear)
    return net


def _give_vectors(net: Net, recipe: Recipe, data: TrainingData) -> None:
    """Let a net of words start from what their neighbours tell of them."""
    inner = _words_of(net)
    if recipe.model.vectors == "none" or not isinstance(inner, WordModel):
        return
    table = inner.words.weight
    texts = [data.train.texts, *([data.unlabelled] if data.unlabelled else [])]
    found = ppmi_vectors(texts, num_ids=len(table), size=table.shape[1], seed=recipe.seed)
    table.data = torch.from_numpy(found)


def _words_of(net: Net) -> nn.Module:
    """The net that reads words, of a residual's two."""
    return net.net if isinstance(net, Residual) else net


def _of_ngrams(rows: Rows) -> Rows:
    assert rows.texts.ngrams is not None
    return replace(rows, texts=rows.texts.ngrams)


def _copy_of(net: nn.Module) -> dict[str, Tensor]:
    """What a residual's linear part holds is the same in every epoch, and is left out."""
    return {
        name: tensor.detach().cpu().clone()
        for name, tensor in net.state_dict().items()
        if not name.startswith("linear.")
    }


def _about(history: Sequence[Epoch]) -> dict[str, Any]:
    return {"history": [epoch.as_dict() for epoch in history]}


def _history_of(start: Checkpoint | None) -> list[Epoch]:
    return [Epoch(**epoch) for epoch in start.about["history"]] if start else []


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
    number: int,
    loss: float,
    model: nn.Module,
    valid: Rows,
    data: TrainingData,
    team: Team,
    clock: _Clock,
) -> Epoch:
    rows_per_s = clock.lap()
    found = summary(validate(model, valid, num_labels=data.num_labels, team=team))
    return Epoch(number, loss, found["accuracy"], found["macro_f1"], rows_per_s)
