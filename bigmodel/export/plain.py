"""A model as ONNX can hold it: tensors in and out, for any number of texts and words."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.data.batches import Batch
from bigmodel.models.bag import BagOfNgrams

GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where torch has each gate of a cell, in ONNX's order."""


class Network(nn.Module):
    """ids [B, T] and what else the model reads -> scores and probabilities [B, L]."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = _plain(model)
        self.temperature = temperature

    def forward(
        self,
        ids: Tensor,
        values: Tensor | None = None,
        ngram_ids: Tensor | None = None,
        ngram_values: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        ngrams = None if ngram_ids is None else Batch(ngram_ids, ngram_values)
        scores = self.model(Batch(ids, values, ngrams))
        return scores, torch.softmax(scores / self.temperature, dim=1)


def _plain(model: nn.Module) -> nn.Module:
    """The model with the same weights, and in operators of ONNX what torch would write badly."""
    if isinstance(model, BagOfNgrams):
        return _PlainBag(model)
    copy = deepcopy(model, memo={id(weight): weight for weight in model.parameters()})
    for name, part in list(copy.named_modules()):
        if isinstance(part, nn.RNNBase):
            copy.set_submodule(name, _PlainCell(part))
    return copy


class _PlainBag(nn.Module):
    """A bag's sums in operators of ONNX; of `embedding_bag` torch makes a loop over the texts."""

    def __init__(self, bag: BagOfNgrams) -> None:
        super().__init__()
        self.embedding, self.output = bag.embedding, bag.output

    def forward(self, batch: Batch) -> Tensor:
        assert batch.values is not None
        vectors = functional.embedding(batch.ids, self.embedding)
        scores: Tensor = self.output(torch.einsum("bt,btd->bd", batch.values, vectors))
        return scores


class _PlainCell(nn.Module):
    """A layer of `nn.LSTM`, `nn.GRU` or `nn.RNN` as the one operator that it is in ONNX; torch
    would write out a fixed number of steps.
    """

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.operator, self.hidden_size = type(cell).__name__, cell.hidden_size
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = (
            nn.Parameter(_in_order(getattr(cell, f"{name}_l0"), GATES[self.operator]))
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, D] -> all states [B, T, H], the last [1, B, H]."""
        rows, length, _ = states.shape
        biases = torch.cat([self.bias_ih, self.bias_hh])
        weights = (weight.unsqueeze(0) for weight in (self.weight_ih, self.weight_hh, biases))
        extra = {"linear_before_reset": 1} if self.operator == "GRU" else {}
        found, last = torch.onnx.ops.symbolic_multi_out(
            self.operator,
            (states.transpose(0, 1), *weights),
            {"hidden_size": self.hidden_size, **extra},
            dtypes=(states.dtype, states.dtype),
            shapes=((length, 1, rows, self.hidden_size), (1, rows, self.hidden_size)),
        )
        return found.squeeze(1).transpose(0, 1), last


def _in_order(weight: Tensor, order: tuple[int, ...]) -> Tensor:
    gates = weight.detach().chunk(len(order))
    return torch.cat([gates[i] for i in order])
