"""N-gram embeddings, averaged by their weights, then one linear layer (after fastText)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.config import BagConfig
from bigmodel.data.batches import Batch
from bigmodel.models.net import Net


class BagOfNgrams(Net):
    """The weighted sum of a text's n-gram vectors through one linear layer."""

    tables = ("embedding",)

    def __init__(self, config: BagConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(num_ids, config.embedding_size))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.embedding_size, num_labels)
        bound = config.embedding_size**-0.5
        nn.init.uniform_(self.embedding, -bound, bound)
        nn.init.zeros_(self.output.weight)

    def represent(self, batch: Batch) -> Tensor:
        """[B, D]; padding has weight 0; no known n-gram gives the zero vector."""
        assert batch.values is not None
        return functional.embedding_bag(
            batch.ids, self.embedding, mode="sum", per_sample_weights=batch.values
        )

    def from_hidden(self, hidden: Tensor, batch: Batch) -> Tensor:
        scores: Tensor = self.output(self.dropout(hidden))
        return scores
