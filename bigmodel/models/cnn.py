"""Convolutions of several widths over word vectors, their maximum over the text (Kim 2014)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.config import CnnConfig
from bigmodel.data.batches import Batch
from bigmodel.models.words import WordModel, largest_over, mean_over


class WordCnn(WordModel):
    """The largest answer of each filter, with ReLU, beside the mean word vector."""

    def __init__(self, config: CnnConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__(config, num_ids=num_ids)
        self.widths, channels = config.widths, config.channels
        width = min(self.words.width, channels)
        self.narrow: nn.Module = nn.Identity()
        if width < self.words.width:  # one small product before many large ones: half the time
            self.narrow = nn.Linear(self.words.width, width, bias=False)
        self.filters = nn.ModuleList(nn.Linear(w * width, channels) for w in self.widths)
        self.output = nn.Linear(len(self.widths) * channels + self.words.width, num_labels)

    def represent(self, batch: Batch) -> Tensor:
        """[B, widths * channels + D]; no words give the zero vector."""
        words = batch.ids > 0
        vectors = self.words(batch.ids)
        narrow = self.narrow(vectors)
        found = [
            largest_over(words, filters(windows(narrow, width)))
            for width, filters in zip(self.widths, self.filters, strict=True)
        ]
        return torch.cat([*map(functional.relu, found), mean_over(words, vectors)], dim=1)


def windows(vectors: Tensor, width: int) -> Tensor:
    """[B, T, D] -> [B, T, width * D]: the `width` vectors around each, zero outside the text."""
    before, length = (width - 1) // 2, vectors.shape[1]
    padded = functional.pad(vectors, (0, 0, before, width - 1 - before))
    return torch.cat([padded[:, k : k + length] for k in range(width)], dim=-1)
