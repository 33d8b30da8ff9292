"""What a model's page says, in English and Chinese: names of figures, and sentences about them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bigmodel.pages.page import Both, Words, percent

Figures = Mapping[str, Any]

SCORES: dict[str, Words] = {
    "accuracy": Both("accuracy", "准确率"),
    "macro_f1": Both("macro-F1", "宏平均 F1"),
    "macro_precision": Both("macro precision", "宏平均精确率"),
    "macro_recall": Both("macro recall", "宏平均召回率"),
    "weighted_f1": Both("weighted F1", "加权 F1"),
    "weighted_precision": Both("weighted precision", "加权精确率"),
    "weighted_recall": Both("weighted recall", "加权召回率"),
    "average_precision": Both("average precision", "平均精确率 AP"),
    "mcc": Both("Matthews correlation", "马修斯相关系数"),
    "log_loss": Both("log loss", "对数损失"),
    "calibration_error": Both("calibration error", "校准误差"),
    "precision": Both("precision", "精确率"),
    "recall": Both("recall", "召回率"),
    "f1": "F1",
}
MAIN = ("accuracy", "macro_f1", "average_precision", "calibration_error")
NO_SHARES = ("mcc", "log_loss")
CURVES: dict[str, Words] = {
    "train_loss": Both("training rows", "训练集"),
    "valid_loss": Both("valid rows", "验证集"),
    "valid_accuracy": Both("accuracy on valid", "验证集准确率"),
    "valid_macro_f1": Both("macro-F1 on valid", "验证集宏平均 F1"),
}
SPLITS: dict[str, Both] = {
    "train": Both("training split", "训练集"),
    "valid": Both("valid split", "验证集"),
    "test": Both("test split", "测试集"),
}
BASELINES: dict[str, Both] = {
    "quick linear": Both("a quick linear model", "快速线性模型"),
    "majority": Both("always giving the commonest label", "一律回答最常见的标签"),
}
SLICES: dict[str, Words] = {
    "length": Both("characters", "字符数"),
    "unknown words": Both("unknown words", "生词比例"),
    "pattern": Both("pattern", "文本模式"),
}
CHANGES: dict[str, Words] = {
    "names": Both("names exchanged", "替换人名"),
    "numbers": Both("numbers exchanged", "替换数字"),
    "blanks": Both("blanks inserted", "插入空格"),
    "width": Both("full and half width", "全角半角互换"),
    "traditional": Both("traditional characters", "改为繁体"),
    "negation": Both("negated", "加上否定"),
}
EXPECTED: dict[str, Words] = {
    "same": Both("stay the same", "不变"),
    "other": Both("move", "改变"),
}
_COMPARED = {
    "better": Both("better than {}", "优于{}"),
    "like": Both("not clearly different from {}", "与{}相差不明显"),
    "worse": Both("worse than {}", "不如{}"),
}


def scored_on(report: Figures) -> Both:
    """Which rows the scores are of, how many, and when."""
    created = (report.get("run") or {}).get("created", "").partition("T")[0]
    split = SPLITS.get(report["split"], Both(report["split"], report["split"]))
    rows, when = f"{report['rows']:,}", f" · {created}" if created else ""
    return Both(
        f"Model report · {split.en}, {rows} texts{when}",
        f"模型报告 · {split.zh}，{rows} 条文本{when}",
    )


def verdict(report: Figures) -> Both:
    """How often it is right, and whether that is more than simple models reach."""
    low, high = report["interval"]["accuracy"]
    right, least, most = (of_100(share) for share in (report["accuracy"], low, high))
    beside = _beside(report.get("baselines") or {}, (low, high))
    return Both(
        f"Right in {right} of 100 texts (95\u00a0% interval {least} to {most})"
        + "".join(f", {one.en}" for one in beside)
        + ".",
        f"每 100 条文本答对 {right} 条（95% 置信区间 {least} 至 {most}）"
        + "".join(f"，{one.zh}" for one in beside)
        + "。",
    )


def _beside(baselines: Figures, interval: Sequence[float]) -> list[Both]:
    """A clause for each way in which baselines compare with the interval of the accuracy."""
    low, high = interval
    named: dict[str, list[Both]] = {}
    for name, words in BASELINES.items():
        if name in baselines:
            reached = baselines[name]["accuracy"]
            how = "better" if low > reached else "worse" if high < reached else "like"
            right = of_100(reached)
            named.setdefault(how, []).append(
                Both(f"{words.en} ({right})", f"{words.zh}（{right}）")
            )
    return [
        Both(
            _COMPARED[how].en.format(" and ".join(one.en for one in ones)),
            _COMPARED[how].zh.format("和".join(one.zh for one in ones)),
        )
        for how, ones in named.items()
    ]


def weakest(report: Figures) -> Words:
    """The label that is told apart least well; nothing where no class has rows."""
    scored = {label: one for label, one in report["per_class"].items() if one["rows"]}
    if not scored:
        return ""
    label, one = min(scored.items(), key=lambda item: item[1]["f1"])
    figures = tuple(percent(one[name]) for name in ("f1", "precision", "recall"))
    return Both(
        "Its weakest label is {}: F1 {}, precision {}, recall {}.".format(label, *figures),
        "表现最弱的标签是“{}”：F1 {}，精确率 {}，召回率 {}。".format(label, *figures),
    )


def promise(found: Figures) -> list[Words]:
    """What was asked of the answers, from which score on it holds, and what came of it on test."""
    asked = of_100(found["precision"])
    if found.get("threshold") is None:
        return [
            Both(
                f"That {asked} of 100 answers are right can't be promised from any score on: "
                "the valid rows don't show it.",
                f"无论从多高的置信度起作答，验证集都不足以保证每 100 个答案有 {asked} 个正确。",
            )
        ]
    least = f"{found['threshold']:.3f}"
    said: list[Words] = [
        Both(
            f"So that {asked} of 100 answers are right, it abstains below a score of {least}.",
            f"为保证每 100 个答案有 {asked} 个正确，置信度低于 {least} 时不作答。",
        )
    ]
    if test := found.get("test"):
        answered, right = of_100(test["coverage"]), of_100(test["precision"])
        low, high = (of_100(end) for end in test["interval"]["precision"])
        said.append(
            Both(
                f"On test it answers {answered} of 100 texts, and {right} of 100 answers are "
                f"right (95 % interval {low} to {high}).",
                f"在测试集上，每 100 条文本作答 {answered} 条，每 100 个答案有 {right} 个正确"
                f"（95% 置信区间 {low} 至 {high}）。",
            )
        )
    return said


def decision(gate: Figures) -> Both:
    """What the gate said, and why."""
    if gate["passed"]:
        return Both(f"Let through: {gate['why']}.", f"通过上线检查：{_reason(gate)}。")
    return Both(f"Refused: {gate['why']}.", f"未通过上线检查：{_reason(gate)}。")


def _reason(gate: Figures) -> str:
    """The gate's reason in Chinese, of its numbers; as it stands where it has none."""
    if "macro_f1" not in gate:
        return "此前没有 champion" if gate["passed"] else str(gate["why"])
    f1, most = gate["macro_f1"], f"{100 * gate['margin']:g}"
    said = [
        f"在双方都未见过的 {gate['rows']:,} 条文本上，宏平均 F1 为 {percent(f1['other'])}，"
        f"{gate['champion']} 为 {percent(f1['one'])}，相差的 95% 置信区间为 "
        f"{100 * f1['low']:+.1f} 至 {100 * f1['high']:+.1f} 个百分点"
    ]
    for one in gate.get("slices", ()):
        if not one["rows"]:
            said.append(f"切片 {one['slice']} 没有测试文本")
        elif one["difference"] <= -gate["margin"]:
            fall = f"{-100 * one['difference']:.1f}"
            said.append(f"切片 {one['slice']} 的准确率下降 {fall} 个百分点")
    return "；".join(said + ([] if gate["passed"] else [f"允许的下降不超过 {most} 个百分点"]))


