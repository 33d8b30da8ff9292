"""Each trial of a search as a run of its own in MLflow, below the search's run."""

import logging

from bigmodel import outbox
from bigmodel.config import Recipe, TuneConfig
from bigmodel.connection import server
from bigmodel.errors import BigModelError
from bigmodel.outbox import OURS, Entry
from bigmodel.storage import Folder
from bigmodel.tracking import flat
from bigmodel.tuning.ledger import Ledger
from bigmodel.tuning.space import Space
from bigmodel.tuning.trials import Trial

log = logging.getLogger(__name__)

_STATUS = {"ended": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


def tell_trials(recipe: Recipe, place: Folder) -> None:
    """Tell MLflow of those that have ended; told twice, each is there once.

    `place`: the search's, whose name is its run. What no server takes now is kept for one; a
    refusal is a warning.
    """
    uri, run_id = server(recipe.tracking.uri), place.name
    try:
        space = Space.of(recipe, recipe.tune or TuneConfig())
        ended = [trial for trial in Ledger(place).trials if trial.end]
        client = outbox.reach(recipe.storage, uri)
        entries = [entry_of(space, trial, run_id) for trial in ended]
        outbox.tell(client, recipe.storage, uri, *entries)
    except BigModelError as refusal:
        log.warning("MLflow doesn't know all trials of run %s: %s", run_id, refusal)


def entry_of(space: Space, trial: Trial, run_id: str) -> Entry:
    """All of a trial; its id follows from the search's, so that it is told only once."""
    began, *epochs, ended = (round(1000 * at) for at in trial.times)
    metrics = [
        (key, float(value), at, int(epoch["epoch"]))
        for epoch, at in zip(trial.epochs, epochs, strict=True)
        for key, value in epoch.items()
        if key != "epoch"
    ]
    return Entry(
        f"{OURS}{run_id}-{trial.number}",
        space.recipe.name,
        verb=f"trial {trial.number}",
        started=began,
        params=flat(space.recipe_of(trial.values)),
        tags={
            outbox.PARENT: run_id,
            "trial": str(trial.number),
            "end": trial.end,
            **({"reason": trial.reason} if trial.reason else {}),
            **{f"changed.{key}": str(value) for key, value in trial.values.items()},
        },
        metrics=metrics,
        status=_STATUS[trial.end],
        ended=ended,
    )
