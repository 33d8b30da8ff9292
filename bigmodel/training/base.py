"""What a residual net stands on: a linear model, and what its like say of rows they haven't seen.

On its own training rows a linear model is almost always right, and a net on top of it would learn
nothing; so what it says of each training row comes from a model of the other folds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bigmodel.config import LinearConfig, Recipe
from bigmodel.data.batches import by_length, pad, take
from bigmodel.metrics import fit_temperature
from bigmodel.models.linear import LinearNgrams
from bigmodel.training.folds import deal
from bigmodel.training.linear import fit_linear
from bigmodel.training.rows import Floats, Ids, Rows
from bigmodel.training.team import Team

_FOLDS = 5
_STEPS = 10
_QUICK_STEPS, _QUICK_TOLERANCE = 6, 0.1  # of the folds' models, which say much the same by then
_ROWS = 256


@dataclass(frozen=True)
class Base:
    """The linear model of all training rows; scores [N, L] of training rows by models of the other
    folds, and of valid rows by the model of all.

    `scale` makes probabilities of the scores, so that the net needn't learn how sure they are.
    """

    linear: dict[str, Tensor]
    train: Floats
    valid: Floats
    scale: float

    def tensors(self) -> dict[str, Tensor]:
        return {
            **{f"linear.{name}": tensor for name, tensor in self.linear.items()},
            "train": torch.from_numpy(self.train),
            "valid": torch.from_numpy(self.valid),
            "scale": torch.tensor(self.scale, dtype=torch.float64),
        }

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> "Base":
        """What `tensors` gave."""
        linear = {n.removeprefix("linear."): t for n, t in tensors.items() if "." in n}
        train, valid = tensors["train"].numpy(), tensors["valid"].numpy()
        return cls(linear, train, valid, float(tensors["scale"]))


def fit_base(
    recipe: Recipe,
    train: Rows,
    valid: Rows,
    team: Team,
    *,
    weight: Floats,
    num_ids: int,
    num_labels: int,
    on_note: Callable[[str], None],
) -> Base:
    """From rows whose texts are n-grams; every member of the team has the same in the end.

    `weight` [N] in the loss, with that of the class; rows near each other share a fold.
    """

    def fitted(rows: Ids, config: LinearConfig, max_steps: int) -> dict[str, Tensor]:
        some = replace(
            train,
            texts=take(train.texts, rows),
            label=train.label[rows],
            weight=weight[rows],
        )
        return fit_linear(
            config,
            some,
            team,
            num_ids=num_ids,
            num_labels=num_labels,
            max_steps=max_steps,
        )

    whole = recipe.model.linear
    quick = whole.model_copy(update={"tolerance": max(_QUICK_TOLERANCE, whole.tolerance)})
    model = LinearNgrams(whole, num_ids=num_ids, num_labels=num_labels)
    unit = np.arange(len(train)) if train.unit is None else train.unit
    fold = deal(unit, _FOLDS, seed=recipe.seed)
    said = np.zeros((len(train), num_labels), np.float32)
    for number in range(_FOLDS):
        on_note(f"linear part, fold {number + 1} of {_FOLDS}")
        model.load_state_dict(fitted(np.flatnonzero(fold != number), quick, _QUICK_STEPS))
        mine = np.flatnonzero(fold == number)
        said[mine] = _scores(model, train, mine)
    on_note("linear part, all rows")
    linear = fitted(np.arange(len(train)), whole, _STEPS)
    model.load_state_dict(linear)
    own = train.weight == train.weight.max()  # a source that counts less doesn't say how sure to be
    scale = 1 / fit_temperature(said[own], train.label[own])
    return Base(linear, said, _scores(model, valid, np.arange(len(valid))), scale)


def _scores(model: LinearNgrams, data: Rows, rows: Ids) -> Floats:
    """[rows, L]"""
    texts = take(data.texts, rows)
    scores = np.zeros((len(rows), len(model.bias)), np.float32)
    with torch.inference_mode():
        for places in by_length(texts, _ROWS):
            scores[places] = model(pad(texts, places)).numpy()
    return scores
