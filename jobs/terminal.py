"""What people see: progress and errors on stderr, tables on stdout."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from bigmodel import progress

if TYPE_CHECKING:
    from rich.table import Table

SECONDS_BETWEEN_LINES = 5.0


def table(values: Mapping[str, object], *, title: str | None = None) -> "Table":
    """Names on the left, values on the right: what most jobs show."""
    from rich.table import Table

    grid = Table(title=title, title_justify="left", show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in values.items():
        grid.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    return grid


def complain(message: str) -> None:
    """An error for people, red on a terminal."""
    click.secho(f"bigmodel: {message}", fg="red", err=True)


def show_progress(*, quiet: bool) -> AbstractContextManager[None]:
    """Stages on stderr for the duration of the block: a live line on a terminal, else lines."""
    if quiet:
        return nullcontext()
    return _live() if sys.stderr.isatty() else progress.listening(PlainLines())


def describe(event: progress.Event, seconds: float) -> str:
    """`epoch 2 of 10, 24,000 of 80,000 rows, 12,000 rows/s, 5 s left`, as far as it is known."""
    parts = [event.note] if event.note else []
    if event.done is not None:
        of = f" of {event.total:,}" if event.total else ""
        parts.append(f"{event.done:,}{of} {event.unit}")
        if event.done and seconds > 0:
            rate = event.done / seconds
            if rate >= 10:
                parts.append(f"{rate:,.0f} {event.unit}/s")
            if event.total and not event.ended and event.left_s is None:
                parts.append(f"{max(event.total - event.done, 0) / rate:,.0f} s left")
    if event.left_s is not None and not event.ended:
        parts.append(f"about {event.left_s:,.0f} s left")
    if event.ended:
        parts.append(f"{seconds:.1f} s")
    return ", ".join(parts)


class PlainLines:
    """A line when a stage begins, every few seconds, and when it ends."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def __call__(self, event: progress.Event) -> None:
        now = time.monotonic()
        began = self._began.setdefault(event.stage, now)
        if event.said:
            click.echo(f"{event.stage}: {event.said}", err=True)
            return
        whole = event.total is not None and event.done == event.total  # its end comes at once
        quiet_for = now - self._written.get(event.stage, -SECONDS_BETWEEN_LINES)
        due = not whole and quiet_for >= SECONDS_BETWEEN_LINES
        if event.ended or due:
            self._written[event.stage] = now
            said = describe(event, now - began) or "begins"
            click.echo(f"{event.stage}: {said}", err=True)
        if event.ended:
            del self._began[event.stage], self._written[event.stage]


@contextmanager
def _live() -> Iterator[None]:
    """One moving line a running stage, below its table if it has one; an ended one stays as a line
    of text."""
    from rich.console import Console, RenderableType
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.table import Column

    tables: dict[str, RenderableType] = {}

    class Display(Progress):
        def get_renderables(self) -> Iterator[RenderableType]:
            yield from list(tables.values())
            yield from super().get_renderables()

    console = Console(stderr=True)
    elapsed = TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=len("0:00:00")))
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), elapsed)
    tasks: dict[str, tuple[TaskID, float]] = {}

    def listener(event: progress.Event) -> None:
        if event.stage not in tasks:
            tasks[event.stage] = (display.add_task(event.stage), time.monotonic())
        if event.said:
            console.print(f"{event.stage}: {event.said}", highlight=False, markup=False)
            return
        if event.table:
            tables[event.stage] = _grid(event.table)
        task, began = tasks[event.stage]
        said = f"{event.stage}: {describe(event, time.monotonic() - began)}".rstrip(": ")
        display.update(task, description=said)
        if event.ended:
            tables.pop(event.stage, None)
            display.remove_task(tasks.pop(event.stage)[0])
            console.print(said, highlight=False, markup=False)

    with Display(*columns, console=console, transient=True) as display:
        with progress.listening(listener):
            yield


def _grid(rows: tuple[tuple[str, ...], ...]) -> "Table":
    """A header and rows; what looks like Rich's markup in them is text."""
    from rich.table import Table
    from rich.text import Text

    header, *lines = rows
    grid = Table(*header, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for line in lines:
        grid.add_row(*(Text(cell, overflow="ellipsis", no_wrap=True) for cell in line))
    return grid
