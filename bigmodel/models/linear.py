"""A weight for each n-gram and class; trained by `bigmodel.training.newton`, not by gradients."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.config import LinearConfig
from bigmodel.data.batches import Batch


class LinearNgrams(nn.Module):
    """scores = sum of value * weight over a text's n-grams, plus a bias."""

    def __init__(self, config: LinearConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__()
        # float16 halves the file and moves no decision; the sums are taken in float32
        self.weight = nn.Parameter(torch.zeros(num_ids, num_labels, dtype=torch.float16))
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, batch: Batch) -> Tensor:
        """[B, L]; a text without known n-grams scores the bias. Row 0 of `weight` is zero."""
        assert batch.values is not None
        rows = functional.embedding(batch.ids, self.weight).float()
        return torch.einsum("bt,btl->bl", batch.values, rows) + self.bias
