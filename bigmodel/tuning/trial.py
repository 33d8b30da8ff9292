"""What runs in a trial's process: the fit of one recipe, alone or with workers of its own."""

import json
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

from bigmodel.config import Recipe
from bigmodel.errors import BigModelError
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.fitting import fit_weights
from bigmodel.training.runs import StoredRun
from bigmodel.training.team import Team
from bigmodel.training.watch import Epoch, Watch

FAILED = float("nan")


def run_trial(
    trial: dict[str, Any],
    *,
    data: list[Any],
    num_rows: list[int],
    metric: str,
    each: Mapping[str, float],
    keep: bool,
) -> None:
    """Train `trial["recipe"]` on `data[trial["data"]]`; what fails is reported, so that the process
    can take the next trial. `keep`: leave the weights in the trial's run."""
    recipe = Recipe.model_validate_json(trial["recipe"])
    run, rows = StoredRun(recipe, trial["run"]), data[trial["data"]]
    scores = _Scores(metric, only_the_last=recipe.model.kind == "linear")
    try:
        if recipe.train.most_workers == 1:
            ended = _alone(recipe, rows, scores, use_gpu=bool(each.get("GPU")))
        else:
            ended = _with_workers(run, rows, num_rows[trial["data"]], scores, each)
            run.scratch.remove()
    except Exception as error:
        tune.report(_report(scores.best, scores.last, failed=_reason(error)))
        return
    scores.take(ended.about["history"])
    if keep:
        run.keep_weights(ended)
    else:
        run.remove()
    tune.report(_report(scores.best, scores.last, ended=True))


def _alone(recipe: Recipe, rows: Any, scores: "_Scores", *, use_gpu: bool) -> Checkpoint:
    import torch

    torch.set_num_threads(1)
    team = Team()
    if use_gpu:
        team.device = torch.device("cuda")
    began = time.perf_counter()
    weights = fit_weights(recipe, ray.get(rows), team, scores)
    about = {
        "history": [epoch.as_dict() for epoch in weights.history],
        "seconds": time.perf_counter() - began,
    }
    return Checkpoint(1, weights.state, about)


def _with_workers(
    run: StoredRun, rows: Any, num_rows: int, scores: "_Scores", each: Mapping[str, float]
) -> Checkpoint:
    from bigmodel.training.trainer import fit_on_workers

    return fit_on_workers(
        run,
        rows,
        num_rows=num_rows,
        use_gpu=bool(each.get("GPU")),
        each=each,
        on_epoch=scores.hear,
    )


class _Scores(Watch):
    """Tells Tune of each epoch, with the best score so far; a `linear` model is one only at its
    end."""

    def __init__(self, metric: str, *, only_the_last: bool) -> None:
        self._metric, self._only_the_last = metric, only_the_last
        self.best, self.last = 0.0, {"epoch": 0.0}

    def on_epoch(self, epoch: Epoch) -> None:
        self.hear(epoch.as_dict())

    def hear(self, epoch: dict[str, float]) -> None:
        self.take([epoch])
        if not self._only_the_last:
            tune.report(_report(self.best, epoch))

    def take(self, history: list[dict[str, float]]) -> None:
        for epoch in history:
            score = epoch[self._metric]
            self.best = score if self._only_the_last else max(self.best, score)
            self.last = epoch


def _report(
    score: float, epoch: dict[str, float], *, ended: bool = False, failed: str = ""
) -> dict[str, Any]:
    return {
        "score": FAILED if failed else score,
        "epoch": int(epoch["epoch"]),
        "course": json.dumps({**epoch, "score": score}),  # Tune takes tables apart
        "ended": ended,
        "failed": failed,
    }


def _reason(error: Exception) -> str:
    said = str(error).strip().splitlines() or [""]
    return said[0] if isinstance(error, BigModelError) else f"{type(error).__name__}: {said[-1]}"
