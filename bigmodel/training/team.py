"""The processes that train together, and the sums they share; one process is a team of its own."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Team:
    """One process alone."""

    rank = 0
    size = 1
    device = torch.device("cpu")

    def share(self, num_rows: int) -> slice:
        """This member's part of `num_rows` rows; the parts are contiguous and in order of rank."""
        bounds = [num_rows * rank // self.size for rank in (self.rank, self.rank + 1)]
        return slice(*bounds)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes, in place, its sum over the team."""

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes, in place, what the first member has."""

    def total(self, counts: Tensor) -> Tensor:
        """The sum over the team, of whole numbers or where the order of adding doesn't matter."""
        return counts

    def tree_total(self, parts: Sequence[Tensor]) -> Tensor:
        """The sum over the parts of all members, by a fixed binary tree over parts.

        With a power of two parts and of members, any number of members gives the same bytes.
        """
        return tree_sum(parts)


class TorchTeam(Team):
    """The members of the torch process group that is already there."""

    def __init__(self, device: torch.device) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.device = device

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        if self.size == 1:
            return
        together = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(together)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, part in zip(tensors, torch.split(together, sizes), strict=True):
            tensor.copy_(part.view_as(tensor))

    def follow(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)

    def total(self, counts: Tensor) -> Tensor:
        summed = counts.to(self.device)
        dist.all_reduce(summed)
        return summed.to(counts.device)

    def tree_total(self, parts: Sequence[Tensor]) -> Tensor:
        own = tree_sum(parts).to(self.device)
        gathered = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(gathered, own)
        return tree_sum(gathered).to(parts[0].device)


def tree_sum(parts: Sequence[Tensor]) -> Tensor:
    """The sum of at least one tensor: neighbours first, then pairs of neighbours, and so on."""
    level = list(parts)
    while len(level) > 1:
        pairs = [level[i] + level[i + 1] for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]
