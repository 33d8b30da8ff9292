"""Word embeddings, pooled over the text, then fully connected layers with ReLU."""

import torch
from torch import Tensor, nn

from bigmodel.config import MlpConfig
from bigmodel.data.batches import Batch


class WordMlp(nn.Module):
    """Mean and maximum of a text's word vectors through hidden layers to scores."""

    def __init__(self, config: MlpConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_ids, config.embedding_size, padding_idx=0)
        nn.init.normal_(
            self.embedding.weight, std=0.1
        )  # rare words hardly move: let them say little
        nn.init.zeros_(self.embedding.weight[:1])
        layers: list[nn.Module] = []
        width = 2 * config.embedding_size
        for size in config.hidden_sizes:
            layers += [nn.Dropout(config.dropout), nn.Linear(width, size), nn.ReLU()]
            width = size
        layers += [nn.Dropout(config.dropout), nn.Linear(width, num_labels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, batch: Batch) -> Tensor:
        """[B, L]; padding takes part in neither mean nor maximum; no words give the zero vector."""
        words = (batch.ids > 0).unsqueeze(-1)
        vectors = self.embedding(batch.ids)
        mean = vectors.sum(1) / words.sum(1).clamp(min=1)
        largest = vectors.masked_fill(~words, -torch.inf).amax(1)
        largest = torch.where(words.any(1), largest, 0.0)
        scores: Tensor = self.layers(torch.cat([mean, largest], dim=1))
        return scores
