"""The linear kind: n-grams to weights by Newton's method, for itself or under a residual net."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bigmodel.config import LinearConfig
from bigmodel.training.newton import State, Step, make_problem, minimise
from bigmodel.training.rows import Rows
from bigmodel.training.team import Team


@dataclass(frozen=True)
class LinearState:
    """Where fitting stands: weights [D, K] of solutions that are found, and the one under way."""

    found: tuple[Tensor, ...]
    solver: State

    def tensors(self) -> dict[str, Tensor]:
        number = torch.tensor(self.solver.number)
        solver = {"number": number, "u": self.solver.u, "fall": self.solver.fall}
        return solver | {f"found.{place}": one for place, one in enumerate(self.found)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "LinearState":
        """What `tensors` gave."""
        found = tuple(tensors[name] for name in sorted(tensors) if name.startswith("found."))
        return cls(found, State(int(tensors["number"]), tensors["u"], tensors["fall"]))


@dataclass(frozen=True)
class LinearStep:
    """After an outer step of either solution: what the model's `state_dict` would be."""

    weights: dict[str, Tensor]
    loss: float
    state: LinearState


def fit_linear(
    config: LinearConfig,
    data: Rows,
    team: Team,
    *,
    num_ids: int,
    num_labels: int,
    max_steps: int,
    on_step: Callable[[LinearStep], None] = lambda step: None,
    start: LinearState | None = None,
) -> dict[str, Tensor]:
    """The `state_dict` of `LinearNgrams`, the same on every member; two classes are one column.

    The mean of a solution with naive-Bayes ratios and one without is a linear model as well.
    """
    two = num_labels == 2
    wanted = (False, True) if config.nb == "both" else (config.nb,)
    found = list(start.found) if start else []
    solver = start.solver if start else None

    def weights_of(solutions: list[Tensor]) -> dict[str, Tensor]:
        mean = torch.stack(solutions).mean(0) if len(solutions) > 1 else solutions[0]
        columns = torch.cat([-mean, mean], dim=1) if two else mean
        ngrams = columns.half()
        ngrams[0] = 0  # the bias stands apart; id 0 is padding
        return {"weight": ngrams, "bias": columns[0].clone()}

    def tell(step: Step) -> None:
        state = LinearState(tuple(found), step.state)
        on_step(LinearStep(weights_of([*found, step.weights]), step.loss, state))

    for nb in wanted[len(found) :]:
        problem = make_problem(
            data.texts,
            data.label,
            num_ids=num_ids,
            num_columns=1 if two else num_labels,
            weight=data.weight,
            nb=nb,
            team=team,
        )
        c = (0.3 if nb else 0.5) if config.C == "auto" else config.C
        found.append(
            minimise(
                problem,
                c=c,
                max_steps=max_steps,
                tolerance=config.tolerance,
                start=solver,
                on_step=tell,
            )
        )
        solver = None
    return weights_of(found)
