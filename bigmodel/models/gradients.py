"""Integrated gradients (Sundararajan et al. 2017): what each word's vector adds to an answer."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bigmodel.data.batches import Batch
from bigmodel.models.words import WordModel
from bigmodel.text.features import UNKNOWN

Doubles = npt.NDArray[np.float64]

CLOSE = 0.01  # of the whole, or of one unit if that is more: what the sum may be wrong by
MOST_PARTS = 400  # of the way that are looked at; a net with a sharp edge on it takes some dozens
_AT = np.array([0, (1 - (3 / 7) ** 0.5) / 2, 0.5, (1 + (3 / 7) ** 0.5) / 2, 1])
_SHARE = np.array([9, 49, 64, 49, 9]) / 180
"""Gauss and Lobatto's rule of five points on [0, 1], both ends among them."""
_WORDS_AT_ONCE = 4096


def integrated_gradients(
    net: WordModel, ids: Tensor, against: Doubles, *, until: float
) -> tuple[Doubles, float]:
    """(what each word adds [T], what is said if all were unknown words), for one text `ids` [T].

    Of scores @ `against` [L]; `net` is in eval mode. Both sum up to what the net says, but for an
    error that shrinks as the way from unknown words to the text is halved where it is largest:
    until it is CLOSE, or `until` (of time.monotonic) is near. Equal parts give equal bytes.
    """
    if not len(ids):
        scores = net(Batch(torch.zeros((1, 1), dtype=torch.int64)))[0].detach().double()
        return np.zeros(0), float(scores @ torch.from_numpy(against))
    begun = time.monotonic()
    with torch.inference_mode(False), torch.enable_grad():
        # not from zero vectors: there layer norms turn at once, and unknown words seem to speak
        ends = net.words(torch.stack([torch.full_like(ids, UNKNOWN), ids])).detach()
        way = _Way(net, ids, torch.from_numpy(against), ends)
        parts = way.parts([(0.0, 1.0)])
        nothing, whole = parts[0].said, parts[0].said + parts[0].rise
        close, seen = CLOSE * max(1.0, abs(whole - nothing)), 1
        while sum(part.error for part in parts) > close and seen < MOST_PARTS:
            now = time.monotonic()
            affordable = int((until - now) / (now - begun) * seen / 2)
            worst = [part for part in parts if part.error > close / (2 * len(parts))]
            worst = sorted(worst, key=lambda part: -part.error)[: max(0, affordable)]
            if not worst:
                break
            kept = [part for part in parts if part not in worst]
            parts = kept + way.parts([half for part in worst for half in part.halves()])
            seen += 2 * len(worst)
    return np.sum([part.added for part in parts], axis=0), nothing


@dataclass(frozen=True, eq=False)
class _Part:
    """From `start` to `end` of the way, 0 to 1: what is said at its start, how much more at its
    end, and how much of that each word `added` [T]."""

    start: float
    end: float
    said: float
    rise: float
    added: Doubles

    @property
    def error(self) -> float:
        return abs(float(self.added.sum()) - self.rise)

    def halves(self) -> tuple[tuple[float, float], tuple[float, float]]:
        middle = (self.start + self.end) / 2
        return (self.start, middle), (middle, self.end)


@dataclass(frozen=True, eq=False)
class _Way:
    """Straight from `ends[0]` to `ends[1]`, vectors [T, D] in the places of the words `ids` [T]."""

    net: WordModel
    ids: Tensor
    against: Tensor
    ends: Tensor

    def parts(self, bounds: Sequence[tuple[float, float]]) -> list[_Part]:
        start, end = np.array(bounds).T[:, :, None]
        places = torch.from_numpy((start + (end - start) * _AT).ravel())
        size = max(1, _WORDS_AT_ONCE // len(self.ids))
        looked_at = [self._look(some) for some in torch.split(places, size)]
        said = np.concatenate([said for said, _ in looked_at]).reshape(-1, len(_AT))
        slopes = np.concatenate([slope for _, slope in looked_at]).reshape(*said.shape, -1)
        added = (end - start) * (_SHARE[:, None] * slopes).sum(1)
        rise = said[:, -1] - said[:, 0]
        return [
            _Part(*bounds[i], float(said[i, 0]), float(rise[i]), added[i])
            for i in range(len(bounds))
        ]

    def _look(self, places: Tensor) -> tuple[Doubles, Doubles]:
        """(what is said at these places [P], how fast each word there moves it [P, T])."""
        step = self.ends[1] - self.ends[0]
        vectors = (self.ends[0] + places.float()[:, None, None] * step).requires_grad_()
        # a copy that shares the weights: a hook on the net itself would reach others' answers
        seen = copy.copy(self.net)
        seen._modules = self.net._modules | {"words": _Given(vectors)}
        scores = seen(Batch(self.ids.expand(len(places), -1)))
        said = scores.double() @ self.against
        (slope,) = torch.autograd.grad(said.sum(), vectors)
        slopes: Doubles = (slope.double() * step.double()).sum(-1).numpy()
        return said.detach().numpy(), slopes


class _Given(nn.Module):
    """Stands for `WordVectors`: gives these, whatever the ids."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, ids: Tensor) -> Tensor:
        return self.vectors
