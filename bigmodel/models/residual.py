"""A linear model of n-grams and a net of words that learns what the linear one leaves over."""

import torch
from torch import Tensor, nn

from bigmodel.data.batches import Batch
from bigmodel.models.linear import LinearNgrams
from bigmodel.models.net import Net


class Residual(Net):
    """scores = net + scale * linear; the linear part isn't trained by gradients.

    What the linear part says is `batch.base` where that is given, as in training, where it comes
    from a model that hasn't seen the row; otherwise `linear` says it from `batch.ngrams`.
    """

    def __init__(self, net: Net, linear: LinearNgrams) -> None:
        super().__init__()
        self.net: Net = net
        self.linear = linear.requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.tables = tuple(f"net.{name}" for name in net.tables)

    def begin_with(self, scale: float) -> None:
        """Before training: say what the linear part says, `scale` times."""
        nn.init.constant_(self.scale, scale)
        nn.init.zeros_(self.net.output.weight)
        nn.init.zeros_(self.net.output.bias)

    def represent(self, batch: Batch) -> Tensor:
        return self.net.represent(batch)

    def from_hidden(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.net.from_hidden(hidden, batch) + self.scale * self._base(batch)

    def _base(self, batch: Batch) -> Tensor:
        if batch.base is not None:
            return batch.base
        assert batch.ngrams is not None
        base: Tensor = self.linear(batch.ngrams)
        return base
