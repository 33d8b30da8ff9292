"""A Transformer encoder over word vectors, the mean and maximum of its states."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.config import TransformerConfig
from bigmodel.data.batches import Batch
from bigmodel.models.words import WordModel, largest_over, mean_over

NUM_POSITIONS = 512  # learned ones; later words share the last


class WordTransformer(WordModel):
    """Layers of attention and two linear layers each, normalised before, not after them."""

    def __init__(self, config: TransformerConfig, *, num_ids: int, num_labels: int) -> None:
        super().__init__(config, num_ids=num_ids)
        self.project = nn.Linear(self.words.width, config.width)
        self.positions: nn.Parameter | None = None
        if config.positions == "learned":
            self.positions = nn.Parameter(0.02 * torch.randn(NUM_POSITIONS, config.width))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(2 * config.width, num_labels)

    def represent(self, batch: Batch) -> Tensor:
        """[B, 2 * width]; no words give the zero vector."""
        words = batch.ids > 0
        at = torch.arange(words.shape[1], device=words.device)
        states = self.project(self.words(batch.ids))
        if self.positions is not None:
            states = states + self.positions[at.clamp(max=NUM_POSITIONS - 1)]
        # a text without words looks at its first padding: softmax over nothing isn't a number
        seen = (words | (at == 0))[:, None, None, :]
        for layer in self.layers:
            states = layer(states, seen, at)
        states = self.norm(states)
        return torch.cat([mean_over(words, states), largest_over(words, states)], dim=1)


class _Layer(nn.Module):
    """Attention, then two linear layers, each added to what came in."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.rotary = config.positions == "rotary"
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.before_linear = nn.LayerNorm(width)
        self.linear = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, states: Tensor, seen: Tensor, at: Tensor) -> Tensor:
        """states [B, T, W], `seen` [B, 1, 1, T] which may be looked at, `at` [T] -> [B, T, W]."""
        states = states + self._attend(self.before_attention(states), seen, at)
        after: Tensor = states + self.linear(self.before_linear(states))
        return after

    def _attend(self, states: Tensor, seen: Tensor, at: Tensor) -> Tensor:
        heads = self.query_key_value(states).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [B, heads, T, width of a head]
        if self.rotary:
            query, key = rotated(query, at), rotated(key, at)
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        attended: Tensor = self.attended(found.transpose(1, 2).flatten(2))
        return attended


def rotated(heads: Tensor, at: Tensor) -> Tensor:
    """heads [B, heads, T, W] with each pair of numbers turned by an angle that grows with `at` [T].

    The product of two rotated vectors depends on their distance only (Su et al. 2021).
    """
    half = heads.shape[-1] // 2
    speed = 10000.0 ** -(torch.arange(half, device=at.device) / half)
    angle = at[:, None] * speed
    cos, sin = angle.cos().to(heads.dtype), angle.sin().to(heads.dtype)
    left, right = heads[..., :half], heads[..., half:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)
