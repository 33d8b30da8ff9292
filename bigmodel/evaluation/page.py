"""One HTML page that needs nothing else, no network and no script: parts in, bytes out.

    page("reviews", tiles({"rows": "10,000"}), section("Labels", bars(…), table(…)))

Every part escapes the text it is given; only `Html` goes in as it stands, and mypy tells a text
from it. The look is plain, in light or dark as the reader's machine is set.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NewType

Html = NewType("Html", str)

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d2126; --soft: #5c6670;
  --line: #e2e6ea; --tint: #f5f7f9; --bar: #3572b0; --alert: #a8480f; --alert-tint: #fdf3ea }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e4e7ea; --soft: #98a2ad;
  --line: #2d343b; --tint: #1d2227; --bar: #6aa5e0; --alert: #f0a468; --alert-tint: #2b2118 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 56rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.6 system-ui, "Segoe UI", Roboto, "PingFang SC",
  "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", sans-serif }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem }
p { margin: .5rem 0; overflow-wrap: anywhere }
a { color: var(--bar) }
.soft { color: var(--soft) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; padding: 0 }
.tiles div { background: var(--tint); border-radius: 8px; padding: .75rem 1rem }
.tiles dt { color: var(--soft); font-size: .85rem }
.tiles dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums }
.alerts { list-style: none; margin: 1.5rem 0; padding: 0 }
.alerts li { background: var(--alert-tint); border-left: 3px solid var(--alert);
  border-radius: 0 6px 6px 0; margin: .5rem 0; overflow-wrap: anywhere; padding: .5rem .85rem }
.scroll { overflow-x: auto; margin: .75rem 0 }
table { border-collapse: collapse; font-size: .92rem; min-width: 60% }
th { border-bottom: 1px solid var(--line); color: var(--soft); font-weight: 500; text-align: left;
  white-space: nowrap }
th, td { padding: .35rem 1.25rem .35rem 0; vertical-align: top }
td { border-bottom: 1px solid var(--line); max-width: 32rem; overflow-wrap: break-word;
  unicode-bidi: isolate }
.long { min-width: 12rem; overflow-wrap: anywhere }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap }
.chart { display: block; margin: .75rem 0; overflow: hidden }
.chart text { fill: var(--ink); font-size: 13px }
.chart .figure { fill: var(--soft); font-size: 11px; text-anchor: middle }
.chart .bar { fill: var(--bar) }
@media print { body { max-width: none } h2 { break-after: avoid } }
"""


def page(title: str, *parts: Html, subtitle: str = "") -> bytes:
    """The whole document, in UTF-8."""
    head = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<body>\n"
    )
    top = f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(subtitle)}</p>\n'
    return f"{head}{top}{join(parts)}\n</body>\n</html>\n".encode()


def section(title: str, *parts: Html) -> Html:
    """A heading and what is under it; nothing where that is empty."""
    inside = join(parts)
    return Html(f"<section>\n<h2>{escape(title)}</h2>\n{inside}\n</section>" if inside else "")


def subsection(title: str, *parts: Html) -> Html:
    """As `section`, one step down."""
    inside = join(parts)
    return Html(f"<h3>{escape(title)}</h3>\n{inside}" if inside else "")


def paragraph(text: str) -> Html:
    return Html(f"<p>{escape(text)}</p>" if text else "")


def tiles(values: Mapping[str, str]) -> Html:
    """The few figures that matter most, large."""
    inside = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in values.items()
    )
    return Html(f'<dl class="tiles">{inside}</dl>')


def alerts(sentences: Iterable[str]) -> Html:
    inside = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return Html(f'<ul class="alerts">{inside}</ul>' if inside else "")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A line a row; whole numbers and shares (floats) stand to the right. Nothing of no rows."""
    lines = [tuple(row) for row in rows]
    if not lines:
        return Html("")
    first = lines[0]
    names = "".join(_tag("th", name, of=value) for name, value in zip(header, first, strict=True))
    inside = "\n".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in lines)
    return Html(f'<div class="scroll"><table>\n<tr>{names}</tr>\n{inside}\n</table></div>')


def link(target: str, text: str) -> Html:
    return Html(f'<p><a href="{escape(target)}">{escape(text)}</a></p>')


def join(parts: Iterable[Html]) -> Html:
    return Html("\n".join(part for part in parts if part))


def _cell(value: object) -> str:
    if isinstance(value, int):
        return _tag("td", f"{value:,}", of=value)
    if isinstance(value, float):
        return _tag("td", "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}", of=value)
    return _tag("td", str(value), of=value)


def _tag(tag: str, text: str, *, of: object) -> str:
    """A cell whose place in its column depends on what kind of value it is `of`."""
    kind = "number" if isinstance(of, int | float) else "long" if len(str(of)) > 24 else ""
    return (
        f'<{tag} class="{kind}">{escape(text)}</{tag}>'
        if kind
        else f"<{tag}>{escape(text)}</{tag}>"
    )
