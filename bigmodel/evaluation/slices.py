"""Where a model is weak: scores of parts of the rows, and gaps between groups of them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel.config import PatternSlice
from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import share
from bigmodel.evaluation.resampling import (
    Interval,
    actual_counts,
    drawn_counts,
    share_interval,
)
from bigmodel.evaluation.scores import interval_of
from bigmodel.metrics import Ids, Scores

FEWEST = 20  # rows to be scored: of fewer an interval says nothing
MOST_UNSCORED = 10  # slices with fewer, named of each column: it may be one of a million users

LENGTHS = {"1–10": 10, "11–20": 20, "21–50": 50, "51–100": 100, "101–200": 200}  # the last of each
LONGER = "201+"
UNKNOWN = {"0 %": 0.0, "0–5 %": 0.05, "5–10 %": 0.1, "10–20 %": 0.2}
MORE_UNKNOWN = "20 %+"
RATES = ("selection_rate", "recall")

Column = Sequence[str | None]
Slice = dict[str, Any]


def slices(
    answers: Answers,
    texts: Sequence[str],
    *,
    columns: Mapping[str, Column],
    patterns: Sequence[PatternSlice],
    unknown: Sequence[float],
    seed: int,
) -> list[Slice]:
    """Scores of the rows of each length, share of unknown words, value of a column, and pattern.

    `texts`, `unknown` (shares of unknown words) and the columns are of the rows of `answers`; a row
    without a value is in no slice of that column. Each is {"by", "value", "rows", "accuracy",
    "macro_f1", "interval"}, the least accuracy first. Slices of fewer than FEWEST rows come last,
    the largest first and at most MOST_UNSCORED of each `by`, as {"by", "value", "rows"}.
    """
    scored: list[Slice] = []
    unscored: list[Slice] = []
    found = parts(texts, columns=columns, patterns=patterns, unknown=unknown)
    for by, values in found.items():
        few: list[Slice] = []
        for value, rows in values.items():
            about = {"by": by, "value": value, "rows": len(rows)}
            if len(rows) < FEWEST:
                few.append(about)
            else:
                scored.append(about | interval_of(answers.take(rows), seed=seed))
        unscored += sorted(few, key=lambda one: -one["rows"])[:MOST_UNSCORED]
    return sorted(scored, key=lambda one: one["accuracy"]) + unscored


def parts(
    texts: Sequence[str],
    *,
    columns: Mapping[str, Column],
    patterns: Sequence[PatternSlice],
    unknown: Sequence[float],
) -> dict[str, dict[str, Ids]]:
    """The positions of the rows of each slice, by what tells them apart and its value.

    A column that is called like one of our own kinds of slice takes its place.
    """
    return {
        "length": _rows([_bin(len(text), LENGTHS, LONGER) for text in texts]),
        "unknown words": _rows([_bin(one, UNKNOWN, MORE_UNKNOWN) for one in unknown]),
        "pattern": {one.name: _matching(one, texts) for one in patterns},
        **{name: _rows(values) for name, values in columns.items()},
    }


def gaps(answers: Answers, *, columns: Mapping[str, Column], seed: int) -> list[Slice]:
    """How differently a model treats the rows of each value of a column, for each label.

    "selection_rate" {value: share of its rows that are given the label}; "recall" {value: share of
    its rows of that label that are given it}; "gap" the largest difference of each, with "interval"
    that of the difference between these two values: where it holds 0 there may be no gap. Of many
    values two differ by chance. Values of fewer than FEWEST rows, of the label for recall, are left
    out; the gap is None where fewer than two are left. The widest gaps come first.
    """
    found: list[Slice] = []
    for by, values in columns.items():
        groups = {value: rows for value, rows in _rows(values).items() if len(rows) >= FEWEST}
        if len(groups) < 2:
            continue
        rates = {value: _rates(answers.take(rows), seed) for value, rows in groups.items()}
        for label in answers.labels:
            gap = {name: _gap({v: r[label][name] for v, r in rates.items()}) for name in RATES}
            turned = {key: {name: gap[name][key] for name in RATES} for key in ("gap", "interval")}
            of_each = {name: gap[name]["rates"] for name in RATES}
            found.append({"by": by, "label": label, **of_each, **turned})
    return sorted(found, key=lambda one: -max(gap or 0.0 for gap in one["gap"].values()))


@dataclass(frozen=True)
class _Rate:
    value: float
    interval: Interval


def _rates(group: Answers, seed: int) -> dict[str, dict[str, _Rate | None]]:
    """RATES of each label in a group of rows; a recall of too few rows is None."""
    (actual,), (drawn,) = actual_counts([group]), drawn_counts([group], seed=seed)
    given = actual.said / actual.rows, drawn.said / drawn.rows[:, None]
    recall = share(actual.hits, actual.true), share(drawn.hits, drawn.true)
    found: dict[str, dict[str, _Rate | None]] = {}
    for k, label in enumerate(group.labels):
        every, true = np.ones(len(group), np.bool_), group.truth == k
        found[label] = {
            name: _rate(float(value[k]), spread[:, k], group.unit[rows])
            for name, (value, spread), rows in zip(
                RATES, (given, recall), (every, true), strict=True
            )
        }
    return found


def _rate(value: float, drawn: Scores, unit: Ids) -> _Rate | None:
    """Of rows of these units [N]; None where they are too few."""
    if len(unit) < FEWEST:
        return None
    return _Rate(value, share_interval(value, drawn, len(np.unique(unit))))


def _gap(rates: Mapping[str, _Rate | None]) -> dict[str, Any]:
    """{"rates", "gap", "interval"} of the groups that have a rate.

    The interval is Newcombe's, "Interval estimation for the difference between independent
    proportions" (1998), method 10, made of the intervals of both shares.
    """
    known = {value: rate for value, rate in rates.items() if rate is not None}
    found = {"rates": {value: rate.value for value, rate in known.items()}}
    if len(known) < 2:
        return found | {"gap": None, "interval": None}
    least = min(known.values(), key=lambda rate: rate.value)
    most = max(known.values(), key=lambda rate: rate.value)
    gap = most.value - least.value
    below = math.hypot(most.value - most.interval[0], least.interval[1] - least.value)
    above = math.hypot(most.interval[1] - most.value, least.value - least.interval[0])
    return found | {"gap": gap, "interval": [gap - below, gap + above]}


def _rows(values: Iterable[str | None]) -> dict[str, Ids]:
    """The positions of each value, in the order of the values."""
    places: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            places.setdefault(value, []).append(place)
    return {value: np.array(places[value], np.int64) for value in sorted(places)}


def _matching(slice_: PatternSlice, texts: Sequence[str]) -> Ids:
    search = re.compile(slice_.pattern).search
    return np.array([place for place, text in enumerate(texts) if search(text)], np.int64)


def _bin(value: float, bins: Mapping[str, float], beyond: str) -> str:
    """The first bin that reaches so far."""
    return next((name for name, most in bins.items() if value <= most), beyond)
