"""What is trained of a model: one flat buffer of all dense tensors, and tables whose rows move."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import functional_call

from bigmodel.models.net import Net
from bigmodel.training.optimizer import Optimizer

Ids = npt.NDArray[np.int64]


class Parameters:
    """A net's parameters with their moments and, with `ema`, their running average.

    Of a table only the rows that a step touches move: they are taken out as a small leaf, and the
    ids of the step's texts are renumbered to it. What a row would lose by the average's decay while
    it rests is made up for when it is touched again, so the average is that of every step.
    """

    def __init__(self, net: Net, optimizer: Optimizer, *, ema: float) -> None:
        self.net, self._optimizer, self._ema = net, optimizer, ema
        named = dict(net.named_parameters())
        self._lookups = {n: b for n, b in net.named_buffers() if n in net.tables}
        self._tables = {name: named[name].data for name in net.tables if name in named}
        dense = {n: p for n, p in named.items() if n not in self._tables and p.requires_grad}
        self.flat = torch.cat([p.data.reshape(-1) for p in dense.values()])
        self.gradient = torch.zeros_like(self.flat)
        self._decayed = torch.zeros_like(self.flat)  # biases and scales keep their size
        place = 0
        for parameter in dense.values():
            span = slice(place, place + parameter.numel())
            self._decayed[span] = float(parameter.dim() > 1)
            parameter.data = self.flat[span].view_as(parameter)
            parameter.grad = self.gradient[span].view_as(parameter)
            place = span.stop
        self._trained = {"": self.flat, **self._tables}
        self._moments = {name: optimizer.moments(t) for name, t in self._trained.items()}
        self._average = {n: torch.zeros_like(t) for n, t in self._trained.items()} if ema else {}
        ids = next(iter(self._tables.values())).shape[0] if self._tables else 0
        self._touched_at = torch.zeros(ids, dtype=torch.int64, device=self.flat.device)
        self._rows = torch.zeros(0, dtype=torch.int64, device=self.flat.device)
        self._leaves: dict[str, Tensor] = {}
        self._looked_up: dict[str, Tensor] = {}

    def begin(self, rows: Ids) -> None:
        """A step that touches `rows` of the tables, the first of them row 0."""
        self.gradient.zero_()
        self._rows = torch.from_numpy(rows).to(self.flat.device, non_blocking=True)
        self._leaves = {
            name: table.index_select(0, self._rows).requires_grad_()
            for name, table in self._tables.items()
        }
        self._looked_up = {name: t.index_select(0, self._rows) for name, t in self._lookups.items()}

    def call(self, module: torch.nn.Module, *arguments: Any) -> Tensor:
        """A module that has the net as `net`, with the step's rows in place of its tables."""
        given = {f"net.{name}": t for name, t in (self._leaves | self._looked_up).items()}
        scores: Tensor = functional_call(module, given, arguments)
        return scores

    def gradients(self) -> list[Tensor]:
        """What the team has to add up: the dense gradient, and those of the touched rows."""
        return [self.gradient, *(_gradient_of(leaf) for leaf in self._leaves.values())]

    def step(self, number: int, rate: float) -> None:
        """Apply the gradients in step `number` (from 1)."""
        about: dict[str, Any] = {"step": number, "rate": rate}
        dense = self._moments[""]
        self._optimizer.update(self.flat, self.gradient, dense, decayed=self._decayed, **about)
        if self._ema:
            self._average[""].lerp_(self.flat, 1 - self._ema)
        for name, leaf in self._leaves.items():
            gradient = _gradient_of(leaf)
            gradient[0] = 0  # padding
            values, before = leaf.detach(), leaf.detach().clone() if self._ema else None
            moments = [m.index_select(0, self._rows) for m in self._moments[name]]
            self._optimizer.update(values, gradient, moments, decayed=1.0, **about)
            self._tables[name].index_copy_(0, self._rows, values)
            for moment, rows in zip(self._moments[name], moments, strict=True):
                moment.index_copy_(0, self._rows, rows)
            if before is not None:
                average = self._average[name].index_select(0, self._rows)
                rested = self._ema ** (number - 1 - self._touched_at[self._rows]).float()
                average = torch.lerp(before, average, rested[:, None]).lerp_(values, 1 - self._ema)
                self._average[name].index_copy_(0, self._rows, average)
        self._touched_at[self._rows] = number

    @contextmanager
    def averaged(self, number: int) -> Iterator[None]:
        """The net as the average over the first `number` steps, where there is one."""
        if not self._ema:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self._trained.items()}
        rested = self._ema ** (number - self._touched_at).float()[:, None]
        for name, tensor in self._trained.items():
            average = self._average[name]
            if name:
                average = torch.lerp(tensor, average, rested)
            tensor.copy_(average / (1 - self._ema**number))
            if name:  # what no step touched has no average but itself
                torch.where(self._touched_at[:, None] > 0, tensor, own[name], out=tensor)
        try:
            yield
        finally:
            for name, tensor in self._trained.items():
                tensor.copy_(own[name])

    def state(self) -> dict[str, Tensor]:
        """All of it by name, as it stands; not copied."""
        found = {f"value.{name}": tensor for name, tensor in self._trained.items()}
        for name, moments in self._moments.items():
            found |= {f"moment{i}.{name}": moment for i, moment in enumerate(moments)}
        found |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        return found | {"touched_at": self._touched_at}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave in another process."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class Renumbered:
    """Finds the distinct ids of a step and numbers them anew, by a flag and a place for each id."""

    def __init__(self, num_ids: int) -> None:
        self._flag = np.zeros(num_ids, np.bool_)
        self._place = np.zeros(num_ids, np.int32)

    def rows(self, ids: npt.NDArray[np.int32]) -> Ids:
        """0 and the distinct ids, rising: what `place` counts in from now on."""
        self._flag[ids] = True
        self._flag[0] = True
        rows = np.flatnonzero(self._flag)
        self._flag[rows] = False
        self._place[rows] = np.arange(len(rows), dtype=np.int32)
        return rows

    def place(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        return self._place[ids]


def clip(gradients: Sequence[Tensor], norm: float) -> None:
    """Scale the gradients, as one vector, down to the length `norm` where they are longer."""
    length = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    scale = (norm / length.clamp(min=1e-12)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(scale)


def _gradient_of(leaf: Tensor) -> Tensor:
    if leaf.grad is None:
        leaf.grad = torch.zeros_like(leaf)
    return leaf.grad
