"""Charts of a search: a dot and a curve a trial, and parallel coordinates of what was drawn."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bigmodel.pages.charts import Axis, height, line, place, plot, ticks
from bigmodel.pages.page import Both, Html, Words

Trial = Mapping[str, Any]

_FAINT = "opacity: .45"
_HALO = "font-size: 11px; stroke: var(--paper); stroke-width: 3; paint-order: stroke; text-anchor: "
_MANY = 20  # numbers so far apart stand on a logarithm's axis
_AXIS = 7  # rem of the width for each axis, on a narrow screen
_WIDE = "margin: 1rem 3rem 2.5rem; width: calc(100% - 6rem)"
_NONE = "–"


def dots(trials: Sequence[Trial], *, best: int | None, title: Words) -> Html:
    """Score against number, hollow where a trial was stopped, and a line of the best so far."""
    scored = [trial for trial in trials if trial["score"] is not None]
    if not scored:
        return Html("")
    up, left = _up([trial["score"] for trial in scored])
    across = _across([trial["number"] for trial in trials])
    steps: list[tuple[float, float]] = []
    highest = -math.inf
    for trial in scored:
        if trial["score"] > highest:
            steps += [(trial["number"], highest)] if steps else []
            highest = trial["score"]
        steps.append((trial["number"], highest))
    parts = [f'<g style="{_FAINT}">{line(steps, across, up, "one")}</g>']
    for trial in scored:
        kind = "two" if trial["number"] == best else "one"
        hollow = "" if trial["end"] == "ended" else ' style="fill: var(--paper)"'
        parts.append(
            f'<circle class="{kind}"{hollow} cx="{place(trial["number"], across)}" '
            f'cy="{height(trial["score"], up)}" r="5"><title>{_named(trial)}</title></circle>'
        )
    return plot(title, left=left, below=_whole(across), parts=parts)


def courses(trials: Sequence[Trial], *, best: int | None, title: Words) -> Html:
    """A curve a trial: the best score up to each epoch, with a dot where it was stopped."""
    scored = [trial for trial in trials if trial["course"]]
    if not scored:
        return Html("")
    points = [point for trial in scored for point in trial["course"]]
    up, left = _up([score for _, score in points])
    across = _across([epoch for epoch, _ in points])
    parts = []
    for trial in sorted(scored, key=lambda one: one["number"] == best):
        kind, look = ("two", "") if trial["number"] == best else ("one", f' style="{_FAINT}"')
        epoch, score = trial["course"][-1]
        end = (
            f'<circle class="{kind}" cx="{place(epoch, across)}" cy="{height(score, up)}" r="3"/>'
            if trial["end"] == "stopped" or len(trial["course"]) == 1
            else ""
        )
        curve = line(trial["course"], across, up, kind)
        parts.append(f"<g{look}>{curve}{end}<title>{_named(trial)}</title></g>")
    return plot(title, left=left, below=_whole(across), parts=parts)


def parallel(trials: Sequence[Trial], *, best: int | None, metric: str, title: Words) -> Html:
    """An axis a key, the score last; a line a trial, the stronger the higher its score."""
    scored = sorted((t for t in trials if t["score"] is not None), key=lambda one: one["score"])
    keys = list(dict.fromkeys(key for trial in scored for key in trial["values"]))
    if not keys or len(scored) < 2:
        return Html("")
    columns = [[trial["values"].get(key) for trial in scored] for key in keys]
    columns.append([trial["score"] for trial in scored])
    placed = [_axis(values) for values in columns]
    across = (0.0, float(len(keys)))
    parts = []
    for rank, trial in enumerate(scored):
        points = [(number, heights[rank]) for number, (heights, _) in enumerate(placed)]
        kind = "two" if trial["number"] == best else "one"
        opacity = 1.0 if kind == "two" else 0.15 + 0.6 * rank / len(scored)
        parts.append(
            f'<g style="opacity: {opacity:.2f}">{line(points, across, (0.0, 1.0), kind)}'
            f"<title>{_named(trial)}</title></g>"
        )
    names = [*(key.rpartition(".")[2] for key in keys), metric]
    for number, (name, (_, shown)) in enumerate(zip(names, placed, strict=True)):
        parts.append(_drawn(place(number, across), name, shown, last=number == len(keys)))
    inside = plot(title, left={}, below={}, parts=parts)
    width = f'<svg style="{_WIDE}; min-width: {_AXIS * len(columns)}rem"'
    return Html(f'<div class="scroll">{inside.replace("<svg", width, 1)}</div>')


def _axis(values: Sequence[Any]) -> tuple[list[float], dict[str, float]]:
    """(where each value stands, from 0 to 1; what is written at which height)."""
    numbers = [value for value in values if _is_number(value)]
    if len(numbers) == len(values) and len(set(numbers)) > 1:
        log = min(numbers) > 0 and max(numbers) / min(numbers) > _MANY
        scaled = [math.log(number) if log else float(number) for number in numbers]
        low, high = min(scaled), max(scaled)
        ends = {f"{min(numbers):.4g}": 0.0, f"{max(numbers):.4g}": 1.0}
        return [(value - low) / (high - low) for value in scaled], ends
    names = [written(value) for value in values]
    distinct = sorted(set(names), key=lambda name: (name != _NONE, len(name), name))
    spaced = {name: (i + 0.5) / len(distinct) for i, name in enumerate(distinct)}
    return [spaced[name] for name in names], spaced


def _drawn(x: str, name: str, shown: Mapping[str, float], *, last: bool) -> str:
    """An axis with its name below and its values beside it, to the left of the last one."""
    dx, anchor = (-6, "end") if last else (6, "start")
    texts = "".join(
        f'<text x="{x}" y="{height(at, (0.0, 1.0))}" dx="{dx}" dy="4" style="{_HALO}{anchor}">'
        f"{escape(value)}</text>"
        for value, at in shown.items()
    )
    return (
        f'<line class="mark" x1="{x}" x2="{x}" y1="0" y2="100%"/>{texts}'
        f'<text x="{x}" y="100%" dy="22">{escape(name)}</text>'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _up(scores: Sequence[float]) -> tuple[Axis, dict[str, str]]:
    """The axis of some scores, and what stands beside it."""
    heights = ticks(min(scores), max(scores))
    up = (heights[0], heights[-1])
    return up, {height(tick, up): f"{tick:g}" for tick in heights}


def _across(numbers: Sequence[float]) -> Axis:
    return float(min(numbers)), float(max(max(numbers), min(numbers) + 1))


def _whole(across: Axis) -> dict[str, str]:
    """Some whole numbers along an axis, its ends among them."""
    low, high = across
    step = max(1, math.ceil((high - low) / 8))
    found = [*range(int(low), int(high) - step // 2, step), int(high)]
    return {place(number, across): str(number) for number in found}


def _named(trial: Trial) -> str:
    changes = ", ".join(f"{key} = {value}" for key, value in trial["changes"].items())
    return escape(f"{trial['number']}: {trial['score']:.4f} {changes}")


def written(value: Any) -> str:
    """A value as a cell or an axis has it."""
    return _NONE if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def legend() -> Both:
    return Both(
        "The best trial is the orange one; hollow dots are trials that were stopped early. Point "
        "at one for its settings.",
        "橙色为最佳试验，空心点为提前停止的试验；将鼠标移到点或线上可看到其设置。",
    )
