"""N-gram embeddings, averaged by their weights, then one linear layer (after fastText)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.config import BagConfig
from bigmodel.data.batches import Batch


class BagOfNgrams(nn.Module):
    """The weighted sum of a text's n-gram vectors through one linear layer."""

    def __init__(self, config: BagConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(num_ids, config.embedding_size))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.embedding_size, num_labels)
        bound = config.embedding_size**-0.5
        nn.init.uniform_(self.embedding, -bound, bound)
        nn.init.zeros_(self.output.weight)

    def forward(self, batch: Batch) -> Tensor:
        """[B, L]; padding has weight 0, so a row's scores don't depend on the other rows."""
        assert batch.values is not None
        vectors = functional.embedding_bag(
            batch.ids, self.embedding, mode="sum", per_sample_weights=batch.values
        )
        scores: Tensor = self.output(self.dropout(vectors))
        return scores
