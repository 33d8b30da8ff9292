"""Word vectors, pooled over the text, then fully connected layers with ReLU."""

import torch
from torch import Tensor, nn

from bigmodel.config import MlpConfig
from bigmodel.data.batches import Batch
from bigmodel.models.words import WordModel, largest_over, mean_over


class WordMlp(WordModel):
    """Mean and maximum of a text's word vectors through hidden layers to scores."""

    def __init__(self, config: MlpConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__(config, num_ids=num_ids)
        layers: list[nn.Module] = []
        width = 2 * self.words.width
        for size in config.hidden_sizes:
            layers += [nn.Dropout(config.dropout), nn.Linear(width, size), nn.ReLU()]
            width = size
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(width, num_labels)

    def represent(self, batch: Batch) -> Tensor:
        """[B, the last hidden size]; no words are pooled to the zero vector."""
        words = batch.ids > 0
        vectors = self.words(batch.ids)
        pooled = torch.cat([mean_over(words, vectors), largest_over(words, vectors)], dim=1)
        hidden: Tensor = self.layers(pooled)
        return hidden
