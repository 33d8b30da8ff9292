"""A net's epochs, from the beginning or from a checkpoint."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from bigmodel.config import Recipe
from bigmodel.models import Net, Residual
from bigmodel.models.words import WordModel
from bigmodel.training.base import Base, fit_base
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.loop import Loop
from bigmodel.training.order import cut, draw
from bigmodel.training.rows import Ids, Rows, StoredRows, TrainingData, Window
from bigmodel.training.team import Team
from bigmodel.training.vectors import ppmi_vectors
from bigmodel.training.watch import Clock, Watch, Weights, epoch_of, history_of, with_history


def fit_net(recipe: Recipe, data: TrainingData, team: Team, watch: Watch) -> Weights:
    run = NetRun(recipe, data, team, watch)
    while not run.ended:
        run.epoch()
    return Weights(run.weights(), tuple(run.history))


class NetRun:
    """A net's epochs, from the beginning or from a checkpoint."""

    def __init__(self, recipe: Recipe, data: TrainingData, team: Team, watch: Watch) -> None:
        self._recipe, self._team, self._watch = recipe, team, watch
        self._num_labels = data.num_labels
        self._base = self._base_of(data)
        self._train, self._valid = self._rows_of(data)
        self._windows = self._train.windows
        self._num_steps = sum(map(self._steps_of, self._windows))  # of an epoch
        self._net = _new_net(recipe, data, self._base)
        if team.rank == 0 and not watch.start:  # the others follow it
            if recipe.model.vectors != "none":
                watch.on_note("word vectors")
                _give_vectors(self._net, recipe, data)
            watch.on_note("")
        self._net.to(team.device)
        config = recipe.train
        self._loop = Loop(
            self._net,
            config,
            team,
            num_steps=config.epochs * self._num_steps,
            num_ids=data.num_ids,
            seed=recipe.seed,
        )
        self.history = history_of(watch.start)
        self._best: dict[str, Tensor] = {}
        self._best_epoch = self._steps_done = 0
        if watch.start:
            self._go_on(watch.start)
        self._clock = Clock(len(self._train))

    @property
    def ended(self) -> bool:
        config, done = self._recipe.train, len(self.history)
        patient = not config.early_stop or done - self._best_epoch < config.early_stop
        return done >= config.epochs or not patient

    def epoch(self) -> None:
        """The steps of the epoch that are left, and its scores."""
        number = len(self.history) + 1
        for data, rows in self._steps_left(number):
            self._loop.train_on(data, rows)
            self._steps_done += 1
            if self._watch.due():
                self._save()
            self._watch.on_step(self._steps_done / self._num_steps)
        self._loop.check()
        with self._loop.parameters.averaged(self._loop.step):
            loss = self._loop.mean_loss()
            ended = epoch_of(
                number,
                loss,
                self._net,
                self._valid,
                self._team,
                self._clock,
                num_labels=self._num_labels,
            )
            self.history.append(ended)
            if not self._best or ended.macro_f1 > self.history[self._best_epoch - 1].macro_f1:
                self._best, self._best_epoch = _copy_of(self._net), number
        self._steps_done = 0
        self._watch.on_epoch(ended)
        self._clock.lap()

    def weights(self) -> dict[str, Tensor]:
        """Of the best epoch, with what was not trained."""
        return {name: tensor.cpu() for name, tensor in self._net.state_dict().items()} | self._best

    def _steps_of(self, window: Rows | Window) -> int:
        return -(-len(window) // self._recipe.train.rows_per_step)

    def _steps_left(self, epoch: int) -> Iterator[tuple[Rows, Ids]]:
        """Rows in memory, and which of them make the next step; windows in an order of chance."""
        config, seed = self._recipe.train, self._recipe.seed
        skipped = self._steps_done
        for number in np.random.default_rng((seed, epoch, 5)).permutation(len(self._windows)):
            window = self._windows[number]
            if skipped >= self._steps_of(window):
                skipped -= self._steps_of(window)
                continue
            data = window.load()
            chance = (seed, epoch, int(number))
            order = draw(data.label, chance, resample=config.resample)
            lengths = np.diff(data.texts.offsets)
            for rows in cut(order, lengths, chance, rows_per_step=config.rows_per_step)[skipped:]:
                yield data, rows
            skipped = 0

    def _base_of(self, data: TrainingData) -> Base | None:
        if not self._recipe.model.residual:
            return None
        if self._watch.start:
            return Base.of(self._watch.start.part("base."))
        assert isinstance(data.train, Rows)
        return fit_base(
            self._recipe,
            _of_ngrams(data.train),
            _of_ngrams(data.valid),
            self._team,
            weight=data.weighted(self._recipe.train.class_weights).weight,
            num_ids=data.num_ngrams,
            num_labels=data.num_labels,
            on_note=self._watch.on_note,
        )

    def _rows_of(self, data: TrainingData) -> tuple[Rows | StoredRows, Rows]:
        """The training and the valid rows as the loop takes them."""
        valid, class_weights = data.valid, self._recipe.train.class_weights
        if not self._base:
            return data.weighted(class_weights), valid
        train = data.in_memory(class_weights)
        return (
            replace(train, texts=replace(train.texts, ngrams=None), base=self._base.train),
            replace(valid, texts=replace(valid.texts, ngrams=None), base=self._base.valid),
        )

    def _save(self) -> None:
        self._loop.check_weights()
        tensors = {f"loop.{name}": tensor for name, tensor in self._loop.state().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        if self._base:
            tensors |= {f"base.{name}": tensor for name, tensor in self._base.tensors().items()}
        about = with_history(self.history) | {
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
    net = data.new_model(recipe.model)
    assert isinstance(net, Net)
    if isinstance(inner := _words_of(net), WordModel):
        inner.words.spell(data.words)
    if isinstance(net, Residual):
        assert base
        net.linear.load_state_dict(base.linear)
        net.begin_with(base.scale)
    return net


def _give_vectors(net: Net, recipe: Recipe, data: TrainingData) -> None:
    """Let a net of words start from what their neighbours tell of them."""
    inner = _words_of(net)
    assert isinstance(inner, WordModel), "a recipe refuses vectors for other kinds"
    table = inner.words.weight
    more = [data.unlabelled] if data.unlabelled else []
    texts = chain(data.train.each_text(), more)
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
