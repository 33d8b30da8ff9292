"""The linear kind: n-grams to weights by Newton's method, for itself or under a residual net."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bigmodel.config import LinearConfig
from bigmodel.training.newton import State, make_problem, minimise
from bigmodel.training.rows import Rows
from bigmodel.training.team import Team


@dataclass(frozen=True)
class LinearStep:
    """After an outer step: what the model's `state_dict` would be, and where the solver stands."""

    number: int
    weights: dict[str, Tensor]
    loss: float
    solver: State


def fit_linear(
    config: LinearConfig,
    data: Rows,
    team: Team,
    *,
    num_ids: int,
    num_labels: int,
    max_steps: int,
    on_step: Callable[[LinearStep], None] = lambda step: None,
    start: State | None = None,
) -> dict[str, Tensor]:
    """The `state_dict` of `LinearNgrams`, the same on every member; two classes are one column."""
    two = num_labels == 2
    c = (0.3 if config.nb else 0.5) if config.C == "auto" else config.C
    problem = make_problem(
        data.texts,
        data.label,
        num_ids=num_ids,
        num_columns=1 if two else num_labels,
        weight=data.weight,
        nb=config.nb,
        team=team,
    )

    def weights_of(found: Tensor) -> dict[str, Tensor]:
        columns = torch.cat([-found, found], dim=1) if two else found
        ngrams = columns.half()
        ngrams[0] = 0  # the bias stands apart; id 0 is padding
        return {"weight": ngrams, "bias": columns[0].clone()}

    found = minimise(
        problem,
        c=c,
        max_steps=max_steps,
        tolerance=config.tolerance,
        start=start,
        on_step=lambda step: on_step(
            LinearStep(step.number, weights_of(step.weights), step.loss, step.state)
        ),
    )
    return weights_of(found)
