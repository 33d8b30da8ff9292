"""One-vs-rest squared hinge with L2, solved by truncated Newton for all classes in lock-step.

For each class: half the squared norm of u plus C times the sum over rows of
weight * max(0, 1 - y z)**2, with z = x . (r * u); r is 1, or the naive-Bayes log ratio of Wang and
Manning (2012). Column 0 of x is the bias: always 1, regularised, with r = 1. All classes stop
together: one that stopped by itself would make its scores incomparable to the others'.

There are more n-grams than rows, so the solver knows u, its gradients and directions only as rows
[n, K]: `a` stands for (x * r)' a, and the product of two of them is a . (M b) with M = (x * r)
(x * r)'. Each M b takes one pass over x and one over x'; the members of a team share the columns
of x and sum what is as long as the rows.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

from bigmodel.text.features import Encoded
from bigmodel.training.team import Team

BLOCKS = (
    8  # leaves of the tree of sums, over all workers: 1, 2, 4 and 8 workers agree in every byte
)
_CG_STEPS = 30
_CG_TOLERANCE = 0.3
_HALVINGS = 12


@dataclass(frozen=True)
class Block:
    """The columns `ids` of all rows: x [n, d] and its transpose as CSR."""

    ids: slice
    x: Tensor
    xt: Tensor


@dataclass(frozen=True)
class Problem:
    """All rows, y [n, K] of -1 and 1, weight [n, 1], and this member's blocks of their columns.

    `squares`: r * r of each block, [d, K] or, where all are 1, [1, 1].
    """

    blocks: list[Block]
    squares: list[Tensor]
    y: Tensor
    weight: Tensor
    num_ids: int
    team: Team

    def gram(self, rows: Tensor) -> Tensor:
        """M times rows: [n, K]."""
        products = [
            block.x @ (block.xt @ rows).mul_(square)
            for block, square in zip(self.blocks, self.squares, strict=True)
        ]
        return self.team.tree_total(products)

    def weights(self, rows: Tensor) -> Tensor:
        """r * u [D, K] of the u that the rows stand for; row 0 is the bias."""
        own = torch.zeros(self.num_ids, rows.shape[1])
        for block, square in zip(self.blocks, self.squares, strict=True):
            own[block.ids] = (block.xt @ rows).mul_(square)
        return self.team.tree_total([own])


@dataclass(frozen=True)
class State:
    """All that the solver needs to go on after outer step `number`.

    u as rows [n, K]; `fall` [K]: the share of each class's objective that the last step took off.
    """

    number: int
    u: Tensor
    fall: Tensor


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
    problem: Problem,
    *,
    c: float,
    max_steps: int,
    tolerance: float,
    on_step: Callable[[Step], None],
    start: State | None = None,
) -> Tensor:
    """The weights r * u [D, K], the same on every member.

    It ends after a step that took no more than the share `tolerance` off any class's objective.
    From `start`, a state of the same problem and settings, it goes on to the same bytes as a run
    that was never stopped.
    """
    y, cost = problem.y, 2 * c * problem.weight
    state = start or State(0, torch.zeros_like(y), torch.ones(y.shape[1]))
    while state.number < max_steps and bool((state.fall > tolerance).any()):
        u = state.u
        margins = problem.gram(u)
        curvature = cost * (y * margins < 1)
        residual = curvature * (y - margins) - u  # the gradient's opposite
        direction, ahead = _newton_direction(problem, residual, curvature)
        slope = -_dot(residual, ahead)
        before = _objective(problem, c, margins, _dot(u, margins))
        size, loss = _line_search(problem, c, u, margins, direction, ahead, slope)
        if not bool((size > 0).any()):  # no class can go on in float32
            break
        state = State(state.number + 1, u + size * direction, 1 - loss / before)
        share = float(loss.sum() / problem.weight.sum())
        on_step(Step(state, problem.weights(state.u), share))
    return problem.weights(state.u)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """[K] float64."""
    return (one.double() * other).sum(0)


def _newton_direction(
    problem: Problem, residual: Tensor, curvature: Tensor
) -> tuple[Tensor, Tensor]:
    """(d, M d) by conjugate gradients on (I + (x * r)' D (x * r)) d = residual.

    D is the curvature [n, K]; a class rests once it is solved.
    """
    direction, ahead = torch.zeros_like(residual), torch.zeros_like(residual)
    bent = problem.gram(residual)
    search, search_bent = residual, bent
    squared = _dot(residual, bent)
    goal = _CG_TOLERANCE**2 * squared
    for _ in range(_CG_STEPS):
        going = squared > goal
        if not bool(going.any()):
            break
        image = search + curvature * search_bent
        step = squared / _dot(image, search_bent).clamp(min=1e-30)
        step = torch.where(going, step, 0.0).float()
        direction = direction + step * search
        ahead = ahead + step * search_bent
        residual = residual - step * image
        bent = problem.gram(residual)
        previous, squared = squared, _dot(residual, bent)
        turn = (squared / previous.clamp(min=1e-30)).float()
        search = residual + turn * search
        search_bent = bent + turn * search_bent
    return direction, ahead


def _objective(problem: Problem, c: float, margins: Tensor, norm: Tensor) -> Tensor:
    """[K] float64, from the squared norm of u."""
    slack = (1 - problem.y * margins).clamp(min=0)
    return 0.5 * norm + c * _dot(problem.weight * slack, slack)


def _line_search(
    problem: Problem,
    c: float,
    u: Tensor,
    margins: Tensor,
    direction: Tensor,
    ahead: Tensor,
    slope: Tensor,
) -> tuple[Tensor, Tensor]:
    """(step size, objective) of each class: halved until the objective falls enough (Armijo).

    Needs no pass over x: margins are linear in the step.
    """
    norms = [_dot(u, margins), 2 * _dot(u, ahead), _dot(direction, ahead)]

    def objective(size: Tensor) -> Tensor:
        norm = norms[0] + size * norms[1] + size * size * norms[2]
        return _objective(problem, c, margins + size * ahead, norm)

    start = objective(torch.zeros(len(slope)))
    size = torch.ones(len(slope))
    found = objective(size)
    for _ in range(_HALVINGS):
        poor = found > start + 0.01 * size * slope
        if not bool(poor.any()):
            return size, found
        size = torch.where(poor, size / 2, size)
        found = objective(size)
    poor = found > start
    return torch.where(poor, 0.0, size), torch.where(poor, start, found)


def _nb_ratio(blocks: list[Block], y: Tensor, team: Team) -> list[Tensor]:
    """[d, K]: ln of a feature's smoothed share in a class over its share in the others.

    Every text counts once whatever its weight, as in the document frequencies.
    """
    present = [_binary(block.xt) for block in blocks]
    shares = []
    for chosen in ((y > 0).float(), (y < 0).float()):
        counts = [p @ chosen + 1 for p in present]
        for block, count in zip(blocks, counts, strict=True):
            count[: block.ids.start == 0] = 0  # the bias is no feature
        total = team.tree_total([count.sum(0) for count in counts])
        shares.append([count / total for count in counts])
    ratios = [torch.log(inside / outside) for inside, outside in zip(*shares, strict=True)]
    for block, ratio in zip(blocks, ratios, strict=True):
        ratio[: block.ids.start == 0] = 1
    return ratios


def _binary(x: Tensor) -> Tensor:
    ones = np.ones(len(x.values()), np.float32)
    return _sparse(
        x.crow_indices().numpy(), x.col_indices().numpy(), ones, (x.shape[0], x.shape[1])
    )


def make_problem(
    encoded: Encoded,
    label: npt.NDArray[np.int64],
    *,
    num_ids: int,
    num_columns: int,
    weight: npt.NDArray[np.float32],
    nb: bool,
    team: Team,
) -> Problem:
    """This member's share of the team's BLOCKS blocks of columns (more where the team is larger).

    `num_columns` 1: column k tells class 1 from class 0; else column k tells class k from the rest.
    """
    classes = np.arange(num_columns) if num_columns > 1 else np.array([1])
    y = np.where(label[:, None] == classes, 1, -1).astype(np.float32)
    xt = _csr(encoded, num_ids).T.tocsr()
    bounds = _bounds(encoded, num_ids, team)
    blocks = []
    for number in range(len(bounds) - 1)[team.share(len(bounds) - 1)]:
        ids = slice(int(bounds[number]), int(bounds[number + 1]))
        part = xt[ids]
        blocks.append(Block(ids, _tensor(part.T.tocsr()), _tensor(part)))
    sides, per_row = torch.from_numpy(y), torch.from_numpy(weight[:, None])
    ratios = _nb_ratio(blocks, sides, team) if nb else [torch.ones(1, 1) for _ in blocks]
    return Problem(blocks, [r * r for r in ratios], sides, per_row, num_ids, team)


def _bounds(encoded: Encoded, num_ids: int, team: Team) -> npt.NDArray[np.int64]:
    """Where the blocks of columns begin, and the end: blocks of about as many entries."""
    num_blocks = BLOCKS
    while num_blocks < team.size:
        num_blocks *= 2
    entries = np.cumsum(1 + np.bincount(encoded.ids, minlength=num_ids))
    inner = np.searchsorted(entries, entries[-1] * np.arange(1, num_blocks) / num_blocks)
    return np.concatenate([[0], inner, [num_ids]])


def _csr(encoded: Encoded, num_ids: int) -> csr_array:
    """Rows as CSR [n, num_ids] with the bias, 1, in column 0 (no text has the id 0)."""
    assert encoded.values is not None
    starts = encoded.offsets[:-1]
    ids = np.insert(encoded.ids, starts, 0)
    values = np.insert(encoded.values, starts, 1.0)
    crow = encoded.offsets + np.arange(len(encoded.offsets))
    return csr_array((values, ids, crow), (len(encoded), num_ids))


def _tensor(x: csr_array) -> Tensor:
    return _sparse(x.indptr, x.indices, x.data, x.shape)


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
