"""search: Ray Tune runs the trials; what to try comes from the ledger, and goes there."""

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import ray
from ray import tune
from ray._private.state import state

from bigmodel import progress
from bigmodel.config import Recipe, TuneConfig
from bigmodel.data.prepare import prepare, prepared_key
from bigmodel.errors import RecipeError
from bigmodel.storage import Folder
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.ingest import training_data
from bigmodel.training.news import looking
from bigmodel.training.told import GO_ON
from bigmodel.tuning.ledger import Ledger
from bigmodel.tuning.orphans import remove_last_orphans, remove_orphans
from bigmodel.tuning.source import ALIKE, Source
from bigmodel.tuning.space import Space
from bigmodel.tuning.stopping import scheduler_of
from bigmodel.tuning.trial import run_trial
from bigmodel.tuning.trials import Trial, best_of

log = logging.getLogger(__name__)

RETRIES = 1
"""Of a trial whose process dies: perhaps its machine went with it, and a second one says more."""


@dataclass(frozen=True)
class Search:
    """A finished search: the best recipe, without its `[tune]`, and every trial in order.

    `weights`: of the best trial, where it isn't to be trained anew; None too where it left none,
    as one that was stopped early.
    """

    recipe: Recipe
    best: Trial
    trials: tuple[Trial, ...]
    weights: Checkpoint | None
    space: Space

    @property
    def stopped_early(self) -> int:
        return sum(trial.end == "stopped" for trial in self.trials)


def search(recipe: Recipe, place: Folder, *, coming: float = 0) -> Search:
    """Try `tune.num_trials` recipes, the given one first, each from the same seed.

    All that happens stands in the ledger under `place`: what it holds already isn't tried again,
    and a trial that was cut off begins anew. All trials read the same rows from the object store,
    once for each way of preparing them. `coming`: as in `slots`.
    Nothing is left running; of files only the ledger and the weights of `tune.keep` trials.
    """
    config = recipe.tune or TuneConfig()
    at_a_time = slots(recipe, config, coming=coming)
    space = Space.of(recipe, config)
    ledger = Ledger(place)
    source = Source(space, config, ledger, place)
    if source.is_open:
        with _leaving_a_way_on(place.name):
            _try_all(space, config, source, ledger, at_a_time=at_a_time)
    if source.alike:
        raise RecipeError(
            f"{ALIKE} trials in a row failed alike ({source.alike}); mend that, and search anew"
        )
    for trial in ledger.trials:
        if not trial.end:
            ledger.end(trial.number, "stopped", "the time was over")
    source.tidy()
    best = best_of(ledger.trials)
    if best is None:
        reason = next((t.reason for t in ledger.trials if t.reason), "there was no time")
        raise RecipeError(f"no trial came to a score ({reason}); give tune.time_budget_s more")
    weights = None if config.refit else source.run_of(best).weights()
    return Search(space.recipe_of(best.values), best, tuple(ledger.trials), weights, space)


def _try_all(
    space: Space, config: TuneConfig, source: Source, ledger: Ledger, *, at_a_time: int
) -> None:
    rows = _rows_of(space, source)
    with (
        progress.stage("tune", total=source.most, unit="trials") as stage,
        tempfile.TemporaryDirectory(prefix="bigmodel-tune-") as scratch,
    ):
        stage.say(f"if stopped, {GO_ON.format(source.run_id)}")
        source.tell(stage, at_a_time=at_a_time)
        tuner = _tuner(space, config, source, ledger, scratch, rows=rows, at_a_time=at_a_time)
        with looking(remove_orphans, every_s=1.0):
            tuner.fit()
        remove_last_orphans()


@contextmanager
def _leaving_a_way_on(run_id: str) -> Iterator[None]:
    """Who stops a search is told how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        log.warning("stopped; %s", GO_ON.format(run_id))
        raise


def slots(recipe: Recipe, config: TuneConfig, *, coming: float) -> int:
    """How many trials to have at a time; RecipeError where not one would ever find room.

    `coming`: how many workers of a trial find room once the cluster has all machines that its
    autoscaler may add; 0 without one, inf where nobody knows: then it is what finds room now.
    """
    workers = recipe.train.fewest_workers
    there = _room(config, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    if (most := max(there, coming)) < workers:
        gpus = f" and {config.gpus:g} GPUs" if config.gpus else ""
        raise RecipeError(
            f"a trial takes {workers} workers of {config.cpus:g} CPUs{gpus}, and Ray has room for "
            f"{most:g}; lower train.num_workers or tune.cpus, or search on a larger cluster"
        )
    now = _room(config, state.available_resources_per_node().values()) // workers
    later = int(min(config.num_trials, coming // workers)) if isfinite(coming) else 0
    return max(1, now, later)


def _room(config: TuneConfig, nodes: Iterable[Mapping[str, float]]) -> int:
    """How many workers the nodes hold."""
    each = {"CPU": config.cpus, "GPU": config.gpus}
    return sum(
        min(int(node.get(key, 0) / need) for key, need in each.items() if need) for node in nodes
    )


class _Over(tune.Stopper):  # type: ignore[misc]
    """Ends a search whose trials all fail for one reason."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self._source.alike)


def _tuner(
    space: Space,
    config: TuneConfig,
    source: Source,
    ledger: Ledger,
    scratch: str,
    *,
    rows: "_Prepared",
    at_a_time: int,
) -> tune.Tuner:
    alone = space.recipe.train.most_workers == 1
    each = {"CPU": config.cpus, **({"GPU": config.gpus} if config.gpus else {})}
    trial = tune.with_parameters(
        partial(
            run_trial,
            num_rows=rows.lengths,
            metric=config.metric,
            each=each,
            keep=config.keep > 0,
        ),
        data=rows.references,
    )
    # whose workers are others' needs no CPU itself: a bundle must hold something
    own = each if alone else {"memory": 1_000_000}
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours: the ledger is whole
    return tune.Tuner(
        tune.with_resources(trial, tune.PlacementGroupFactory([own])),
        tune_config=tune.TuneConfig(
            search_alg=source,
            num_samples=-1,
            max_concurrent_trials=at_a_time,
            scheduler=scheduler_of(config, space.most_epochs, past=ledger.trials),
            reuse_actors=alone,  # else each trial pays for a process
            time_budget_s=config.time_budget_s,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            storage_path=scratch,
            name="search",
            verbose=0,
            stop=_Over(source),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )


def _name(trial: Any) -> str:
    """Of a trial's folder: without what it is made of, which may be private, and long."""
    return str(trial.trial_id)


@dataclass(frozen=True)
class _Prepared:
    """References to the rows as each way of preparing has them, and how many train."""

    references: list[Any]
    lengths: list[int]


def _rows_of(space: Space, source: Source) -> _Prepared:
    numbers: dict[str, int] = {}
    found = _Prepared([], [])
    for way in space.preparations():
        recipe = space.recipe_of(way)
        key = prepared_key(recipe)
        if key not in numbers:
            numbers[key] = len(numbers)
            data = training_data(prepare(recipe), recipe)
            found.references.append(ray.put(data))
            found.lengths.append(len(data.train))
        source.rows[space.prepared_as(way)] = numbers[key]
    return found
