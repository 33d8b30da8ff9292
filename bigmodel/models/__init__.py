"""Ids to scores; pure torch, one file a family."""

from typing import Any

from torch import nn

from bigmodel.config import ModelConfig
from bigmodel.models.bag import BagOfNgrams
from bigmodel.models.linear import LinearNgrams
from bigmodel.models.mlp import WordMlp

MODELS: dict[str, Any] = {"linear": LinearNgrams, "bag": BagOfNgrams, "mlp": WordMlp}


def build_model(config: ModelConfig, *, num_ids: int, num_labels: int) -> nn.Module:
    """An untrained model of the chosen kind: `Batch` -> scores [B, L]."""
    model: nn.Module = MODELS[config.kind](
        getattr(config, config.kind), num_ids=num_ids, num_labels=num_labels
    )
    return model
