"""What Ray Tune asks for the next trial, and tells what becomes of each: it goes to the ledger."""

import json
import time
from typing import Any

from ray.tune.search import Searcher

from bigmodel import progress
from bigmodel.config import TuneConfig
from bigmodel.storage import Folder
from bigmodel.training.runs import StoredRun
from bigmodel.tuning import shown
from bigmodel.tuning.ledger import Ledger
from bigmodel.tuning.searchers import suggest
from bigmodel.tuning.space import Space
from bigmodel.tuning.trials import Trial, ranked

ALIKE = 3
"""So many trials in a row that fail for one reason are the end of a search."""


class Source(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Gives Ray Tune the trials one after the other, and writes down what becomes of them."""

    def __init__(self, space: Space, config: TuneConfig, ledger: Ledger, place: Folder) -> None:
        super().__init__(metric="score", mode="max")
        self._space, self._config, self._ledger, self._place = space, config, ledger, place
        self._again = [trial for trial in ledger.trials if not trial.end]
        self._numbers: dict[str, int] = {}
        self._stage: progress.Stage | None = None
        self._at_a_time = 1
        self.rows: dict[str, int] = {}
        self.alike = ""

    @property
    def is_open(self) -> bool:
        """Is there anything left to try?"""
        return bool(self._again) or len(self._ledger.trials) < self.most

    @property
    def most(self) -> int:
        """So many trials, if the space has as many."""
        config = self._config
        return len(config.recipes) if config.searcher == "recipes" else config.num_trials

    @property
    def run_id(self) -> str:
        """The search's own."""
        return self._place.name

    def tell(self, stage: progress.Stage, *, at_a_time: int) -> None:
        """Say to a stage how the search stands, from now on."""
        self._stage, self._at_a_time = stage, at_a_time
        self._update()

    def run_of(self, trial: Trial) -> StoredRun:
        """Where a trial keeps its weights: the search's folder is its storage."""
        recipe = self._space.recipe_of(trial.values)
        own = recipe.model_copy(update={"storage": self._place.uri})
        return StoredRun(own, f"{self._place.name}-{trial.number}")

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        if self._again:
            trial = self._again.pop(0)
        else:
            number = len(self._ledger.trials)
            trials = self._ledger.trials
            values = (
                suggest(self._space, self._config, trials, number=number)
                if number < self.most
                else None
            )
            if values is None:
                return str(Searcher.FINISHED)
            trial = Trial(number, values)
        self._ledger.begin(trial.number, trial.values)
        self._numbers[trial_id] = trial.number
        run = self.run_of(trial)
        run.remove()  # of one that was cut off
        return {
            "recipe": run.recipe.model_dump_json(by_alias=True),
            "run": run.run_id,
            "data": self.rows[self._space.prepared_as(trial.values)],
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._hear(self._numbers[trial_id], result)
        self._update()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        number = self._numbers[trial_id]
        if error or not result:
            self._end(number, "failed", "its process died twice (out of memory?)")
        elif result["failed"]:
            self._end(number, "failed", result["failed"])
        else:
            self._hear(number, result)  # what a trial is stopped for comes here and nowhere else
            self._end(number, "ended" if result["ended"] else "stopped")

    def _hear(self, number: int, result: dict[str, Any]) -> None:
        """Write an epoch down, once."""
        course = json.loads(result["course"])
        told = self._trial(number).epochs
        if not result["failed"] and course["epoch"] > (told[-1]["epoch"] if told else 0):
            self._ledger.report(number, course)

    def _end(self, number: int, how: Any, reason: str = "") -> None:
        self._ledger.end(number, how, reason)
        trial = self._trial(number)
        if self._stage:
            self._stage.say(shown.sentence(trial))
        self._keep_the_best()
        self._update()
        ended = sorted((t for t in self._ledger.trials if t.end), key=lambda one: one.times[-1])
        reasons = {one.reason for one in ended[-ALIKE:]}
        if len(ended) >= ALIKE and len(reasons) == 1 and ended[-1].end == "failed":
            self.alike = reasons.pop()

    def _keep_the_best(self) -> None:
        ended = [trial for trial in self._ledger.trials if trial.end == "ended"]
        for trial in ranked(ended)[self._config.keep :]:
            self.run_of(trial).remove()

    def tidy(self) -> None:
        """Nothing stays of trials that were stopped or failed: their workers are gone now."""
        for trial in self._ledger.trials:
            if trial.end != "ended":
                self.run_of(trial).remove()

    def _trial(self, number: int) -> Trial:
        return next(trial for trial in self._ledger.trials if trial.number == number)

    def _update(self) -> None:
        if not self._stage:
            return
        trials = self._ledger.trials
        self._stage.update(
            done=sum(bool(trial.end) for trial in trials),
            note=shown.note(trials),
            table=shown.rows(trials),
            left_s=shown.left_s(
                trials,
                most=self.most,
                most_epochs=self._space.most_epochs,
                at_a_time=self._at_a_time,
                now=time.time(),
            ),
        )

    def save(self, checkpoint_path: str) -> None:
        """The ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search goes on from its ledger")
