"""The plain torch loop: one member's part of each step, and validation."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bigmodel.config import TrainConfig
from bigmodel.data.batches import Batch, by_length, take
from bigmodel.errors import ModelError
from bigmodel.metrics import confusion
from bigmodel.models import Net
from bigmodel.training.augment import augmented
from bigmodel.training.loss import Loss
from bigmodel.training.optimizer import Optimizer, rate
from bigmodel.training.parameters import Parameters, Renumbered, clip
from bigmodel.training.rows import Ids, Rows
from bigmodel.training.team import Team

_VALID_ROWS = 512
_LOOK = 50  # steps between two looks at the losses: on a GPU each look waits for it


class Loop:
    """Steps over rows that every member of the team knows; each computes its share of a step.

    A step's gradient is the weighted sum over its rows over their total weight, for any number of
    members. What is random follows from seed, step and rank, so that position and parameters are
    the whole state, and a run that was stopped goes on to the same bytes.
    """

    def __init__(
        self, net: Net, config: TrainConfig, team: Team, *, num_steps: int, num_ids: int, seed: int
    ) -> None:
        self.parameters = Parameters(net, Optimizer.of(config), ema=config.ema)
        self.step = 0
        self._config, self._team, self._seed, self._num_steps = config, team, seed, num_steps
        self._net, self._mixing = net, _Mixing(net)
        self._loss = Loss.of(config)
        self._renumbered = Renumbered(num_ids)
        self._autocast = config.precision == "bf16" or (
            config.precision == "auto" and team.device.type == "cuda"
        )
        self._sums = torch.zeros(2, dtype=torch.float64, device=team.device)  # of loss, of weight
        self._unseen: list[tuple[Tensor, int, Callable[[], str]]] = []
        team.follow(list(self.parameters.state().values()))

    def train_on(self, data: Rows, rows: Ids) -> None:
        """One step over the rows at these positions of `data`."""
        self.step += 1
        self._net.train()
        chance = np.random.default_rng((self._seed, self.step, 2))
        texts = augmented(take(data.texts, rows), self._config.augment, chance)
        self.parameters.begin(self._renumbered.rows(texts.ids))
        texts = replace(texts, ids=self._renumbered.place(texts.ids))
        weight = data.weight[rows]
        total = float(weight.sum())
        self._draw_from(self.step)
        own = np.arange(len(rows))[self._team.share(len(rows))]
        loss = torch.zeros((), device=self._team.device)
        for places in np.array_split(own, self._config.accumulate):
            if len(places):
                batch = data.batch(rows[places], texts, places).to(self._team.device)
                labels = self._tensor(data.label[rows[places]])
                own_weight = self._tensor(weight[places])
                part = self._losses(batch, labels, own_weight, chance).sum() / total
                part.backward()  # type: ignore[no-untyped-call]
                loss += part.detach()
        gradients = self.parameters.gradients()
        self._team.add_up([loss, *gradients])
        if self._config.clip_norm:
            clip(gradients, self._config.clip_norm)
        self.parameters.step(self.step, rate(self._config, self.step, self._num_steps))
        self._note(loss, total, partial(data.named, rows))

    def check(self) -> None:
        """ModelError where the loss of a step since the last look is no number."""
        if not self._unseen:
            return
        losses = torch.stack([loss for loss, _, _ in self._unseen]).tolist()
        unseen, self._unseen = self._unseen, []
        for loss, (_, step, named) in zip(losses, unseen, strict=True):
            if not np.isfinite(loss):
                raise ModelError(
                    f"the loss became {loss} in step {step} of {self._num_steps}, with "
                    f"{named()}; lower train.learning_rate, or set train.clip_norm"
                )

    def check_weights(self) -> None:
        """ModelError where anything isn't a number: a step with a good loss may leave that."""
        self.check()
        if not all(bool(t.isfinite().all()) for t in self.parameters.state().values()):
            raise ModelError(
                f"the weights are no numbers after step {self.step} of {self._num_steps}; lower "
                "train.learning_rate, or set train.clip_norm"
            )

    def mean_loss(self) -> float:
        """By weight of row, over the steps since the last call."""
        loss, weight = self._sums.tolist()
        self._sums.zero_()
        return float(loss / weight)

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, but for the rows; not copied."""
        return self.parameters.state() | {"sums": self._sums}

    def load(self, state: dict[str, Tensor], *, step: int) -> None:
        """Go on where `state` was taken."""
        self.parameters.load(state)
        self._sums.copy_(state["sums"])
        self.step = step

    def _losses(
        self, batch: Batch, labels: Tensor, weight: Tensor, chance: np.random.Generator
    ) -> Tensor:
        """Of each row, weighted; of a mixture both labels count with their own row's weight."""
        alpha = self._config.augment.mix_up
        share = chance.beta(alpha, alpha) if alpha else 1.0
        other = torch.randperm(len(labels)).to(self._team.device) if alpha else None
        with torch.autocast(self._team.device.type, torch.bfloat16, enabled=self._autocast):
            scores = self.parameters.call(self._mixing, batch, other, share).float()
        losses = weight * self._loss(scores, labels)
        if other is None:
            return losses
        return share * losses + (1 - share) * weight[other] * self._loss(scores, labels[other])

    def _note(self, loss: Tensor, weight: float, named: Callable[[], str]) -> None:
        self._sums += torch.stack([loss.double() * weight, torch.full_like(self._sums[0], weight)])
        self._unseen.append((loss, self.step, named))
        if len(self._unseen) >= _LOOK:
            self.check()

    def _draw_from(self, step: int) -> None:
        """What this member drops in a step follows from its number alone."""
        seed = int(np.random.SeedSequence((self._seed, step, self._team.rank)).generate_state(1)[0])
        torch.default_generator.manual_seed(seed)
        if self._team.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _tensor(self, values: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self._team.device, non_blocking=True)


class _Mixing(nn.Module):
    """The net, with two texts of a batch mixed before the last layer where that is wanted."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch, other: Tensor | None, share: float) -> Tensor:
        if other is None:
            scores: Tensor = self.net(batch)
            return scores

        def mixed(values: Tensor) -> Tensor:
            return share * values + (1 - share) * values[other]

        base = None if batch.base is None else mixed(batch.base)
        return self.net.from_hidden(mixed(self.net.represent(batch)), replace(batch, base=base))


def validate(model: nn.Module, data: Rows, *, num_labels: int, team: Team) -> Ids:
    """The confusion table [L, L] over all rows, counted by the members together."""
    model.eval()
    counts = np.zeros((num_labels, num_labels), np.int64)
    groups = list(by_length(data.texts, _VALID_ROWS))
    with torch.inference_mode():
        for rows in groups[team.rank :: team.size]:
            scores = model(data.batch(rows, data.texts, rows).to(team.device))
            counts += confusion(data.label[rows], scores.argmax(1).cpu().numpy(), num_labels)
    return team.total(torch.from_numpy(counts)).numpy()
