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

    `ids` [B, T] int64, 0 where padded; `values` [B, T] float32, 0 where padded, or None; `ngrams`
    the same texts as n-grams, for a model that reads both, or None; `base` [B, L] float32 what the
    linear part says where that is known already, or None.
    """

    ids: Tensor
    values: Tensor | None = None
    ngrams: "Batch | None" = None
    base: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; to a GPU from pinned memory, so that nothing waits for it."""
        if device.type == "cpu":
            return self

        def moved(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True)

        return Batch(
            moved(self.ids),
            None if self.values is None else moved(self.values),
            self.ngrams and self.ngrams.to(device),
            None if self.base is None else moved(self.base),
        )


def pad(encoded: Encoded, rows: npt.NDArray[np.int64], *, width: int = 1) -> Batch:
    """The texts at positions `rows`, padded to the longest of them, and to at least `width`."""
    starts = encoded.offsets[rows]
    lengths = encoded.offsets[rows + 1] - starts
    width = max(width, int(lengths.max(initial=0)))
    inside = np.arange(width) < lengths[:, None]
    source = (starts[:, None] + np.arange(width))[inside]
    ids = np.zeros((len(rows), width), np.int64)
    ids[inside] = encoded.ids[source]
    values = None
    if encoded.values is not None:
        values = np.zeros((len(rows), width), np.float32)
        values[inside] = encoded.values[source]
    ngrams = None if encoded.ngrams is None else pad(encoded.ngrams, rows)
    return Batch(
        torch.from_numpy(ids), None if values is None else torch.from_numpy(values), ngrams
    )


def take(encoded: Encoded, rows: npt.NDArray[np.int64]) -> Encoded:
    """The texts at positions `rows`, in that order."""
    starts = encoded.offsets[rows]
    lengths = encoded.offsets[rows + 1] - starts
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    source = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Encoded(
        encoded.ids[source],
        None if encoded.values is None else encoded.values[source],
        offsets,
        encoded.truncated[rows],
        None if encoded.ngrams is None else take(encoded.ngrams, rows),
    )


def by_length(encoded: Encoded, size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions of all texts in groups of at most `size`, shortest texts first: little padding."""
    order = np.argsort(np.diff(encoded.offsets), kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
