"""What a long stage is doing, told to whoever listens; silent when nobody does.

with progress.stage("train", total=80_000) as stage:
    stage.update(done=8_000, note="epoch 1 of 10")
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Event:
    """A stage as it stands: `done` of `total` units, where these are known; ended or not.

    `said`: a sentence to be shown once, and left standing. `left_s`: what the stage itself thinks
    of the time that is left. `table`: a header and rows, for where there is room for them.
    """

    stage: str
    unit: str = "rows"
    done: int | None = None
    total: int | None = None
    note: str = ""
    ended: bool = False
    said: str = ""
    left_s: float | None = None
    table: tuple[tuple[str, ...], ...] = ()


Listener = Callable[[Event], None]

_listeners: list[Listener] = []


class Stage:
    """A stage under way; each value stays until it is updated."""

    def __init__(self, event: Event) -> None:
        self._event = event
        _tell(event)

    def update(
        self,
        *,
        done: int | None = None,
        total: int | None = None,
        note: str | None = None,
        left_s: float | None = None,
        table: tuple[tuple[str, ...], ...] | None = None,
    ) -> None:
        given = {"done": done, "total": total, "note": note, "left_s": left_s, "table": table}
        self._change(**{name: value for name, value in given.items() if value is not None})

    def say(self, sentence: str) -> None:
        _tell(replace(self._event, said=sentence))

    def end(self) -> None:
        self._change(ended=True)

    def _change(self, **values: object) -> None:
        self._event = replace(self._event, **values)  # type: ignore[arg-type]
        _tell(self._event)


@contextmanager
def stage(name: str, *, total: int | None = None, unit: str = "rows") -> Iterator[Stage]:
    """A stage from here to the end of the block; one that raises is never told as ended."""
    stage = Stage(Event(name, unit, total=total))
    yield stage
    stage.end()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` every event of this process for the duration of the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def silent() -> Iterator[None]:
    """Nobody is told anything of what happens within the block."""
    before = _listeners[:]
    _listeners.clear()
    try:
        yield
    finally:
        _listeners[:] = before


def _tell(event: Event) -> None:
    for listener in tuple(_listeners):
        listener(event)
