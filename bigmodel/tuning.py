"""search: Ray Tune over the recipe's own keys, the training loop inside each trial."""

import logging
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from bigmodel import progress
from bigmodel.config import Dimension, Recipe, TuneConfig
from bigmodel.data.prepare import prepare, prepared_key
from bigmodel.errors import RecipeError
from bigmodel.recipe import with_values
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.team import Team
from bigmodel.training.watch import Epoch, Watch

DEFAULT_SPACES: dict[str, dict[str, Dimension]] = {
    "linear": {
        "model.linear.C": Dimension(log=(0.05, 2.0)),
        "model.linear.nb": Dimension(choice=(True, False)),
    },
    "bag": {
        "train.learning_rate": Dimension(log=(1e-3, 3e-2)),
        "model.bag.embedding_size": Dimension(choice=(16, 32, 64)),
    },
    "mlp": {
        "train.learning_rate": Dimension(log=(3e-4, 1e-2)),
        "model.mlp.hidden_sizes": Dimension(choice=((64,), (128,), (256, 128))),
    },
    "cnn": {
        "train.learning_rate": Dimension(log=(3e-4, 3e-3)),
        "model.cnn.channels": Dimension(choice=(64, 128, 256)),
    },
    "rnn": {
        "train.learning_rate": Dimension(log=(3e-4, 3e-3)),
        "model.rnn.hidden_size": Dimension(choice=(64, 128, 256)),
    },
    "transformer": {
        "train.learning_rate": Dimension(log=(1e-4, 2e-3)),
        "model.transformer.num_layers": Dimension(choice=(1, 2, 3)),
    },
}
"""What is searched where `tune.space` is empty."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One recipe tried: the keys it changed, its best valid score (None: failed), its epochs."""

    values: dict[str, Any]
    score: float | None
    epochs: int
    stopped_early: bool


@dataclass(frozen=True)
class Search:
    """A finished search: the best recipe, without its `[tune]`, and every trial in order."""

    recipe: Recipe
    best: Trial
    trials: tuple[Trial, ...]


def search(recipe: Recipe) -> Search:
    """Try `tune.num_trials` recipes, the given one first, each from the same seed, on one process.

    All trials read the same data from the object store; keys that change what is prepared prepare
    again, once for each distinct value. Nothing is left running, and no files but prepared data.
    """
    config = recipe.tune or TuneConfig()
    drawn = draw(recipe, config)
    recipes = [with_values(recipe, values) for values in drawn]
    data = _data_of(recipes)
    with progress.stage("tune", total=len(drawn), unit="trials") as stage:
        with tempfile.TemporaryDirectory(prefix="bigmodel-tune-") as scratch:
            results = _tuner(recipes, data, config, _Watcher(stage), scratch).fit()
    trials = tuple(_trial(values, results, i) for i, values in enumerate(drawn))
    for error in results.errors:
        log.warning("a trial failed: %s", str(error).strip().splitlines()[-1])
    finished = [(trial.score, -i) for i, trial in enumerate(trials) if trial.score is not None]
    if not finished:
        raise _cause(results)
    best = -max(finished)[1]
    return Search(recipes[best].model_copy(update={"tune": None}), trials[best], trials)


def draw(recipe: Recipe, config: TuneConfig) -> list[dict[str, Any]]:
    """The values of each trial, from the recipe's seed; the first changes nothing.

    Every drawn recipe has passed the recipe's own checks; RecipeError where a key isn't one.
    """
    space = config.space or DEFAULT_SPACES[recipe.model.kind]
    generator = random.Random(recipe.seed)
    drawn: list[dict[str, Any]] = [{}]
    for _ in range(config.num_trials - 1):
        values = {key: _sample(dimension, generator) for key, dimension in space.items()}
        _check(recipe, values)
        drawn.append(values)
    return drawn


def _check(recipe: Recipe, values: Mapping[str, Any]) -> None:
    try:
        with_values(recipe, values)
    except RecipeError as error:
        raise RecipeError(f"tune.space: {error}") from None


