"""Words as vectors, and what all models of words share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.config import WordSection
from bigmodel.data.batches import Batch
from bigmodel.models.net import Net

CHARACTERS = 4  # of a word that are looked at; longer ones are rare, and told apart by four
NUM_CHARACTERS = 8191


class WordVectors(nn.Module):
    """A word's own vector and, beside it, the mean of its characters' vectors.

    `weight` [num_ids, embedding_size]; where the section has a `character_size` also `characters`
    [num_ids, 4], the ids of a word's first characters, 0 for none, and `character_weight`
    [8192, character_size]. Padding is the zero vector; an unknown word has no characters.
    """

    def __init__(self, config: WordSection, *, num_ids: int) -> None:
        super().__init__()
        self.width = config.embedding_size + config.character_size
        self.weight = _small_vectors(num_ids, config.embedding_size)
        self.tables: tuple[str, ...] = ("weight",)
        self.characters: Tensor
        if config.character_size:
            self.tables = ("weight", "characters")
            self.register_buffer("characters", torch.zeros(num_ids, CHARACTERS, dtype=torch.int64))
            self.character_weight = _small_vectors(NUM_CHARACTERS + 1, config.character_size)

    @property
    def has_characters(self) -> bool:
        return "characters" in self.tables

    def spell(self, words: Sequence[str]) -> None:
        """Note the characters of the vocabulary's words, which have the ids from 2 on."""
        if self.has_characters:
            for row, word in zip(self.characters[2:], words, strict=True):
                ids = [ord(character) % NUM_CHARACTERS + 1 for character in word[:CHARACTERS]]
                row[: len(ids)] = torch.tensor(ids)

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> [B, T, D]."""
        own = functional.embedding(ids, self.weight, padding_idx=0)
        if not self.has_characters:
            return own
        if self.training and len(self.characters) < ids.numel():  # rather once a word than often
            spelled = functional.embedding(ids, self._spelled(self.characters))
        else:
            spelled = self._spelled(functional.embedding(ids, self.characters))
        return torch.cat([own, spelled], dim=-1)

    def _spelled(self, characters: Tensor) -> Tensor:
        """Ids of characters [..., 4] -> the mean of their vectors [..., C]; zero for none."""
        vectors = functional.embedding(characters, self.character_weight, padding_idx=0)
        return vectors.sum(-2) / (characters > 0).sum(-1, keepdim=True).clamp(min=1)


class WordModel(Net):
    """Word vectors, a child's `represent`, dropout, one linear layer."""

    def __init__(self, config: WordSection, *, num_ids: int) -> None:
        super().__init__()
        self.words = WordVectors(config, num_ids=num_ids)
        self.tables = tuple(f"words.{name}" for name in self.words.tables)
        self.dropout = nn.Dropout(config.dropout)

    def from_hidden(self, hidden: Tensor, batch: Batch) -> Tensor:
        scores: Tensor = self.output(self.dropout(hidden))
        return scores


def mean_over(words: Tensor, states: Tensor) -> Tensor:
    """The mean of `states` [B, T, H] where `words` [B, T]; zero for a text without words."""
    inside = words.unsqueeze(-1)
    return (states * inside).sum(1) / inside.sum(1).clamp(min=1)


def largest_over(words: Tensor, states: Tensor) -> Tensor:
    """The maximum of `states` [B, T, H] where `words` [B, T]; zero for a text without words."""
    outside = torch.where(words, 0.0, -torch.inf).to(states.dtype).unsqueeze(-1)
    largest = (states + outside).max(1).values  # quicker backward than `amax` of a filled copy
    return torch.where(words.any(1, keepdim=True), largest, 0.0)


def _small_vectors(rows: int, width: int) -> nn.Parameter:
    """Rare words hardly move: let them say little. Row 0 is zero."""
    vectors = torch.empty(rows, width)
    nn.init.normal_(vectors, std=0.1)
    vectors[0] = 0
    return nn.Parameter(vectors)
