"""Encoded rows to weights, for each kind of model: the same code in a worker as in a trial."""

from bigmodel.config import Recipe
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.linear import LinearState, LinearStep, fit_linear
from bigmodel.training.netrun import fit_net
from bigmodel.training.rows import TrainingData
from bigmodel.training.team import Team
from bigmodel.training.watch import Clock, Watch, Weights, epoch_of, history_of, with_history


def fit_weights(
    recipe: Recipe, data: TrainingData, team: Team, watch: Watch | None = None
) -> Weights:
    """Train the recipe's kind from the recipe's seed; every member of the team returns the same."""
    fit = _fit_linear if recipe.model.kind == "linear" else fit_net
    return fit(recipe, data, team, watch or Watch())


def _fit_linear(recipe: Recipe, data: TrainingData, team: Team, watch: Watch) -> Weights:
    model = data.new_model(recipe.model)
    start = watch.start
    history = history_of(start)
    clock = Clock(len(data.train))

    def on_step(step: LinearStep) -> None:
        model.load_state_dict(step.weights)
        history.append(
            epoch_of(
                len(history) + 1,
                step.loss,
                model,
                data.valid,
                team,
                clock,
                num_labels=data.num_labels,
            )
        )
        watch.on_epoch(history[-1])
        if watch.due():
            tensors = step.state.tensors()
            watch.save(Checkpoint(len(history), tensors, with_history(history)))
        clock.lap()

    found = fit_linear(
        recipe.model.linear,
        data.in_memory(recipe.train.class_weights),
        team,
        num_ids=data.num_ids,
        num_labels=data.num_labels,
        max_steps=recipe.train.epochs,
        on_step=on_step,
        start=LinearState.of(start.tensors) if start else None,
    )
    return Weights(found, tuple(history))
