"""One HTML page that needs nothing else and no network: parts in, bytes out.

    page("reviews", tiles({"rows": "10,000"}), section("Labels", bars(…), table(…)))

Every part escapes the text it is given; only `Html` goes in as it stands. A text may be given in
two languages (`Both`): the reader's browser chooses, and a switch on top changes it. The look is
plain, in light or dark as the reader's machine is set, and fit for paper.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d2126; --soft: #5c6670;
  --line: #e2e6ea; --tint: #f5f7f9; --bar: #3572b0; --on-bar: #ffffff; --alert: #a8480f;
  --right: 53 114 176; --wrong: 200 92 30; --alert-tint: #fdf3ea; --good: #1f7a4d;
  --good-tint: #edf7f1 }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e4e7ea;
  --soft: #98a2ad; --line: #2d343b; --tint: #1d2227; --bar: #6aa5e0; --on-bar: #10151a;
  --right: 106 165 224; --wrong: 240 164 104;
  --alert: #f0a468; --alert-tint: #2b2118; --good: #6cc495; --good-tint: #17261e } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 56rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.6 system-ui, "Segoe UI", Roboto, "PingFang SC",
  "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", sans-serif }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem }
p { margin: .5rem 0; overflow-wrap: anywhere }
a { color: var(--bar) }
.soft { color: var(--soft) }
.verdict { border-left: 4px solid var(--bar); font-size: 1.3rem; line-height: 1.5;
  margin: 1.75rem 0 1rem; padding-left: 1rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; padding: 0 }
.tiles div { background: var(--tint); border-radius: 8px; padding: .75rem 1rem }
.tiles dt { color: var(--soft); font-size: .85rem }
.tiles dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums }
.tiles dd + dd { color: var(--soft); font-size: .8rem }
.alerts { list-style: none; margin: 1.5rem 0; padding: 0 }
.alerts li { background: var(--alert-tint); border-left: 3px solid var(--alert);
  border-radius: 0 6px 6px 0; margin: .5rem 0; overflow-wrap: anywhere; padding: .5rem .85rem }
.alerts.good li { background: var(--good-tint); border-color: var(--good) }
.scroll { overflow-x: auto; margin: .75rem 0 }
table { border-collapse: collapse; font-size: .92rem; min-width: 60% }
th { border-bottom: 1px solid var(--line); color: var(--soft); font-weight: 500; text-align: left;
  white-space: nowrap }
th, td { padding: .35rem 1.25rem .35rem 0; vertical-align: top }
table:has(.scale) { width: 100% }
th:has(.scale) { width: 34% }
td:not(.number) { min-width: 5rem }
td { border-bottom: 1px solid var(--line); max-width: 32rem; overflow-wrap: break-word;
  unicode-bidi: isolate }
.long { min-width: 12rem; overflow-wrap: anywhere }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap }
pre { background: var(--tint); border-radius: 8px; font: .85rem/1.55 ui-monospace, Consolas,
  "Noto Sans Mono CJK SC", monospace; margin: .75rem 0; max-height: 24rem; overflow: auto;
  padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere }
.pair { column-gap: 2rem; display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)) }
.chart { display: block; margin: .75rem 0; overflow: hidden }
.chart text { fill: var(--ink); font-size: 13px }
.chart .figure { fill: var(--soft); font-size: 11px; text-anchor: middle }
.chart .bar { fill: var(--bar) }
.plot { display: block; margin: 1rem .75rem 2.5rem 3.25rem; overflow: visible;
  width: calc(100% - 4rem) }
.plot text { fill: var(--soft); font-size: 11px; text-anchor: middle }
.plot .left { text-anchor: end }
.whisker { display: block; height: 1.5rem; min-width: 8rem; overflow: visible; width: 100% }
.rule { stroke: var(--line) }
.mark { stroke: var(--soft); stroke-dasharray: 3 3 }
.one { fill: var(--bar); stroke: var(--bar); stroke-width: 2 }
.two { fill: var(--alert); stroke: var(--alert); stroke-width: 2 }
.curve { fill: none; vector-effect: non-scaling-stroke }
.scale { display: flex; font-size: .8rem; justify-content: space-between; min-width: 8rem }
.legend { font-size: .85rem }
.legend svg { height: .7rem; margin-right: .4rem; width: .7rem }
.legend > span { margin-right: 1.25rem; white-space: nowrap }
.heat { border-collapse: separate; border-spacing: 2px; min-width: 0 }
.heat th, .heat td { border: 0; padding: .35rem .5rem }
.heat th span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.heat thead th { font-size: .85rem; text-align: center; vertical-align: bottom }
.heat thead span { margin: 0 auto; max-height: 8rem }
.heat .upright span { writing-mode: vertical-rl }
.heat tbody th { background: var(--paper); color: var(--ink); left: 0; padding-left: 0;
  position: sticky; vertical-align: middle }
.heat tbody span { max-width: 8rem }
.heat td { border-radius: 4px; font-size: .85rem; min-width: 2.6rem;
  text-align: center; font-variant-numeric: tabular-nums; vertical-align: middle }
.heat .right { background: rgb(var(--right) / var(--share)) }
.heat .wrong { background: rgb(var(--wrong) / var(--share)) }
.heat .full { color: var(--on-bar) }
.language { opacity: 0; position: absolute }
.language + label { border: 1px solid var(--line); cursor: pointer; float: right;
  font-size: .85rem; padding: .1rem .7rem }
.language:checked + label { background: var(--bar); border-color: var(--bar);
  color: var(--on-bar) }
.language:focus-visible + label { outline: 2px solid var(--ink); outline-offset: 2px }
#chinese + label { border-radius: 0 6px 6px 0 }
#english + label { border-radius: 6px 0 0 6px }
#english:checked ~ * [lang="zh-CN"], #chinese:checked ~ * [lang="en"] { display: none }
@media print { body { max-width: none; padding: 0; print-color-adjust: exact;
  -webkit-print-color-adjust: exact } h2, h3, thead { break-after: avoid }
  tr, .chart, .plot, .tiles { break-inside: avoid } .scroll, pre { max-height: none;
  overflow: visible } .language + label { display: none } }
"""

