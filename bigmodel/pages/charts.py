"""Bars, whiskers, curves and heat maps that grow with the page and whose text is text.

Widths are percentages, so that letters keep their size on a telephone; colours and fonts are the
page's (`page.STYLE`), which is why no drawing library makes them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from bigmodel.pages.page import Html, Words, markup, percent

_ROW, _BAR = 28, 16  # pixels
_NAMES, _BARS = 24, 44  # per cent of the width; the rest is for the figures
_COLUMNS, _MARGIN = 150, 22  # pixels
_PLOT = 200  # pixels
_DARK = 0.6  # a cell of this shade and more is written on in another colour
_FLAT = 3  # characters of a label above a heat map's column

Axis = tuple[float, float]
Points = Sequence[tuple[float, float]]


def bars(values: Mapping[str, float], *, shown: Mapping[str, str], title: Words) -> Html:
    """A bar a name, in the order given, with what is `shown` of each beside it; none of no names.

    A name that is too long is cut by the browser and stands whole in its tooltip.
    """
    if not values:
        return Html("")
    largest = max(values.values()) or 1
    return _svg(
        title,
        len(values) * _ROW,
        [
            _bar(number, name, value / largest, shown[name])
            for number, (name, value) in enumerate(values.items())
        ],
    )


def histogram(counts: Sequence[int], *, names: Sequence[str], title: Words) -> Html:
    """A column a bin, its count above and its name below."""
    largest = max(counts, default=0) or 1
    width = 100 / max(1, len(counts))
    columns = []
    for number, (count, name) in enumerate(zip(counts, names, strict=True)):
        middle = f"{(number + 0.5) * width:.2f}%"
        height = round(_COLUMNS * count / largest, 1)
        top = _MARGIN + _COLUMNS - height
        columns.append(
            f'<rect class="bar" x="{(number + 0.1) * width:.2f}%" y="{top}" '
            f'width="{0.8 * width:.2f}%" height="{height}" rx="2"/>'
            f'<text class="figure" x="{middle}" y="{top - 6}">{short(count)}</text>'
            f'<text class="figure" x="{middle}" y="{_MARGIN + _COLUMNS + 17}">{escape(name)}</text>'
        )
    return _svg(title, _COLUMNS + 2 * _MARGIN, columns)


def short(count: int) -> str:
    """1,234 as 1.2k: columns are narrow on a telephone."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k".replace(".0k", "k") if count < 10_000 else f"{count // 1000}k"


def axis_of(values: Sequence[float]) -> Axis:
    """Whole tenths around shares; from 0 to 1 of no values."""
    low, high = math.floor(10 * min(values, default=0)), math.ceil(10 * max(values, default=1))
    return low / 10, max(high, low + 1) / 10


def scale(axis: Axis) -> Html:
    """The ends of a column of whiskers, for its header."""
    ends = "".join(f"<span>{end:.0%}</span>" for end in axis)
    return Html(f'<span class="scale">{ends}</span>')


def whisker(
    value: float, interval: Sequence[float] | None, *, axis: Axis, mark: float | None = None
) -> Html:
    """A share as a dot on its interval, for a cell of a table; `mark` is what to compare with.

    Nothing without an interval.
    """
    if interval is None:
        return Html("")
    low, high = (place(end, axis) for end in interval)
    middle = 'y1="50%" y2="50%"'
    parts = [f'<line class="rule" x1="0" x2="100%" {middle}/>']
    if mark is not None:
        at = place(mark, axis)
        parts.append(f'<line class="mark" x1="{at}" x2="{at}" y1="0" y2="100%"/>')
    parts.append(f'<line class="one" x1="{low}" x2="{high}" {middle}/>')
    parts.append(f'<circle class="one" cx="{place(value, axis)}" cy="50%" r="4"/>')
    label = f"{percent(value)} ({percent(interval[0])} – {percent(interval[1])})"
    return Html(f'<svg class="whisker" role="img" aria-label="{label}">{"".join(parts)}</svg>')


def curves(series: Mapping[Words, Points], *, title: Words, shares: bool) -> Html:
    """A line a name (two at most) over whole numbers, with their legend; nothing of no points."""
    points = [point for one in series.values() for point in one]
    if not points:
        return Html("")
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    heights = ticks(min(y for _, y in points), max(y for _, y in points))
    across, up = (first, max(last, first + 1)), (heights[0], heights[-1])
    show = (
        "{:.0%}" if shares and heights[1] - heights[0] >= 0.01 else "{:.1%}" if shares else "{:g}"
    )
    left = {height(tick, up): show.format(tick) for tick in heights}
    below = {place(tick, across): f"{tick:g}" for tick in sorted({first, last})}
    lines = [
        line(one, across, up, name) for one, name in zip(series.values(), _SERIES, strict=False)
    ]
    return Html(_legend(series) + plot(title, left=left, below=below, parts=lines))


