"""Where a chart puts its values."""

import re

import pytest

from bigmodel.pages.charts import axis_of, curves, diagonal, heat_map, whisker


@pytest.mark.parametrize(
    ("values", "axis"),
    [([], (0, 1)), ([0.0, 1.0], (0, 1)), ([0.62, 0.87], (0.6, 0.9)), ([0.8, 0.8], (0.8, 0.9))],
)
def test_an_axis_ends_at_whole_tenths(values, axis):
    assert axis_of(values) == axis


def test_a_whisker_lies_on_its_interval_and_within_its_axis():
    drawn = whisker(0.75, [0.7, 1.0], axis=(0.5, 0.9), mark=0.6)
    assert 'cx="62.50%"' in drawn
    assert 'class="one" x1="50.00%" x2="100.00%"' in drawn
    assert 'class="mark" x1="25.00%" x2="25.00%"' in drawn
    assert 'aria-label="75.0% (70.0% – 100.0%)"' in drawn
    assert whisker(0.75, None, axis=(0.5, 0.9)) == ""


@pytest.mark.parametrize(
    ("heights", "shares", "ticks"),
    [
        ([0.7, 0.02], False, ["0", "0.2", "0.4", "0.6", "0.8"]),
        ([0.71, 0.88], True, ["70%", "75%", "80%", "85%", "90%"]),
        ([0.901, 0.909], True, ["90.0%", "90.5%", "91.0%"]),
        ([0.5, 0.5], True, ["50.0%", "50.2%"]),
    ],
)
def test_a_curve_has_round_figures_beside_it(heights, shares, ticks):
    drawn = curves({"验证集": list(enumerate(heights, 1))}, title="得分", shares=shares)
    assert re.findall(r'class="left"[^>]*>([^<]*)<', drawn) == ticks


def test_curves_go_through_their_points():
    drawn = curves({"训练集": [(1, 1.0), (3, 0.5), (5, 0.0)]}, title="损失", shares=False)
    assert 'points="0.00,0.00 50.00,50.00 100.00,100.00"' in drawn
    assert curves({}, title="损失", shares=False) == ""
    assert diagonal([], title="置信度") == ""


def test_a_heat_map_shades_each_row_by_its_shares():
    drawn = heat_map(["正面", "负面评价等"], [[25, 75], [0, 0]])
    cells = re.findall(r'<td class="([^"]*)" style="--share:([\d.]+)">([\d,]*)<', drawn)
    assert cells == [("right", "0.50", "25"), ("wrong full", "0.87", "75"),
                     ("wrong", "0.00", ""), ("right", "0.00", "")]  # fmt: skip
    assert re.findall(r'scope="col"( class="upright")?', drawn) == ["", ' class="upright"']