SCRIPT = """
const chinese = document.getElementById("chinese"), english = document.getElementById("english");
const tell = () => { document.documentElement.lang = chinese.checked ? "zh-CN" : "en" };
(navigator.language.startsWith("zh") ? chinese : english).checked = true;
chinese.onchange = english.onchange = tell;
tell();
"""
"""Only the first choice of language needs it; the switch itself is style."""


class Html(str):
    """Markup that is ready to stand in a page."""


@dataclass(frozen=True)
class Both:
    """A text in the two languages of a page, of which the reader sees one."""

    en: str
    zh: str

    def __str__(self) -> str:
        """Both, for where no switch reaches."""
        return f"{self.en} / {self.zh}"


Words = str | Both


def page(title: str, *parts: Html, subtitle: Words = "", switch: bool = False) -> bytes:
    """The whole document, in UTF-8; with a `switch` where its texts are `Both`.

    Half a surrogate pair in a user's text is shown as a question mark.
    """
    script = f"<script>{SCRIPT}</script>\n" if switch else ""
    allowed = f"'sha256-{b64encode(sha256(SCRIPT.encode()).digest()).decode()}'"
    rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}"
    head = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<body>\n"
    )
    top = f'<h1>{escape(title)}</h1>\n<p class="soft">{markup(subtitle)}</p>\n'
    whole = f"{head}{_SWITCH if switch else ''}{top}{join(parts)}\n{script}</body>\n</html>\n"
    return whole.encode(errors="replace")


_SWITCH = "".join(
    f'<input class="language" type="radio" name="language" id="{name}"{checked}>'
    f'<label for="{name}">{shown}</label>\n'
    for name, shown, checked in (("chinese", "中文", ""), ("english", "English", " checked"))
)  # they float to the right, the first outermost


