"""A page that stands alone, in which whatever a user wrote is text."""

import re

import pytest
from outline import EVIL, Outline

from bigmodel.pages.charts import bars, histogram, short
from bigmodel.pages.page import (
    STYLE,
    Html,
    alerts,
    link,
    page,
    paragraph,
    section,
    subsection,
    table,
    tiles,
)


def whole() -> str:
    """A page with every part there is, all of them full of what mustn't become markup."""
    shown = {EVIL: EVIL}
    parts = (
        tiles(shown),
        alerts([EVIL]),
        section(
            EVIL,
            paragraph(EVIL),
            link(EVIL, EVIL),
            table([EVIL, EVIL, EVIL], [(EVIL, 1200, 0.25)]),
            subsection(EVIL, bars({EVIL: 3}, shown=shown, title=EVIL)),
            histogram([1], names=[EVIL], title=EVIL),
        ),
    )
    return page(EVIL, *parts, subtitle=EVIL).decode()


def test_what_a_user_wrote_is_text_in_every_part():
    found = Outline(whole())
    assert "script" not in found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert found.text.count(EVIL) == 18


def test_a_page_needs_nothing_but_itself():
    document = whole()
    outside = re.findall(r"https?:|url\(|@import|<link|<img|src=", document)
    assert outside == []
    assert '<meta charset="utf-8">' in document
    for font in ("PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC"):
        assert font in STYLE
    assert "prefers-color-scheme: dark" in STYLE


@pytest.mark.parametrize(
    "part",
    [
        alerts([]),
        table(["行"], []),
        bars({}, shown={}, title="标签"),
        paragraph(""),
        section("空", Html(""), table(["行"], [])),
        subsection("空", paragraph("")),
    ],
)
def test_a_part_without_content_is_nothing(part):
    assert part == ""


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (12345, '<td class="number">12,345</td>'),
        (0.256, '<td class="number">25.6%</td>'),
        (0.0001, '<td class="number">&lt;0.1%</td>'),
        (0.0, '<td class="number">0.0%</td>'),
        ("很好", "<td>很好</td>"),
        ("很" * 25, f'<td class="long">{"很" * 25}</td>'),
    ],
)
def test_a_cell_is_written_for_its_kind(value, cell):
    assert f"<tr>{cell}</tr>" in table(["列"], [(value,)])


def test_bars_are_as_long_as_their_values_and_the_longest_leaves_room_for_its_figure():
    chart = bars(
        {"正面": 200, "负面": 50, "中性": 0},
        shown=dict.fromkeys(["正面", "负面", "中性"], ""),
        title="标签",
    )
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)%"', chart)]
    assert widths == [44.0, 11.0, 0.0]
    assert "<title>正面</title>" in chart


def test_columns_are_as_high_as_their_counts():
    chart = histogram([10, 5, 0], names=["≤2", "≤5", ">5"], title="长度")
    assert re.findall(r'<rect[^>]* height="([\d.]+)"', chart) == ["150.0", "75.0", "0.0"]
    assert "≤2</text>" in chart and "&gt;5</text>" in chart


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (1000, "1k"), (1234, "1.2k"), (9990, "10k"), (123456, "123k")],
)
def test_a_count_is_said_in_few_letters(count, said):
    assert short(count) == said
