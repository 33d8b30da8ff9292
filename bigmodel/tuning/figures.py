"""What a search came to, as plain figures: for its page, and for who reads them by a program."""

from collections.abc import Sequence
from typing import Any

from bigmodel.config import TuneConfig
from bigmodel.tuning.searchers import study_of
from bigmodel.tuning.space import Space
from bigmodel.tuning.trials import Trial, best_of

_FEWEST = 6
"""Trials with a score, below which nothing is said of what matters."""


def figures_of(space: Space, trials: Sequence[Trial]) -> dict[str, Any]:
    """`epochs`: that all trials trained; `saved`: that stopping spared. `importance`: a share of 1
    for each key, the largest first; empty of too few trials. `values`: of the recipe itself too."""
    best, config = best_of(trials), space.recipe.tune or TuneConfig()
    return {
        "name": space.recipe.name,
        "metric": config.metric,
        "searcher": config.searcher,
        "scheduler": config.scheduler,
        "best": best.number if best else None,
        "epochs": sum(trial.last_epoch for trial in trials),
        "saved": sum(_saved(space, trial) for trial in trials),
        "importance": importance(space, trials),
        "trials": [_trial(space, trial) for trial in trials],
    }


def importance(space: Space, trials: Sequence[Trial]) -> dict[str, float]:
    """Of each key that was drawn, by Optuna's PED-ANOVA. Trials that were stopped count with the
    score that they had come to: of those that ended there are too few."""
    import optuna

    scored = [trial for trial in trials if trial.end and trial.score is not None]
    study = study_of(space, [Trial(t.number, t.values, t.epochs, "ended") for t in scored])
    if len(study.trials) < _FEWEST or len({trial.value for trial in study.trials}) < 2:
        return {}
    found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _trial(space: Space, trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "changes": trial.values,
        "values": trial.values or space.own_values(),
        "course": [[int(epoch["epoch"]), epoch["score"]] for epoch in trial.epochs],
        "score": trial.score,
        "end": trial.end,
        "reason": trial.reason,
        "seconds": trial.seconds,
    }


def _saved(space: Space, trial: Trial) -> int:
    """At most, as it might have ended early of itself."""
    if trial.end != "stopped":
        return 0
    return max(0, space.recipe_of(trial.values).train.epochs - trial.last_epoch)
