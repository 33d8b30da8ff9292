"""A model's report as a page for people: whether it is good enough, where it fails, what it is."""

from bigmodel.pages import model_words as words
from bigmodel.pages.model_faults import behaviour, gaps, mistakes, slices
from bigmodel.pages.model_origin import again, back, data, training
from bigmodel.pages.model_scores import (
    all_scores,
    baselines,
    confidence,
    confusions,
    main_scores,
    of_each_label,
)
from bigmodel.pages.model_words import Figures
from bigmodel.pages.page import Both, Html, alerts, page, paragraph, section


def model_page(report: Figures) -> bytes:
    """The page of an evaluation's report; what has no figures in it is left out."""
    return page(
        report["model"],
        paragraph(words.verdict(report), kind="verdict"),
        paragraph(words.weakest(report)),
        _gate(report.get("gate")),
        main_scores(report),
        section(Both("Beside simple models", "与简单模型相比"), *baselines(report)),
        section(Both("All scores", "全部指标"), all_scores(report)),
        section(Both("Label by label", "各标签的表现"), *of_each_label(report)),
        section(Both("What it confuses", "混淆情况"), *confusions(report)),
        section(Both("How sure it is", "置信度"), *confidence(report)),
        section(Both("Where it is weak", "薄弱之处"), *slices(report)),
        section(Both("When a text is changed", "文本改动后的表现"), *behaviour(report)),
        section(Both("Between groups", "群体之间的差距"), *gaps(report)),
        section(Both("Surest mistakes", "最有把握的错误"), mistakes(report)),
        section(Both("Training", "训练过程"), *training(report)),
        section(Both("Data", "数据"), *data(report)),
        section(Both("Make it again", "如何复现"), *again(report)),
        section(Both("Take it back", "如何撤回"), *back(report)),
        subtitle=words.scored_on(report),
        switch=True,
    )


def _gate(gate: Figures | None) -> Html:
    return alerts([words.decision(gate)], good=gate["passed"]) if gate else Html("")
