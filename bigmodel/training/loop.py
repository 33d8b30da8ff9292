"""The plain torch loop: epochs of steps over one member's slices, and validation."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.config import TrainConfig
from bigmodel.data.batches import Batch, by_length, pad
from bigmodel.metrics import confusion
from bigmodel.text.features import Encoded
from bigmodel.training.team import Team

OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
_VALID_ROWS = 512


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The chosen optimiser; `sgd` with momentum 0.9. Fused: one pass over each table a step."""
    extra = {"momentum": 0.9} if config.optimizer == "sgd" else {}
    optimizer: torch.optim.Optimizer = OPTIMIZERS[config.optimizer](
        model.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
        **extra,
    )
    return optimizer


def make_schedule(
    optimizer: torch.optim.Optimizer, num_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Up to the learning rate over the first 5 % of the steps, then straight down to 0."""
    warm = max(1, math.ceil(0.05 * num_steps))

    def share(step: int) -> float:
        return min((step + 1) / warm, max(0.0, (num_steps - step) / max(1, num_steps - warm)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def steps(
    encoded: Encoded,
    label: npt.NDArray[np.int64],
    *,
    rows_per_step: int,
    team: Team,
    seed: int,
    epoch: int,
) -> Iterator[tuple[Batch, Tensor, npt.NDArray[np.int64]]]:
    """(this member's slice, its labels, the whole step's rows) for each step of an epoch.

    Every row stands in exactly one step, and in one member's slice of it; the order follows from
    seed and epoch alone. The last step may be smaller, and a slice of it empty.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(encoded))
    for start in range(0, len(order), rows_per_step):
        rows = order[start : start + rows_per_step]
        own = rows[team.share(len(rows))]
        yield pad(encoded, own), torch.from_numpy(label[own]), rows


def train_epoch(
    model: nn.Module,
    batches: Iterator[tuple[Batch, Tensor, npt.NDArray[np.int64]]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    row_weight: npt.NDArray[np.float32],
    team: Team,
    autocast: bool = False,
) -> float:
    """One pass; returns the weighted mean loss per row over the whole team's rows.

    `row_weight` [rows] weighs each row in the loss. Each step's gradient is the weighted sum over
    its rows over their total weight, for any number of members.
    """
    model.train()
    loss_sum = torch.zeros((), device=team.device)
    for batch, labels, rows in batches:
        batch = batch.to(team.device)
        with torch.autocast(team.device.type, torch.bfloat16, enabled=autocast):
            scores = model(batch)
        weight = row_weight[rows]
        own = torch.from_numpy(weight[team.share(len(rows))]).to(team.device)
        losses = functional.cross_entropy(scores.float(), labels.to(team.device), reduction="none")
        loss = (own * losses).sum()
        optimizer.zero_grad(set_to_none=True)
        # the team averages gradients; the factor turns the mean over members into a sum
        (loss * team.size / float(weight.sum())).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        loss_sum += loss.detach()
    return float(team.total(loss_sum)) / float(row_weight.sum())


def validate(
    model: nn.Module, encoded: Encoded, label: npt.NDArray[np.int64], *, num_labels: int, team: Team
) -> npt.NDArray[np.int64]:
    """The confusion table [L, L] over all rows, counted by the members together."""
    model.eval()
    counts = np.zeros((num_labels, num_labels), np.int64)
    groups = list(by_length(encoded, _VALID_ROWS))
    with torch.inference_mode():
        for rows in groups[team.rank :: team.size]:
            scores = model(pad(encoded, rows).to(team.device))
            counts += confusion(label[rows], scores.argmax(1).cpu().numpy(), num_labels)
    return team.total(torch.from_numpy(counts)).numpy()
