"""Searches: U1 what Ray Tune adds to the training, U2 what stopping early spares.

    python -m benchmarks.search                  # mlp on the demo's reviews; about ten minutes
    python -m benchmarks.search bag

U1: sixteen one-worker trials with ASHA, against the same epochs of the same recipes in plain
processes, as many as there are cores. U2: epochs until a search with ASHA is within 0.3 points of
the best of a whole grid of the same twelve recipes, against the epochs of that grid. Then, from the
grid's courses and without further training, what other `tune.grace_epochs` would have given.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bigmodel.cluster.session import ray_session
from bigmodel.config import Recipe, TuneConfig
from bigmodel.data.prepare import prepare
from bigmodel.recipe import load_recipe
from bigmodel.storage import folder
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.team import Team
from bigmodel.training.watch import Epoch, Watch
from bigmodel.tuning.search import Search, search
from bigmodel.tuning.stopping import scheduler_of
from bigmodel.tuning.trials import Trial

RECIPE = Path("jobs/recipes/reviews.toml")
WIDTHS = {
    "bag": ("model.bag.embedding_size", [16, 32, 64]),
    "mlp": ("model.mlp.hidden_sizes", [[64], [128], [256, 128]]),
    "cnn": ("model.cnn.channels", [64, 128, 256]),
}
RATES = [3e-4, 1e-3, 3e-3, 1e-2]
NEAR = 0.003
ORDERS = 30


class Enough(Exception):
    """So many epochs were to be trained."""


class Until(Watch):
    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def on_epoch(self, epoch: Epoch) -> None:
        if epoch.epoch >= self._epochs:
            raise Enough


def main(kind: str) -> None:
    key, widths = WIDTHS[kind]
    space = {"train.learning_rate": {"choice": RATES}, key: {"choice": widths}}
    with tempfile.TemporaryDirectory() as home, ray_session():
        base = load_recipe(RECIPE, [f"model.kind={kind}", "train.num_workers=1"], storage=home)
        prepare(base)
        began = time.perf_counter()
        found = tried(base, home, "asha", {"num_trials": 16})
        ours = time.perf_counter() - began
        bare = seconds_bare(base, found)
        print(f"| {kind} | U1: search, s | bare, s | ratio | load |\n|---|---|---|---|---|")
        load = os.getloadavg()[0]
        print(f"| 16 trials | {ours:.0f} | {bare:.0f} | {ours / bare:.2f} | {load:.1f} |\n")
        whole = tried(base, home, "grid", {"searcher": "grid", "scheduler": "none", "space": space,
                                           "num_trials": 99})  # fmt: skip
        quick = tried(base, home, "u2", {"space": space, "num_trials": 12})
    report(whole, quick)


def tried(base: Recipe, home: str, name: str, given: dict[str, Any]) -> Search:
    recipe = base.model_copy(update={"tune": TuneConfig.model_validate(given)})
    return search(recipe, folder(home).child("searches").child(name))


def seconds_bare(base: Recipe, found: Search) -> float:
    """The epochs of each trial, in as many processes as the machine has cores."""
    given = [
        (found.space.recipe_of(trial.values).model_dump_json(by_alias=True), len(trial.epochs))
        for trial in found.trials
    ]
    cores = len(os.sched_getaffinity(0))
    with get_context("spawn").Pool(cores, _ready) as pool:
        pool.map(_ready_too, range(cores))
        began = time.perf_counter()
        pool.starmap(_fit, given, chunksize=1)
        return time.perf_counter() - began


def _ready() -> None:
    torch.set_num_threads(1)


def _ready_too(_: int) -> None:
    """Wait for a process to have started."""


def _fit(text: str, epochs: int) -> None:
    recipe = Recipe.model_validate_json(text)
    data = training_data(prepare(recipe), recipe)
    with suppress(Enough):
        fit_weights(recipe, data, Team(), Until(epochs))


def report(whole: Search, quick: Search) -> None:
    epochs = sum(len(trial.epochs) for trial in whole.trials)
    best = whole.best.score or 0.0
    near = until(quick.trials, best - NEAR)
    print(f"| U2 | epochs | best |\n|---|---|---|\n| whole grid | {epochs} | {best:.4f} |")
    spent = sum(len(trial.epochs) for trial in quick.trials)
    print(f"| ASHA, all its trials | {spent} | {quick.best.score:.4f} |")
    share = f"{near} ({near / epochs:.0%})" if near else "never"
    print(f"| ASHA, until within {NEAR} | {share} | |\n")
    print(f"| grace_epochs, mean of {ORDERS} orders of the grid | epochs | best |\n|---|---|---|")
    for grace in (1, 2, 3, 4, 5):
        found = [with_grace(shuffled(whole.trials, seed), grace) for seed in range(ORDERS)]
        spent, score = (statistics.mean(values) for values in zip(*found, strict=True))
        print(f"| {grace} | {spent / epochs:.0%} | {score:.4f} |")
    courses = {json.dumps(t.values): [round(e["score"], 4) for e in t.epochs] for t in whole.trials}
    print("\n" + "\n".join(f"{values}: {course}" for values, course in courses.items()))


def until(trials: Sequence[Trial], score: float) -> int | None:
    """Epochs of all trials, in the order of the clock, until one has that score."""
    told = [
        (at, epoch["score"])
        for trial in trials
        for epoch, at in zip(trial.epochs, trial.times[1:], strict=False)
    ]
    return next((n for n, (_, one) in enumerate(sorted(told), 1) if one >= score), None)


def shuffled(trials: Sequence[Trial], seed: int) -> list[Trial]:
    """In another order, numbered anew."""
    order = random.Random(seed).sample(trials, len(trials))
    return [replace(trial, number=number) for number, trial in enumerate(order)]


def with_grace(trials: Sequence[Trial], grace: int) -> tuple[int, float]:
    """(epochs, best score) had ASHA stopped these trials, one after the other."""
    config = TuneConfig(grace_epochs=grace)
    most = max(len(trial.epochs) for trial in trials)
    past: list[Trial] = []
    for trial in trials:
        scheduler = scheduler_of(config, most, past)
        kept = _stopped(trial, scheduler) if scheduler else trial
        past.append(kept)
    return sum(len(trial.epochs) for trial in past), max(trial.score or 0.0 for trial in past)


def _stopped(trial: Trial, scheduler: Any) -> Trial:
    seen = _Seen(f"now-{trial.number}")
    scheduler.on_trial_add(seen, seen)
    for count, epoch in enumerate(trial.epochs, 1):
        result = {"epoch": int(epoch["epoch"]), "score": epoch["score"]}
        if scheduler.on_trial_result(seen, seen, result) == scheduler.STOP:
            return Trial(trial.number, trial.values, trial.epochs[:count], "stopped")
    return trial


class _Seen:
    """A trial as schedulers know one."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["mlp"]))
