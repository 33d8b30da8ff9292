"""A recurrent network over word vectors, its states pooled over the text."""

import torch
from torch import Tensor, nn

from bigmodel.config import RnnConfig
from bigmodel.data.batches import Batch
from bigmodel.models.words import WordModel, largest_over, mean_over

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class WordRnn(WordModel):
    """Layers of states in one direction or both; what comes after a text's end counts nowhere."""

    def __init__(self, config: RnnConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__(config, num_ids=num_ids)
        cell, size = CELLS[config.cell], config.hidden_size
        width = self.words.width
        self.forwards, self.backwards = nn.ModuleList(), nn.ModuleList()
        for _ in range(config.num_layers):
            self.forwards.append(cell(width, size, batch_first=True))
            if config.bidirectional:
                self.backwards.append(cell(width, size, batch_first=True))
            width = size * (1 + config.bidirectional)
        self.output = nn.Linear(2 * width + self.words.width, num_labels)

    def represent(self, batch: Batch) -> Tensor:
        """[B, 2 * hidden_size * directions + D]: maximum and mean of the states, the mean vector.

        No words give the zero vector.
        """
        words = batch.ids > 0
        order = backward_order(words)
        vectors = states = self.words(batch.ids)
        for layer, forwards in enumerate(self.forwards):
            found = [forwards(states)[0]]
            if self.backwards:
                read = self.backwards[layer](reordered(states, order))[0]
                found.append(reordered(read, order))
            states = torch.cat(found, dim=-1)
        pooled = (largest_over(words, states), mean_over(words, states), mean_over(words, vectors))
        return torch.cat(pooled, dim=1)


def backward_order(words: Tensor) -> Tensor:
    """words [B, T] -> [B, T]: the position to read at each, last word first, padding in place."""
    at = torch.arange(words.shape[1], device=words.device)
    last = words.sum(1, keepdim=True) - 1
    return torch.where(words, last - at, at)


def reordered(states: Tensor, order: Tensor) -> Tensor:
    """states [B, T, H] read at `order` [B, T]."""
    return states.gather(1, order.unsqueeze(-1).expand(-1, -1, states.shape[2]))
