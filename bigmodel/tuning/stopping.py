"""Which trials are stopped early: Ray's schedulers, which know what the ledger holds."""

import sys
from collections.abc import Sequence
from typing import Any

from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from bigmodel.config import TuneConfig
from bigmodel.tuning.trials import Trial


class _Past:
    """A trial of the ledger, as schedulers know trials."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"past-{number}"

    def get_live_trials(self) -> list[Any]:
        """As Tune's controller, which a scheduler asks: none waits for another."""
        return []


def scheduler_of(
    config: TuneConfig, most_epochs: int, past: Sequence[Trial]
) -> TrialScheduler | None:
    """Ray's own, which has seen what the ledger holds."""
    if config.scheduler == "none" or most_epochs <= config.grace_epochs:
        return None
    given = {"time_attr": "epoch", "metric": "score", "mode": "max"}
    if config.scheduler == "asha":
        # one more than there are: at max_t ASHA stops a trial before it can say that it ended
        scheduler: Any = ASHAScheduler(
            max_t=most_epochs + 1,
            grace_period=config.grace_epochs,
            reduction_factor=3,
            **given,
        )
    else:
        # it would pause trials for others that wait, and ours can't go on
        scheduler = MedianStoppingRule(
            grace_period=config.grace_epochs, min_time_slice=sys.maxsize, **given
        )
    for trial in past:
        if not trial.end or trial.score is None:
            continue
        seen = _Past(trial.number)
        scheduler.on_trial_add(seen, seen)
        results = [{"epoch": int(e["epoch"]), "score": e["score"]} for e in trial.epochs]
        again = results[-1:] if trial.end == "ended" else []  # with which a trial says so
        for result in [*results, *again]:
            if scheduler.on_trial_result(seen, seen, result) == TrialScheduler.STOP:
                break
        scheduler.on_trial_complete(seen, seen, results[-1])
    return scheduler
