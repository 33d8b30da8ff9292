"""Adam, AdamW and SGD over flat tensors or over the rows of a table that a step touched.

One code for both: `torch.optim` has no lazy Adam that decays weights, and its first use in a
process imports the compiler, 1.6 s of each worker's start.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bigmodel.config import TrainConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_MOMENTUM = 0.9


@dataclass(frozen=True)
class Optimizer:
    """The recipe's rule: what a step does to values, given their gradient and their moments.

    Adam as Kingma and Ba (2015), AdamW as Loshchilov and Hutter (2019), SGD with momentum 0.9. A
    row of a table that a step doesn't touch keeps its value and its moments.
    """

    kind: str
    weight_decay: float

    @classmethod
    def of(cls, config: TrainConfig) -> "Optimizer":
        return cls(config.optimizer, config.weight_decay)

    def moments(self, values: Tensor) -> list[Tensor]:
        """What is remembered beside values: zeros in their shape."""
        return [torch.zeros_like(values) for _ in range(1 if self.kind == "sgd" else 2)]

    def update(
        self,
        values: Tensor,
        gradient: Tensor,
        moments: list[Tensor],
        *,
        step: int,
        rate: float,
        decayed: Tensor | float,
    ) -> None:
        """Change `values` and `moments` in place, in step `step` (from 1).

        `decayed` is 1 where a value takes part in weight decay, else 0.
        """
        if self.weight_decay and self.kind == "adamw":
            values.sub_(values * decayed, alpha=rate * self.weight_decay)
        elif self.weight_decay:
            gradient = gradient + self.weight_decay * decayed * values
        if self.kind == "sgd":
            moments[0].mul_(_MOMENTUM).add_(gradient)
            values.sub_(moments[0], alpha=rate)
            return
        mean, square = moments
        mean.lerp_(gradient, 1 - _BETA1)
        square.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        scale = math.sqrt(1 - _BETA2**step)
        values.addcdiv_(
            mean, square.sqrt().div_(scale).add_(_EPSILON), value=-rate / (1 - _BETA1**step)
        )


def rate(config: TrainConfig, step: int, num_steps: int) -> float:
    """The learning rate of step `step` (from 1) of `num_steps`."""
    warm = math.ceil(config.warm_up * num_steps)
    if step <= warm:
        return config.learning_rate * step / warm
    passed = (step - 1 - warm) / max(1, num_steps - warm)
    shares = {"linear": 1 - passed, "cosine": (1 + math.cos(math.pi * passed)) / 2, "constant": 1.0}
    return config.learning_rate * shares[config.schedule]