def diagonal(points: Points, *, title: Words) -> Html:
    """Shares against shares, both from 0 to 1, beside the line where they are equal."""
    if not points:
        return Html("")
    ends = (0.0, 1.0)
    left = {height(tick / 4, ends): f"{tick / 4:.0%}" for tick in range(5)}
    below = {place(tick / 4, ends): f"{tick / 4:.0%}" for tick in range(5)}
    equal = '<line class="mark" x1="0" y1="100%" x2="100%" y2="0"/>'
    dots = "".join(
        f'<circle class="one" cx="{place(x, ends)}" cy="{height(y, ends)}" r="3"/>'
        for x, y in points
    )
    return plot(title, left=left, below=below, parts=[equal, line(points, ends, ends, "one"), dots])


def heat_map(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    """The confusion table, a row a true label; the larger a cell's share of its row, the darker."""
    lines = (
        f"<tr>{_name('row', label)}{''.join(_cells(row, own))}</tr>"
        for own, (label, row) in enumerate(zip(labels, counts, strict=True))
    )
    names = "".join(_name("col", label) for label in labels)
    return Html(
        f'<div class="scroll"><table class="heat">\n<thead><tr><td></td>{names}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _bar(number: int, name: str, share: float, shown: str) -> str:
    top = number * _ROW
    width = _BARS * share
    return (
        f'<svg y="{top}" width="{_NAMES - 1}%" height="{_ROW}"><title>{escape(name)}</title>'
        f'<text y="{_BAR + 3}">{escape(name)}</text></svg>'
        f'<rect class="bar" x="{_NAMES}%" y="{top + (_ROW - _BAR) // 2}" width="{width:.2f}%" '
        f'height="{_BAR}" rx="2"/>'
        f'<text x="{_NAMES + width:.2f}%" dx="8" y="{top + _BAR + 3}">{escape(shown)}</text>'
    )


def _svg(title: Words, height: int, parts: Sequence[str]) -> Html:
    label = escape(str(title))
    return Html(
        f'<svg class="chart" role="img" aria-label="{label}" width="100%" height="{height}">'
        f"{''.join(parts)}</svg>"
    )


_SERIES = ("one", "two")  # the colours


def _name(scope: str, label: str) -> str:
    """A label beside its row or above its column, where only a short one lies flat."""
    kind = ' class="upright"' if scope == "col" and len(label) > _FLAT else ""
    whole = escape(label)
    return f'<th scope="{scope}"{kind} title="{whole}"><span>{whole}</span></th>'


def _cells(row: Sequence[int], own: int) -> Iterator[str]:
    total = sum(row) or 1
    for i, count in enumerate(row):
        shade = math.sqrt(count / total)  # the eye tells few from none, and they matter
        kind = ("right" if i == own else "wrong") + (" full" if shade >= _DARK else "")
        shown = f"{count:,}" if count else ""
        yield f'<td class="{kind}" style="--share:{shade:.2f}">{shown}</td>'


def place(value: float, axis: Axis) -> str:
    low, high = axis
    return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.2f}%"


def height(value: float, axis: Axis) -> str:
    """As `_place`, from the bottom."""
    return place(axis[1] - value + axis[0], axis)


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers from below the least to above the largest."""
    span = max(high - low, abs(high) / 100, 1e-6)
    power = 10.0 ** math.floor(math.log10(span / 3))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= span / 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def line(points: Points, across: Axis, up: Axis, name: str) -> str:
    """A line over the whole plot: it is drawn in hundredths, and stretched."""
    places = (f"{place(x, across)[:-1]},{height(y, up)[:-1]}" for x, y in points)
    return (
        '<svg width="100%" height="100%" viewBox="0 0 100 100" preserveAspectRatio="none" '
        f'overflow="visible"><polyline class="{name} curve" points="{" ".join(places)}"/></svg>'
    )


def plot(
    title: Words, *, left: Mapping[str, str], below: Mapping[str, str], parts: Sequence[str]
) -> Html:
    """A frame with figures at places to the left and below, and what is drawn in it."""
    rules = "".join(
        f'<line class="rule" x1="0" x2="100%" y1="{at}" y2="{at}"/>'
        f'<text class="left" x="-8" y="{at}" dy="4">{escape(shown)}</text>'
        for at, shown in left.items()
    )
    ends = "".join(
        f'<text x="{at}" y="100%" dy="18">{escape(shown)}</text>' for at, shown in below.items()
    )
    return Html(
        f'<svg class="plot" role="img" aria-label="{escape(str(title))}" height="{_PLOT}">'
        f"{rules}{ends}{''.join(parts)}</svg>"
    )


def _legend(series: Mapping[Words, Points]) -> str:
    names = "".join(
        f'<span><svg viewBox="0 0 10 10"><circle class="{kind}" cx="5" cy="5" r="4"/></svg>'
        f"{markup(name)}</span>"
        for name, kind in zip(series, _SERIES, strict=False)
    )
    return f'<p class="legend">{names}</p>'
