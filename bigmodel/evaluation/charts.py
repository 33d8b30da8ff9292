"""Bars and histograms as inline SVG that grows with the page and whose text is text.

Widths are percentages, so that letters keep their size on a telephone; colours and fonts are the
page's (`page.STYLE`), which is why no drawing library makes them.
"""

from collections.abc import Mapping, Sequence
from html import escape

from bigmodel.evaluation.page import Html

_ROW, _BAR = 28, 16  # pixels
_NAMES, _BARS = 24, 44  # per cent of the width; the rest is for the figures
_COLUMNS, _MARGIN = 150, 22  # pixels


def bars(values: Mapping[str, float], *, shown: Mapping[str, str], title: str) -> Html:
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


def histogram(counts: Sequence[int], *, names: Sequence[str], title: str) -> Html:
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


def _svg(title: str, height: int, parts: Sequence[str]) -> Html:
    label = escape(title)
    return Html(
        f'<svg class="chart" role="img" aria-label="{label}" width="100%" height="{height}">'
        f"{''.join(parts)}</svg>"
    )
