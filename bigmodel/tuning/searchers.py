"""What is tried next, as a function of what was tried: so a search goes on from its ledger alone.

Each draw has a seed of its own, made of the search's and the trial's number: a search that was
stopped draws what it would have drawn.
"""

import logging
import random
import warnings
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from bigmodel.config import Dimension, TuneConfig
from bigmodel.errors import RecipeError
from bigmodel.tuning.space import Space, Values, at_random, rounded
from bigmodel.tuning.trials import Trial

if TYPE_CHECKING:
    import optuna

_TRIES = 50
_FIRST_AT_RANDOM = 5  # before TPE has anything to compare


def suggest(
    space: Space, config: TuneConfig, trials: Sequence[Trial], *, number: int
) -> Values | None:
    """The values of trial `number`; the first is the recipe itself. None: there is nothing new.

    No two trials are the same: each trains from the same seed, and would give the same.
    RecipeError where nothing that is drawn passes the recipe's own checks.
    """
    if config.searcher == "recipes":
        return next(islice(config.recipes, number, None), None)
    if config.searcher == "grid":
        return next(islice(filter(space.accepts, space.grid()), number, None), None)
    if number == 0:
        return {}
    tried = [trial.values for trial in trials]
    refused = None
    for attempt in range(_TRIES):
        seed = random.Random(f"{space.recipe.seed} {number} {attempt}").getrandbits(32)
        if config.searcher == "tpe" and number >= _FIRST_AT_RANDOM and attempt < _TRIES // 2:
            values = _by_tpe(space, trials, seed)
        else:
            values = space.drawn(at_random(random.Random(seed)))
        if values in tried:
            continue
        try:
            space.recipe_of(values)
        except RecipeError as error:
            refused = error
            continue
        return values
    if refused:
        raise RecipeError(f"tune.space: nothing that was drawn is a recipe, as in: {refused}")
    return None


def check(space: Space, config: TuneConfig) -> None:
    """RecipeError where a recipe that is listed, or all that may be drawn, is none."""
    for number, values in enumerate(config.recipes, 1):
        try:
            space.recipe_of(values)
        except RecipeError as error:
            raise RecipeError(f"tune.recipes: number {number} is none: {error}") from None
    if not config.recipes and suggest(space, config, [], number=1) is None:
        raise RecipeError(
            "tune.space: no point of it is a recipe other than this one; give its keys other values"
        )


def study_of(space: Space, trials: Sequence[Trial], *, seed: int = 0) -> "optuna.Study":
    """What was tried, as Optuna knows it: those that were outrun are pruned, failed ones failed.

    The recipe itself is left out where its own values lie outside of the space.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=1, multivariate=True, group=True, constant_liar=True
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for trial in trials:
            if frozen := _frozen(space, trial):
                study.add_trial(frozen)
    return study


def _by_tpe(space: Space, trials: Sequence[Trial], seed: int) -> Values:
    asked = study_of(space, trials, seed=seed).ask()

    def draw(key: str, dimension: Dimension) -> Any:
        if dimension.choice is not None:
            return dimension.choice[asked.suggest_categorical(key, range(len(dimension.choice)))]
        if dimension.integer is not None:
            return asked.suggest_int(key, *dimension.integer)
        bounds = dimension.log or dimension.uniform
        assert bounds is not None
        return rounded(asked.suggest_float(key, *bounds, log=dimension.log is not None), bounds)

    return space.drawn(draw)


def _frozen(space: Space, trial: Trial) -> "optuna.trial.FrozenTrial | None":
    import optuna

    states = optuna.trial.TrialState
    values = trial.values or space.own_values()
    parameters = {}
    for key, value in values.items():
        found = _parameter(space.dimensions.get(key), value)
        if found is None:
            return None
        parameters[key] = found
    state = {
        "": states.RUNNING, "ended": states.COMPLETE, "stopped": states.PRUNED,
        "failed": states.FAIL,
    }[trial.end]  # fmt: skip
    score = trial.score if state == states.COMPLETE else None
    if state == states.COMPLETE and score is None:
        return None
    return optuna.trial.create_trial(
        params={key: parameter for key, (parameter, _) in parameters.items()},
        distributions={key: distribution for key, (_, distribution) in parameters.items()},
        value=score,
        state=state,
        intermediate_values={int(epoch["epoch"]): epoch["score"] for epoch in trial.epochs},
    )


def _parameter(
    dimension: Dimension | None, value: Any
) -> "tuple[Any, optuna.distributions.BaseDistribution] | None":
    """A value as Optuna holds it; None where the dimension doesn't have it."""
    from optuna import distributions

    if dimension is None or (dimension.choice is None and isinstance(value, str)):
        return None  # such as "auto" for a number
    if dimension.choice is not None:
        choices = [_plain(choice) for choice in dimension.choice]
        if _plain(value) not in choices:
            return None
        index = choices.index(_plain(value))
        return index, distributions.CategoricalDistribution(range(len(choices)))
    if dimension.integer is not None:
        low, high = dimension.integer
        found = distributions.IntDistribution(low, high)
        return (value, found) if low <= value <= high else None
    bounds = dimension.log or dimension.uniform
    assert bounds is not None
    distribution = distributions.FloatDistribution(*bounds, log=dimension.log is not None)
    return (float(value), distribution) if bounds[0] <= value <= bounds[1] else None


def _plain(value: Any) -> Any:
    """Tuples and lists are the same in TOML, in JSON and in a recipe."""
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value
