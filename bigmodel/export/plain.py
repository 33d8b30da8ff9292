"""A model as ONNX can hold it: tensors in and out, for any number of texts and words."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigmodel.data.batches import Batch
from bigmodel.models.bag import BagOfNgrams


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
        if type(part) is nn.RNN:
            copy.set_submodule(name, _PlainRnn(part))
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


class _PlainRnn(nn.Module):
    """The one operator that a layer of plain states is; torch would write out a fixed number of
    steps.
    """

    def __init__(self, rnn: nn.RNN) -> None:
        super().__init__()
        self.hidden_size = rnn.hidden_size
        self.weights = nn.ParameterList((rnn.weight_ih_l0, rnn.weight_hh_l0))
        self.biases = nn.ParameterList((rnn.bias_ih_l0, rnn.bias_hh_l0))

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, D] -> all states [B, T, H], the last [1, B, H]."""
        rows, length, _ = states.shape
        weights = [weight.unsqueeze(0) for weight in self.weights]  # of one direction
        found, last = torch.onnx.ops.symbolic_multi_out(
            "RNN",
            (states.transpose(0, 1), *weights, torch.cat([*self.biases]).unsqueeze(0)),
            {"hidden_size": self.hidden_size},
            dtypes=(states.dtype, states.dtype),
            shapes=((length, 1, rows, self.hidden_size), (1, rows, self.hidden_size)),
        )
        return found.squeeze(1).transpose(0, 1), last