def _sample(dimension: Dimension, generator: random.Random) -> Any:
    if dimension.choice is not None:
        return generator.choice(dimension.choice)
    if dimension.integer is not None:
        return generator.randint(*dimension.integer)
    if dimension.uniform is not None:
        return float(f"{generator.uniform(*dimension.uniform):.4g}")
    assert dimension.log is not None
    low, high = dimension.log
    return float(f"{low * (high / low) ** generator.random():.4g}")


def _data_of(recipes: list[Recipe]) -> list[Any]:
    """A reference to the training data of each recipe; equal data is put into the store once."""
    put: dict[str, Any] = {}
    references = []
    for recipe in recipes:
        key = prepared_key(recipe)
        if key not in put:
            put[key] = ray.put(training_data(prepare(recipe), recipe))
        references.append(put[key])
    return references


def _tuner(
    recipes: list[Recipe], data: list[Any], config: TuneConfig, watcher: tune.Callback, scratch: str
) -> tune.Tuner:
    most_epochs = max(recipe.train.epochs for recipe in recipes)
    scheduler = None
    if config.scheduler == "asha" and most_epochs > 1:
        # one more than there are: at max_t ASHA stops a trial before it can say that it ended
        scheduler = ASHAScheduler(time_attr="epoch", max_t=most_epochs + 1, grace_period=2)
    trial = tune.with_parameters(
        partial(_run_trial, metric=config.metric),
        recipes=[recipe.model_dump_json(by_alias=True) for recipe in recipes],
        data=data,
    )
    return tune.Tuner(
        tune.with_resources(trial, {"CPU": 1}),
        param_space={"trial": tune.grid_search(list(range(len(recipes))))},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=scheduler,
            reuse_actors=True,  # else each trial pays for a process
            time_budget_s=config.time_budget_s,
        ),
        run_config=tune.RunConfig(
            storage_path=scratch, name="search", verbose=0, callbacks=[watcher]
        ),
    )


def _run_trial(config: dict[str, Any], *, metric: str, recipes: list[str], data: list[Any]) -> None:
    """What runs in a trial's process: the same fit as a worker's, alone."""
    import torch

    torch.set_num_threads(1)
    recipe = Recipe.model_validate_json(recipes[config["trial"]])
    reporter = _Reporter(metric, each_epoch=recipe.model.kind != "linear")
    weights = fit_weights(recipe, ray.get(data[config["trial"]]), Team(), reporter)
    scores = [getattr(epoch, metric) for epoch in weights.history]
    score = scores[-1] if recipe.model.kind == "linear" else max(scores)
    tune.report({"score": score, "epoch": len(scores), "ended": True})


class _Reporter(Watch):
    """Tells Tune the best score so far after each epoch, where what an epoch gives is a model."""

    def __init__(self, metric: str, *, each_epoch: bool) -> None:
        self._metric, self._each_epoch = metric, each_epoch
        self._best = 0.0

    def on_epoch(self, epoch: Epoch) -> None:
        self._best = max(self._best, getattr(epoch, self._metric))
        if self._each_epoch:
            tune.report({"score": self._best, "epoch": epoch.epoch, "ended": False})


class _Watcher(tune.Callback):  # type: ignore[misc]  # Ray ships no types
    """Tells the stage of each trial's end and the best score so far; runs in the driver."""

    def __init__(self, stage: progress.Stage) -> None:
        self._stage = stage
        self._ended = 0
        self._best = 0.0

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._best = max(self._best, result.get("score", 0.0))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._ended += 1
        self._stage.update(done=self._ended, note=f"best valid score {self._best:.3f}")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.on_trial_complete(iteration, trials, trial)


def _trial(values: dict[str, Any], results: tune.ResultGrid, number: int) -> Trial:
    """What became of trial `number`; one that the time budget never let begin has no score."""
    for found in results:
        if found.config and found.config["trial"] == number:
            break
    else:
        return Trial(values, None, 0, stopped_early=False)
    metrics = found.metrics or {}
    score = None if found.error else metrics.get("score")
    stopped_early = score is not None and not metrics["ended"]
    return Trial(values, score, int(metrics.get("epoch", 0)), stopped_early)


def _cause(results: tune.ResultGrid) -> BaseException:
    """Why no trial came to an end: the first error, or that there was no time."""
    error = next((error for error in results.errors if error), None)
    return error or RecipeError("no trial ended within tune.time_budget_s; raise it")
