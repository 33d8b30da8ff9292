"""A trial of a search: one recipe, how far it came, and what it is worth."""

from dataclasses import dataclass, replace
from typing import Any, Literal

End = Literal["", "ended", "stopped", "failed"]
"""How a trial came to its end; "": it is under way, or was when the search was stopped."""


@dataclass(frozen=True)
class Trial:
    """`values`: the keys it changes. `epochs`: what each came to, with the `score` up to there.

    `end` is "stopped" for one that others outran, and `reason` says why one failed.
    """

    number: int
    values: dict[str, Any]
    epochs: tuple[dict[str, float], ...] = ()
    end: End = ""
    reason: str = ""

    @property
    def score(self) -> float | None:
        """On the valid split; None before the first epoch, and of one that failed."""
        return self.epochs[-1]["score"] if self.epochs and self.end != "failed" else None

    def with_epoch(self, epoch: dict[str, float]) -> "Trial":
        return replace(self, epochs=(*self.epochs, epoch))


def best_of(trials: list[Trial]) -> Trial | None:
    """The one with the highest score, of equal ones the first; None where none has a score."""
    scored = [trial for trial in trials if trial.end and trial.score is not None]
    return max(scored, key=lambda trial: (trial.score, -trial.number), default=None)