def markup(words: Words, *, tag: str = "span") -> Html:
    """A text as it goes into a page; inside an SVG a part of a text is a `tspan`."""
    if isinstance(words, Html):
        return words
    if isinstance(words, Both):
        shown = (("en", words.en), ("zh-CN", words.zh))
        return Html("".join(f'<{tag} lang="{in_}">{escape(said)}</{tag}>' for in_, said in shown))
    return Html(escape(words))


def section(title: Words, *parts: Html) -> Html:
    """A heading and what is under it; nothing where that is empty."""
    inside = join(parts)
    return Html(f"<section>\n<h2>{markup(title)}</h2>\n{inside}\n</section>" if inside else "")


def subsection(title: Words, *parts: Html) -> Html:
    """As `section`, one step down."""
    inside = join(parts)
    return Html(f"<h3>{markup(title)}</h3>\n{inside}" if inside else "")


def pair(*parts: Html) -> Html:
    """Parts beside each other, where the page is wide enough."""
    inside = "\n".join(f"<div>{part}</div>" for part in parts if part)
    return Html(f'<div class="pair">{inside}</div>' if inside else "")


def paragraph(text: Words, *, kind: str = "") -> Html:
    """`kind`: "soft" for what explains, "verdict" for what matters most."""
    return Html(f"<p{_class(kind)}>{markup(text)}</p>" if text else "")


def tiles(values: Mapping[Words, Words], *, notes: Mapping[Words, Words] | None = None) -> Html:
    """The few figures that matter most, large; `notes` of some of them stand below, small."""
    below = {name: f"<dd>{markup(note)}</dd>" for name, note in (notes or {}).items()}
    inside = "".join(
        f"<div><dt>{markup(name)}</dt><dd>{markup(value)}</dd>{below.get(name, '')}</div>"
        for name, value in values.items()
    )
    return Html(f'<dl class="tiles">{inside}</dl>')


def alerts(sentences: Iterable[Words], *, good: bool = False) -> Html:
    inside = "".join(f"<li>{markup(sentence)}</li>" for sentence in sentences)
    kind = "alerts good" if good else "alerts"
    return Html(f'<ul class="{kind}">{inside}</ul>' if inside else "")


def code(text: str) -> Html:
    """Lines for a machine, as they stand."""
    return Html(f"<pre>{escape(text)}</pre>" if text else "")


def table(header: Sequence[Words], rows: Iterable[Sequence[object]]) -> Html:
    """A line a row; whole numbers and shares (floats) stand to the right, None is a dash.

    Nothing of no rows.
    """
    lines = [tuple(row) for row in rows]
    if not lines:
        return Html("")
    first = lines[0]
    names = "".join(
        _tag("th", markup(name), of=value) for name, value in zip(header, first, strict=True)
    )
    inside = "\n".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in lines)
    return Html(f'<div class="scroll"><table>\n<tr>{names}</tr>\n{inside}\n</table></div>')


def link(target: str, text: Words) -> Html:
    return Html(f'<p><a href="{escape(target)}">{markup(text)}</a></p>')


def join(parts: Iterable[Html]) -> Html:
    return Html("\n".join(part for part in parts if part))


def percent(share: float) -> str:
    """One decimal; what isn't nothing doesn't look like it."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _cell(value: object) -> str:
    if value is None:
        return _tag("td", Html("–"), of=value)
    if isinstance(value, int):
        return _tag("td", Html(f"{value:,}"), of=value)
    if isinstance(value, float):
        return _tag("td", markup(percent(value)), of=value)
    return _tag("td", markup(value if isinstance(value, Both | Html) else str(value)), of=value)


def _tag(tag: str, inside: Html, *, of: object) -> str:
    """A cell whose place in its column depends on what kind of value it is `of`."""
    if of is None or isinstance(of, int | float):
        return f'<{tag} class="number">{inside}</{tag}>'
    long = len(of) > 24 if isinstance(of, str) and not isinstance(of, Html) else False
    return f"<{tag}{_class('long' if long else '')}>{inside}</{tag}>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
