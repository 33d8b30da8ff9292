"""Ids to scores; pure torch, one file a family."""

from typing import Any

from torch import nn

from bigmodel.config import ModelConfig
from bigmodel.models.bag import BagOfNgrams
from bigmodel.models.cnn import WordCnn
from bigmodel.models.linear import LinearNgrams
from bigmodel.models.mlp import WordMlp
from bigmodel.models.net import Net
from bigmodel.models.residual import Residual
from bigmodel.models.rnn import WordRnn
from bigmodel.models.transformer import WordTransformer

__all__ = ["MODELS", "LinearNgrams", "Net", "Residual", "build_model"]

MODELS: dict[str, Any] = {
    "linear": LinearNgrams,
    "bag": BagOfNgrams,
    "mlp": WordMlp,
    "cnn": WordCnn,
    "rnn": WordRnn,
    "transformer": WordTransformer,
}


def build_model(
    config: ModelConfig, *, num_ids: int, num_labels: int, num_ngrams: int = 0
) -> nn.Module:
    """An untrained model of the chosen kind: `Batch` -> scores [B, L]; a `Net`, but for `linear`.

    `num_ngrams`: ids of the n-grams that a residual's linear part reads beside the words.
    """
    section = getattr(config, config.kind)
    model: nn.Module = MODELS[config.kind](section, num_ids=num_ids, num_labels=num_labels)
    if config.residual:
        assert isinstance(model, Net)
        linear = LinearNgrams(config.linear, num_ids=num_ngrams, num_labels=num_labels)
        model = Residual(model, linear)
    return model
