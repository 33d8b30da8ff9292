"""Where a model fails, as parts of its page: weak slices, changed texts, groups, mistakes."""

from collections.abc import Iterable

from bigmodel.pages import model_words as words
from bigmodel.pages.charts import scale, whisker
from bigmodel.pages.model_scores import axis_around, interval_of
from bigmodel.pages.model_words import SCORES, Figures
from bigmodel.pages.page import Both, Html, paragraph, subsection, table

MOST_LISTED, MOST_EXAMPLES = 20, 3  # an example a change


def slices(report: Figures) -> Iterable[Html]:
    found = report.get("slices") or []
    scored = [one for one in found if one.get("accuracy") is not None]
    rows = [interval_of(one, "accuracy") for one in scored]
    axis = axis_around([(one["accuracy"], of) for one, of in zip(scored, rows, strict=True)])
    if scored:
        yield paragraph(
            Both(
                "Accuracy with its 95 % interval, the weakest first; the dashed line is that of "
                "all rows.",
                "准确率及其 95% 置信区间，由弱到强排列；虚线为全体准确率。",
            ),
            kind="soft",
        )
    yield table(
        (Both("by", "维度"), Both("value", "取值"), scale(axis), SCORES["accuracy"])
        + (SCORES["macro_f1"], Both("rows", "行数")),
        (
            (
                words.SLICES.get(one["by"], one["by"]),
                one["value"],
                whisker(one["accuracy"], of, axis=axis, mark=report["accuracy"]),
                one["accuracy"],
                one.get("macro_f1"),
                one["rows"],
            )
            for one, of in list(zip(scored, rows, strict=True))[:MOST_LISTED]
        ),
    )
    yield paragraph(words.shown_of(MOST_LISTED, len(scored)), kind="soft")
    yield paragraph(words.too_few([one for one in found if one.get("accuracy") is None]))


def behaviour(report: Figures) -> Iterable[Html]:
    tried = [one for one in report.get("behaviour") or () if one["texts"]]
    yield table(
        (Both("change", "改动"), Both("the answer should", "答案应当"))
        + (Both("texts", "文本数"), Both("failed", "未通过"), Both("share", "比例")),
        (
            (
                words.CHANGES.get(one["change"], one["change"]),
                words.EXPECTED[one["expected"]],
                one["texts"],
                one["failed"],
                one["failed"] / one["texts"],
            )
            for one in tried
        ),
    )
    yield subsection(
        Both("Where it failed, for example", "未通过的例子"),
        table(
            (Both("change", "改动"), Both("text", "原文"), Both("changed", "改后"))
            + (Both("answer before", "原答案"), Both("after", "新答案")),
            (
                (
                    words.CHANGES.get(one["change"], one["change"]),
                    *(failed[key] for key in ("text", "changed", "before", "after")),
                )
                for one in tried
                for failed in one.get("examples", ())[:MOST_EXAMPLES]
            ),
        ),
    )


def gaps(report: Figures) -> Iterable[Html]:
    found = report.get("gaps") or []
    if found:
        yield paragraph(
            Both(
                "How differently the rows of a column's values fare, the widest first, with 95 % "
                "intervals: one that holds 0 may be chance.",
                "同一列各取值之间的差距，由大到小，附 95% 置信区间；区间含 0 时可能只是偶然。",
            ),
            kind="soft",
        )
    yield table(
        (Both("column", "列"), Both("label", "标签"))
        + (Both("recall differs by", "召回率相差"), Both("from – to", "最低 – 最高"))
        + (Both("how often it is given differs by", "预测占比相差"),)
        + (Both("from – to", "最低 – 最高"),),
        (
            (
                one["by"],
                one["label"],
                *(
                    cell
                    for score in ("recall", "selection_rate")
                    for cell in (
                        words.points(one["gap"][score], (one.get("interval") or {}).get(score)),
                        words.ends(one[score]),
                    )
                ),
            )
            for one in found[:MOST_LISTED]
        ),
    )
    yield paragraph(words.shown_of(MOST_LISTED, len(found)), kind="soft")


def mistakes(report: Figures) -> Html:
    return table(
        (Both("text", "文本"), Both("label", "标签"), Both("the model says", "模型回答"))
        + (Both("score", "置信度"),),
        (
            (one["text"], one["label"], one["said"], one["score"])
            for one in (report.get("mistakes") or ())[:MOST_LISTED]
        ),
    )
