"""One-vs-rest squared hinge with L2, solved by truncated Newton for all classes in lock-step.

For each class: half the squared norm of u plus C times the sum over rows of
weight * max(0, 1 - y z)**2, with z = x . (r * u); r is 1, or the naive-Bayes log ratio of Wang and
Manning (2012). Column 0 of x is the bias: always 1, regularised, with r = 1. All classes stop
together: one that stopped by itself would make its scores incomparable to the others'.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bigmodel.text.features import Encoded
from bigmodel.training.team import Team

BLOCKS = (
    8  # leaves of the tree of sums, over all workers: 1, 2, 4 and 8 workers agree in every byte
)
_CG_STEPS = 15
_CG_TOLERANCE = 0.1
_HALVINGS = 12


@dataclass(frozen=True)
class Block:
    """Some rows: x [n, D] and its transpose as CSR, y [n, K] of -1 and 1, weights [n, 1]."""

    x: Tensor
    xt: Tensor
    y: Tensor
    weight: Tensor


@dataclass(frozen=True)
class State:
    """All that the solver needs to go on after outer step `number`.

    u [D, K]; first_norms [K]: the norms of the gradient at 0, which "small" is measured by.
    """

    number: int
    u: Tensor
    first_norms: Tensor


@dataclass(frozen=True)
class Step:
    """After an outer step: weights r * u [D, K], row 0 the bias, and the loss by weight of row."""

    state: State
    weights: Tensor
    loss: float

    @property
    def number(self) -> int:
        return self.state.number


def minimise(
    blocks: list[Block],
    team: Team,
    *,
    c: float,
    nb: bool,
    max_steps: int,
    tolerance: float,
    on_step: Callable[[Step], None],
    start: State | None = None,
) -> Tensor:
    """This member's blocks -> the weights r * u [D, K], the same on every member.

    From `start`, a state of the same rows and settings, it goes on to the same bytes as a run that
    was never stopped.
    """
    ratio = _nb_ratio(blocks, team) if nb else torch.ones(1)
    total_weight = float(team.tree_total([block.weight.sum() for block in blocks]))
    u = start.u if start else torch.zeros(blocks[0].x.shape[1], blocks[0].y.shape[1])
    first_norms = start.first_norms if start else None
    for number in range(start.number + 1 if start else 1, max_steps + 1):
        margins = [b.x @ (ratio * u) for b in blocks]
        slack = [(1 - b.y * z).clamp(min=0) for b, z in zip(blocks, margins, strict=True)]
        pull = [b.weight * b.y * s for b, s in zip(blocks, slack, strict=True)]
        gradient = u - 2 * c * ratio * _back(blocks, pull, team)
        norms = gradient.norm(dim=0)
        first_norms = norms if first_norms is None else first_norms
        if bool((norms <= tolerance * first_norms).all()):
            break
        active = [b.weight * (s > 0) for b, s in zip(blocks, slack, strict=True)]
        direction = _newton_direction(blocks, team, gradient, active, ratio, c)
        ahead = [b.x @ (ratio * direction) for b in blocks]
        size, loss = _line_search(blocks, team, u, direction, gradient, margins, ahead, c)
        if not bool((size > 0).any()):  # no class can go on in float32
            break
        u = u + size * direction
        state = State(number, u, first_norms)
        on_step(Step(state, ratio * u, float(loss.sum()) / total_weight))
    return ratio * u


def _newton_direction(
    blocks: list[Block], team: Team, gradient: Tensor, active: list[Tensor], ratio: Tensor, c: float
) -> Tensor:
    """Conjugate gradients on (I + 2C R X'DX R) d = -gradient, a class at rest once it is solved."""
    direction = torch.zeros_like(gradient)
    residual = -gradient
    search = residual.clone()
    squared = (residual * residual).sum(0)
    goal = _CG_TOLERANCE**2 * squared
    for _ in range(_CG_STEPS):
        going = squared > goal
        if not bool(going.any()):
            break
        products = [a * (b.x @ (ratio * search)) for a, b in zip(active, blocks, strict=True)]
        bent = search + 2 * c * ratio * _back(blocks, products, team)
        step = torch.where(going, squared / (search * bent).sum(0).clamp(min=1e-30), 0.0)
        direction = direction + step * search
        residual = residual - step * bent
        previous, squared = squared, (residual * residual).sum(0)
        search = residual + (squared / previous.clamp(min=1e-30)) * search
    return direction


def _line_search(
    blocks: list[Block],
    team: Team,
    u: Tensor,
    direction: Tensor,
    gradient: Tensor,
    margins: list[Tensor],
    ahead: list[Tensor],
    c: float,
) -> tuple[Tensor, Tensor]:
    """(step size, objective) of each class: halved until the objective falls enough (Armijo).

    Needs no pass over x: margins are linear in the step.
    """

    def objective(size: Tensor) -> Tensor:
        hinge = [
            (b.weight * (1 - b.y * (z + size * a)).clamp(min=0) ** 2).double().sum(0)
            for b, z, a in zip(blocks, margins, ahead, strict=True)
        ]
        return 0.5 * ((u + size * direction) ** 2).double().sum(0) + c * team.tree_total(hinge)

    slope = (gradient * direction).sum(0).double()
    start = objective(torch.zeros_like(direction[0]))
    size = torch.ones_like(direction[0])
    found = objective(size)
    for _ in range(_HALVINGS):
        poor = found > start + 0.01 * size * slope
        if not bool(poor.any()):
            return size, found
        size = torch.where(poor, size / 2, size)
        found = objective(size)
    poor = found > start
    return torch.where(poor, 0.0, size), torch.where(poor, start, found)


def _back(blocks: list[Block], rows: list[Tensor], team: Team) -> Tensor:
    """The sum over all rows of the team of x' times rows: [D, K]."""
    return team.tree_total([b.xt @ r for b, r in zip(blocks, rows, strict=True)])


def _nb_ratio(blocks: list[Block], team: Team) -> Tensor:
    """[D, K]: ln of a feature's smoothed share in a class over its share in the others.

    Every text counts once whatever its weight, as in the document frequencies.
    """
    present = [_binary(b.xt) for b in blocks]
    inside = team.tree_total([p @ (b.y > 0).float() for p, b in zip(present, blocks, strict=True)])
    total = team.tree_total([p @ torch.ones(p.shape[1], 1) for p in present])
    p, q = inside + 1, total - inside + 1
    ratio = torch.log((p / p[1:].sum(0)) / (q / q[1:].sum(0)))
    ratio[0] = 1  # the bias
    return ratio


def _binary(x: Tensor) -> Tensor:
    ones = np.ones(len(x.values()), np.float32)
    return _sparse(
        x.crow_indices().numpy(), x.col_indices().numpy(), ones, (x.shape[0], x.shape[1])
    )


def make_blocks(
    encoded: Encoded,
    label: npt.NDArray[np.int64],
    *,
    num_ids: int,
    num_columns: int,
    weight: npt.NDArray[np.float32],
    team: Team,
) -> list[Block]:
    """This member's share of the team's BLOCKS blocks of rows (more where the team is larger).

    `num_columns` 1: column k tells class 1 from class 0; else column k tells class k from the rest.
    """
    num_blocks = BLOCKS
    while num_blocks < team.size:
        num_blocks *= 2
    bounds = np.linspace(0, len(label), num_blocks + 1).astype(np.int64)
    blocks = []
    for number in range(num_blocks)[team.share(num_blocks)]:
        rows = slice(int(bounds[number]), int(bounds[number + 1]))
        x = _csr(encoded, rows, num_ids)
        classes = np.arange(num_columns) if num_columns > 1 else np.array([1])
        y = np.where(label[rows, None] == classes, 1, -1).astype(np.float32)
        w = torch.from_numpy(weight[rows, None])
        blocks.append(Block(x, _transposed(x), torch.from_numpy(y), w))
    return blocks


def _csr(encoded: Encoded, rows: slice, num_ids: int) -> Tensor:
    """Rows as CSR [n, num_ids] with the bias, 1, in column 0 (no text has the id 0)."""
    assert encoded.values is not None
    offsets = encoded.offsets[rows.start : rows.stop + 1]
    inner = slice(int(offsets[0]), int(offsets[-1]))
    starts = (offsets[:-1] - offsets[0]).astype(np.int64)
    ids = np.insert(encoded.ids[inner], starts, 0)
    values = np.insert(encoded.values[inner], starts, 1.0)
    crow = offsets - offsets[0] + np.arange(len(offsets))
    return _sparse(crow, ids, values, (len(offsets) - 1, num_ids))


def _transposed(x: Tensor) -> Tensor:
    """The transpose as CSR of its own: `.t()` on each product would convert it each time."""
    column = x.col_indices().numpy()
    counts = np.diff(x.crow_indices().numpy())
    order = np.argsort(column, kind="stable")
    crow = np.zeros(x.shape[1] + 1, np.int32)
    np.cumsum(np.bincount(column, minlength=x.shape[1]), out=crow[1:])
    row = np.repeat(np.arange(x.shape[0], dtype=np.int32), counts)[order]
    values = x.values().numpy()[order]
    return _sparse(crow, row, values, (x.shape[1], x.shape[0]))


def _sparse(
    crow: npt.NDArray[Any],
    column: npt.NDArray[Any],
    values: npt.NDArray[Any],
    shape: tuple[int, int],
) -> Tensor:
    """CSR with int32 positions; with 10 classes its products take a quarter of scipy's time."""
    with warnings.catch_warnings():  # torch calls CSR "beta"; products of them have been stable
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(crow.astype(np.int32)),
            torch.from_numpy(column.astype(np.int32)),
            torch.from_numpy(values.astype(np.float32)),
            size=shape,
            check_invariants=True,
        )
