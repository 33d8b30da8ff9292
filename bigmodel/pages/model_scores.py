"""How well a model does, as parts of its page: its scores, by label, and how sure it is."""

from collections.abc import Iterable, Sequence

from bigmodel.pages import model_words as words
from bigmodel.pages.charts import Axis, axis_of, diagonal, heat_map, histogram, scale, whisker
from bigmodel.pages.model_words import SCORES, Figures
from bigmodel.pages.page import (
    Both,
    Html,
    Words,
    pair,
    paragraph,
    percent,
    subsection,
    table,
    tiles,
)

INTERVAL = Both("95 % interval", "95% 置信区间")
MOST_LISTED = 40


def all_scores(report: Figures) -> Html:
    return table((Both("score", "指标"), Both("value", "取值"), INTERVAL), _shown(report, *SCORES))


def main_scores(report: Figures) -> Html:
    """The scores that matter most."""
    shown = _shown(report, *words.MAIN)
    return tiles(
        {name: value for name, value, _ in shown}, notes={name: of for name, _, of in shown if of}
    )


def _shown(scored: Figures, *names: str) -> list[tuple[Words, str, str]]:
    """(name, value, interval) of the scores that are there."""
    found: list[tuple[Words, str, str]] = []
    for name in names:
        if scored.get(name) is not None:
            show = "{:.3f}".format if name in words.NO_SHARES else percent
            between = words.between(interval_of(scored, name), show)
            found.append((SCORES[name], show(scored[name]), between))
    return found


def baselines(report: Figures) -> Iterable[Html]:
    there = report.get("baselines") or {}
    if not there:
        return
    rows = {Both("this model", "本模型"): report}
    rows |= {name: there[key] for key, name in words.BASELINES.items() if key in there}
    for score in ("accuracy", "macro_f1"):
        axis = axis_around([(one[score], interval_of(one, score)) for one in rows.values()])
        yield table(
            (Both("model", "模型"), scale(axis), SCORES[score], INTERVAL),
            (
                (name, whisker(one[score], of, axis=axis), one[score], words.between(of))
                for name, one in rows.items()
                for of in [interval_of(one, score)]
            ),
        )


def of_each_label(report: Figures) -> Iterable[Html]:
    """The classes with rows, the weakest first."""
    of_class = {label: one for label, one in report["per_class"].items() if one["rows"]}
    worst = sorted(of_class, key=lambda label: of_class[label]["f1"])
    intervals = report["interval"].get("per_class", {})
    listed = [(label, of_class[label], intervals.get(label, {})) for label in worst[:MOST_LISTED]]
    axis = axis_around([(one["f1"], of.get("f1")) for _, one, of in listed])
    others = ("precision", "recall", "average_precision")
    yield paragraph(
        Both(
            "F1 with its 95 % interval, the weakest first; the dashed line is macro-F1.",
            "F1 及其 95% 置信区间，由弱到强排列；虚线为宏平均 F1。",
        ),
        kind="soft",
    )
    yield table(
        (
            Both("label", "标签"),
            scale(axis),
            *(SCORES[name] for name in ("f1", *others)),
            Both("rows", "行数"),
        ),
        (
            (
                label,
                whisker(one["f1"], of.get("f1"), axis=axis, mark=report["macro_f1"]),
                *(one.get(name) for name in ("f1", *others)),
                one["rows"],
            )
            for label, one, of in listed
        ),
    )
    yield paragraph(words.shown_of(MOST_LISTED, len(worst)), kind="soft")


def confusions(report: Figures) -> Iterable[Html]:
    if 1 < len(report["labels"]) <= MOST_LISTED and report.get("confusion"):
        yield paragraph(
            Both(
                "A row is a true label, a column what the model said; the darker a cell, the "
                "larger its share of the row.",
                "每行是真实标签，每列是模型的回答；颜色越深，占该行的比例越大。",
            ),
            kind="soft",
        )
        yield heat_map(report["labels"], report["confusion"])
    yield subsection(
        Both("Most often", "最常见的混淆"),
        table(
            (Both("label", "标签"), Both("the model says", "模型回答"), Both("rows", "行数")),
            ((o["label"], o["said"], o["rows"]) for o in report.get("confused", ())[:MOST_LISTED]),
        ),
    )


def confidence(report: Figures) -> Iterable[Html]:
    bins = [one for one in report.get("calibration", ()) if one["rows"]]
    if bins:
        yield paragraph(
            Both(
                "On the dashed line an answer with a score of 80 % is right 8 times in 10; below "
                "it, the model is too sure of itself.",
                "落在虚线上表示名副其实：置信度为 80% 的答案，10 个里对 8 个；低于虚线则过于自信。",
            ),
            kind="soft",
        )
        title = Both("Share of right answers by score", "各置信度下的正确比例")
        sizes = Both("Answers by score", "各置信度的答案数")
        yield pair(
            subsection(
                title, diagonal([(o["confidence"], o["accuracy"]) for o in bins], title=title)
            ),
            subsection(
                sizes,
                histogram(
                    [one["rows"] for one in bins],
                    names=[f"≤{one['to']:.0%}" for one in bins],
                    title=sizes,
                ),
            ),
        )
    for sentence in words.promise(report["promise"]) if report.get("promise") else ():
        yield paragraph(sentence)


def interval_of(scored: Figures, name: str) -> Sequence[float] | None:
    return (scored.get("interval") or {}).get(name)


def axis_around(values: Iterable[tuple[float, Sequence[float] | None]]) -> Axis:
    """One for a column of values with their intervals."""
    return axis_of([end for value, interval in values for end in (value, *(interval or ()))])
