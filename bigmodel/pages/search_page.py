"""A search as a page: the best recipe in a sentence, every trial, and what made the difference."""

from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel.pages.charts import bars
from bigmodel.pages.page import (
    Both,
    Html,
    page,
    paragraph,
    percent,
    section,
    table,
    tiles,
)
from bigmodel.pages.search_charts import courses, dots, legend, parallel, written

Figures = Mapping[str, Any]

_METRICS = {"macro_f1": Both("macro-F1", "宏平均 F1"), "accuracy": Both("accuracy", "准确率")}
_STATES = {
    "ended": Both("ended", "完成"),
    "stopped": Both("stopped early", "提前停止"),
    "failed": Both("failed", "失败"),
    "": Both("cut off", "中断"),
}


def search_page(found: Figures) -> bytes:
    """`found`: what `figures_of` gives."""
    trials, best = found["trials"], found["best"]
    metric = _METRICS[found["metric"]]
    keys = list(dict.fromkeys(key for trial in trials for key in trial["changes"]))
    header = (
        Both("trial", "试验"),
        *(key.rpartition(".")[2] for key in keys),
        Both("epochs", "轮数"),
        metric,
        Both("state", "状态"),
        Both("seconds", "秒"),
    )
    ranked = sorted(trials, key=lambda one: (-(one["score"] or -1.0), one["number"]))
    return page(
        f"{found['name']}: search",
        paragraph(sentence(found), kind="verdict"),
        paragraph(_flattered(), kind="soft"),
        _tiles(found),
        section(
            Both("Score against trial", "各次试验的得分"),
            dots(trials, best=best, title=Both("Score of each trial", "各次试验的得分")),
            paragraph(legend(), kind="soft"),
        ),
        section(
            Both("Course of each trial", "训练过程"),
            courses(trials, best=best, title=Both("Best score by epoch", "各轮为止的最佳得分")),
            paragraph(
                Both(
                    "The best score up to each epoch; a dot where a trial was stopped.",
                    "截至各轮的最佳得分；圆点处提前停止。",
                ),
                kind="soft",
            ),
        ),
        section(
            Both("What was drawn", "抽取的设置"),
            parallel(
                trials,
                best=best,
                metric=metric.en,
                title=Both("Settings and score of each trial", "各次试验的设置与得分"),
            ),
        ),
        _importance(found["importance"]),
        section(
            Both("All trials, the best first", "全部试验，按得分排列"),
            table(header, [_row(trial, keys) for trial in ranked]),
            paragraph(Both("A dash: as the recipe has it.", "“–”表示与原配方相同。"), kind="soft"),
        ),
        subtitle=Both(
            f"What bigmodel tune found; searcher {found['searcher']}, scheduler "
            f"{found['scheduler']}",
            f"bigmodel tune 的结果；搜索算法 {found['searcher']}，调度 {found['scheduler']}",
        ),
        switch=True,
    )


def sentence(found: Figures) -> Both:
    """Which trial is the best, and how much better than the recipe as it was."""
    trials = {trial["number"]: trial for trial in found["trials"]}
    count, metric = len(trials), _METRICS[found["metric"]]
    best = trials.get(found["best"])
    if best is None:
        return Both(f"None of {count} trials came to a score.", f"{count} 次试验均未得出分数。")
    score, number = f"{best['score']:.4f}", best["number"]
    if not best["changes"]:
        return Both(
            f"The recipe as it is is the best of {count} trials: {metric.en} {score}.",
            f"{count} 次试验中，原配方最佳：{metric.zh} {score}。",
        )
    own = next((one for one in trials.values() if not one["changes"] and one["score"]), None)
    more = best["score"] - own["score"] if own else 0.0
    return Both(
        f"Trial {number} is the best of {count}: {metric.en} {score}"
        + (f", {more:.4f} above the recipe as it was." if own else "."),
        f"{count} 次试验中，试验 {number} 最佳：{metric.zh} {score}"
        + (f"，比原配方高 {more:.4f}。" if own else "。"),
    )


def _flattered() -> Both:
    return Both(
        "On the valid rows, of which the best of many trials is flattered a little; the report of "
        "the version that came of it has the score on test rows, which no trial has seen.",
        "以上为验证数据上的得分；从多次试验中取最高会略微偏高。由此得到的模型版本的报告给出"
        "测试数据上的得分，任何试验都未见过这些数据。",
    )


def _tiles(found: Figures) -> Html:
    ends = [trial["end"] for trial in found["trials"]]
    spent, saved = found["epochs"], found["saved"]
    whole = spent + saved or 1
    name = Both("epochs saved", "节省的轮数")
    return tiles(
        {
            Both("trials", "试验"): str(len(ends)),
            Both("stopped early", "提前停止"): str(ends.count("stopped")),
            Both("failed", "失败"): str(ends.count("failed")),
            Both("epochs trained", "训练轮数"): f"{spent:,}",
            name: f"{saved:,}",
        },
        notes={
            name: Both(
                f"{percent(saved / whole)} of the {whole:,} planned",
                f"占计划 {whole:,} 轮的 {percent(saved / whole)}",
            )
        },
    )


def _importance(shares: Mapping[str, float]) -> Html:
    title = Both("What made the difference", "各项设置的影响")
    return section(
        title,
        bars(shares, shown={key: percent(share) for key, share in shares.items()}, title=title),
        paragraph(
            Both(
                "Share of the difference between good trials and all that each key accounts for "
                "(Optuna's PED-ANOVA); of few trials a rough guess.",
                "各项设置对得分差异的贡献（Optuna 的 PED-ANOVA）；试验少时仅供参考。",
            ),
            kind="soft",
        )
        if shares
        else Html(""),
    )


def _row(trial: Figures, keys: Sequence[str]) -> tuple[object, ...]:
    said = _STATES[trial["end"]]
    if trial["reason"]:
        said = Both(f"{said.en}: {trial['reason']}", f"{said.zh}：{trial['reason']}")
    return (
        trial["number"],
        *(written(trial["changes"].get(key)) for key in keys),
        trial["course"][-1][0] if trial["course"] else 0,
        None if trial["score"] is None else f"{trial['score']:.4f}",
        said,
        round(trial["seconds"]),
    )