def shown_of(listed: int, there: int) -> Words:
    """That a list goes on elsewhere; nothing where it is whole."""
    if there <= listed:
        return ""
    return Both(
        f"The first {listed} of {there:,}; the report's JSON has all.",
        f"此处列出前 {listed} 项，共 {there:,} 项；完整结果见 JSON 报告。",
    )


def too_few(slices: Sequence[Figures]) -> Words:
    """Which slices have no scores; nothing where all have."""
    if not slices:
        return ""
    names = [f"{one['value']} ({one['rows']})" for one in slices]
    return Both(
        f"Too few rows to score: {', '.join(names)}.", f"行数太少，不评分：{'，'.join(names)}。"
    )


def ends(rates: Mapping[str, float]) -> str:
    """The groups with the lowest and the highest rate; one where there is no other."""
    rising = sorted(rates, key=lambda group: rates[group])
    picked = dict.fromkeys([*rising[:1], *rising[-1:]])
    return " – ".join(f"{group}\u00a0{percent(rates[group])}" for group in picked)


def between(interval: Sequence[float] | None, show: Callable[[float], str] = percent) -> str:
    """An interval that isn't broken over lines; empty without one."""
    return "\u00a0–\u2060\u00a0".join(map(show, interval or ()))


def points(difference: float | None, interval: Sequence[float] | None = None) -> Words:
    """A difference of shares, and its interval; a dash where there is none."""
    if difference is None:
        return "–"
    around = between(interval, lambda end: f"{100 * end:.1f}")
    said = f"{100 * difference:.1f}"
    return Both(
        f"{said} points{around and f' ({around})'}", f"{said} 个百分点{around and f'（{around}）'}"
    )


def of_100(share: float) -> str:
    """In whole numbers, but for what is nearly all or nearly nothing: 99.6 isn't 100."""
    hundredths = 100 * share
    if hundredths in (0, 100) or 0.5 <= hundredths < 99.5:
        return f"{hundredths:.0f}"
    return f"{min(99.9, max(0.1, hundredths)):.1f}"
