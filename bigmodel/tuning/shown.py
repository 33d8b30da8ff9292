"""What people see of a search while it goes on: its trials in a few lines, and the time left."""

from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel.tuning.trials import Trial, best_of, ranked

_BEST = 3
HEADER = ("trial", "changes", "epoch", "score", "state")


def sentence(trial: Trial) -> str:
    """What became of a trial."""
    what = f"trial {trial.number} ({changes(trial.values)})"
    if trial.end == "failed" or trial.score is None:
        return f"{what}: failed, {trial.reason}"
    count = trial.last_epoch
    epochs = f"{count} epoch" + "s" * (count != 1)
    how = f"stopped after {epochs}" if trial.end == "stopped" else epochs
    return f"{what}: {trial.score:.4f}, {how}"


def changes(values: Mapping[str, Any]) -> str:
    """In what a trial differs from the recipe."""
    said = (f"{key.rpartition('.')[2]} {value}" for key, value in values.items())
    return ", ".join(said) or "the recipe as it is"


def rows(trials: Sequence[Trial]) -> tuple[tuple[str, ...], ...]:
    """A table of what is under way and of the best so far, the best first."""
    running = [trial for trial in trials if not trial.end]
    return (HEADER, *map(_row, [*ranked(trials)[:_BEST], *running]))


def note(trials: Sequence[Trial]) -> str:
    """The same in half a sentence."""
    best = best_of(trials)
    said = f"best {best.score:.4f} of trial {best.number}" if best else "no score yet"
    running = [f"trial {t.number} in epoch {t.last_epoch + 1}" for t in trials if not t.end]
    return "; ".join([said, *running])


def left_s(
    trials: Sequence[Trial], *, most: int, most_epochs: int, at_a_time: int, now: float
) -> float | None:
    """Seconds until `most` trials will have ended, if others take as long as those before; None
    before the first epoch."""
    ended = [trial.seconds for trial in trials if trial.end and trial.epochs]
    running = [trial for trial in trials if not trial.end]
    paces = [trial.seconds / trial.last_epoch for trial in running if trial.epochs]
    if ended:
        each = sum(ended) / len(ended)
    elif paces:
        each = most_epochs * sum(paces) / len(paces)
    else:
        return None
    spent = (now - trial.times[0] for trial in running)
    work = each * (most - len(trials)) + sum(max(0.0, each - seconds) for seconds in spent)
    return work / at_a_time


def _row(trial: Trial) -> tuple[str, ...]:
    score = "" if trial.score is None else f"{trial.score:.4f}"
    state = trial.end or "running"
    return str(trial.number), changes(trial.values), str(trial.last_epoch), score, state
