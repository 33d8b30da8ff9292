"""Encoded texts to padded tensors; the one way to pad, for training and for serving."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bigmodel.text.features import Encoded


@dataclass(frozen=True)
class Batch:
    """Some texts as tensors.

    `ids` [B, T] int64, 0 where padded; `values` [B, T] float32, 0 where padded, or None;
    `labels` [B] int64 or None.
    """

    ids: Tensor
    values: Tensor | None
    labels: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        moved = (None if t is None else t.to(device) for t in (self.values, self.labels))
        return Batch(self.ids.to(device), *moved)


def pad(encoded: Encoded, rows: npt.NDArray[np.int64]) -> Batch:
    """The texts at positions `rows`, padded to the longest of them and to at least one id."""
    starts = encoded.offsets[rows]
    lengths = encoded.offsets[rows + 1] - starts
    width = max(1, int(lengths.max(initial=0)))
    inside = np.arange(width) < lengths[:, None]
    source = (starts[:, None] + np.arange(width))[inside]
    ids = np.zeros((len(rows), width), np.int64)
    ids[inside] = encoded.ids[source]
    if encoded.values is None:
        return Batch(torch.from_numpy(ids), None)
    values = np.zeros((len(rows), width), np.float32)
    values[inside] = encoded.values[source]
    return Batch(torch.from_numpy(ids), torch.from_numpy(values))


def by_length(encoded: Encoded, size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions of all texts in groups of at most `size`, shortest texts first: little padding."""
    order = np.argsort(np.diff(encoded.offsets), kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
