"""A trial of a search: one recipe, how far it came, and what it is worth."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

End = Literal["", "ended", "stopped", "failed"]
"""How a trial came to its end; "": it is under way, or was when the search was stopped."""


@dataclass(frozen=True)
class Trial:
    """`values`: the keys it changes. `epochs`: what each came to, with the `score` up to there.

    `end` is "stopped" for one that others outran, and `reason` says why one failed. `times`, in
    seconds since 1970: when it began, when each epoch was heard of, when it ended.
    """

    number: int
    values: dict[str, Any]
    epochs: tuple[dict[str, float], ...] = ()
    end: End = ""
    reason: str = ""
    times: tuple[float, ...] = field(default=(), compare=False)

    @property
    def seconds(self) -> float:
        """From its beginning to what was heard of it last."""
        return self.times[-1] - self.times[0] if self.times else 0.0

    @property
    def score(self) -> float | None:
        """On the valid split; None before the first epoch, and of one that failed."""
        return self.epochs[-1]["score"] if self.epochs and self.end != "failed" else None

    @property
    def last_epoch(self) -> int:
        """The last one that was heard of, of quick ones not all are; 0 before the first."""
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

    def with_epoch(self, epoch: dict[str, float], at: float) -> "Trial":
        return replace(self, epochs=(*self.epochs, epoch), times=(*self.times, at))

    def with_end(self, how: End, reason: str, at: float) -> "Trial":
        return replace(self, end=how, reason=reason, times=(*self.times, at))


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Those that came to an end and have a score, the highest first, of equal ones the first."""
    scored = [(-trial.score, trial) for trial in trials if trial.end and trial.score is not None]
    return [trial for _, trial in sorted(scored, key=lambda one: (one[0], one[1].number))]


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """The first of those ranked; None where none has a score."""
    return next(iter(ranked(trials)), None)
