"""A model's page: whatever a report holds is on it, and nothing else."""

import re

import pytest
from made_up_report import FOURTEEN, TWO, made_up_report
from outline import EVIL, Outline

from bigmodel.pages.model_page import model_page
from bigmodel.pages.model_words import decision, ends, of_100, points, verdict

NEEDED = {"model", "split", "rows", "labels", "accuracy", "macro_f1", "interval", "per_class"}
OWN_WORDS = {"expected", "split", "data_id"}  # of a report, not of the data


def seen(document: str, *, language: str) -> str:
    """The text of a page in one of its languages."""
    hidden = {"en": "zh-CN", "zh": "en"}[language]
    return Outline(re.sub(rf'<(t?span) lang="{hidden}">.*?</\1>', "", document)).text


def evil(value, key=""):
    """A report in which every text of the user's tries to be markup."""
    if isinstance(value, dict):
        return {name: evil(inside, name) for name, inside in value.items()}
    if isinstance(value, list):
        return [evil(one, key) for one in value]
    return EVIL + value if isinstance(value, str) and key not in OWN_WORDS else value


def test_nothing_of_the_data_becomes_markup():
    report = evil(made_up_report(tuple(EVIL + label for label in FOURTEEN)))
    document = model_page(report).decode()
    found = Outline(document)
    assert document.count("<script") == 1
    assert not {name for name in found.attributes if name.startswith("on")}
    assert found.text.count(EVIL) > 100


def test_a_page_needs_nothing_but_itself():
    document = model_page(made_up_report()).decode()
    assert re.findall(r"https?:|url\(|@import|<link|<img|src=", document) == []
    assert "default-src 'none'" in document


@pytest.mark.parametrize("labels", [TWO, FOURTEEN])
def test_labels_and_texts_stand_in_both_languages_and_all_else_in_one(labels):
    document = model_page(made_up_report(labels)).decode()
    english, chinese = seen(document, language="en"), seen(document, language="zh")
    for text in (*labels, "等了8天", "乌鲁木齐", "rollback reviews"):
        assert text in english and text in chinese
    assert "Right in " in english and "Right in " not in chinese
    assert "每 100 条文本答对 " in chinese and "每 100 条文本答对 " not in english


HEADINGS = {
    "baselines": "与简单模型相比",
    "slices": "薄弱之处",
    "behaviour": "文本改动后的表现",
    "gaps": "群体之间的差距",
    "mistakes": "最有把握的错误",
    "folds": "交叉验证",
    "curves": "各轮损失",
    "data": "数据指纹",
    "recipe": "如何复现",
    "gate": "上线检查",
    "promise": "不作答",
    "calibration": "各置信度的答案数",
    "confused": "最常见的混淆",
    "confusion": "每行是真实标签",
}


@pytest.mark.parametrize(("key", "heading"), HEADINGS.items())
def test_a_part_without_figures_is_left_out(key, heading):
    report = made_up_report()
    assert heading in seen(model_page(report).decode(), language="zh")
    empty = type(report[key])()
    without = [{k: v for k, v in report.items() if k != key}, report | {key: empty}]
    for one in without:
        assert heading not in seen(model_page(one).decode(), language="zh")


def test_a_report_of_scores_alone_is_a_page_as_well():
    report = {key: value for key, value in made_up_report().items() if key in NEEDED}
    text = seen(model_page(report | {"model": "./models/reviews"}).decode(), language="en")
    assert "Label by label" in text
    for heading in ("Training", "Data", "Make it again", "Take it back", "None"):
        assert heading not in text


def test_what_json_has_no_figure_for_is_a_dash():
    report = made_up_report(FOURTEEN)
    report["per_class"]["科技"] |= {"average_precision": None}
    report["interval"]["per_class"].pop("科技")
    report["gaps"][0]["gap"]["recall"] = None
    report["gaps"][0]["recall"] = {}
    text = seen(model_page(report).decode(), language="zh")
    assert "–" in text and "None" not in text


@pytest.mark.parametrize(
    ("baselines", "english", "chinese"),
    [
        ({}, "Right in 84 of 100 texts (95\u00a0% interval 82 to 86).",
         "每 100 条文本答对 84 条（95% 置信区间 82 至 86）。"),
        ({"majority": 0.5, "quick linear": 0.81},
         "better than a quick linear model (81) and always giving the commonest label (50).",
         "优于快速线性模型（81）和一律回答最常见的标签（50）。"),
        ({"majority": 0.5, "quick linear": 0.83},
         "not clearly different from a quick linear model (83), "
         "better than always giving the commonest label (50).",
         "与快速线性模型（83）相差不明显，优于一律回答最常见的标签（50）。"),
        ({"quick linear": 0.9}, "worse than a quick linear model (90).",
         "不如快速线性模型（90）。"),
    ],
)  # fmt: skip
def test_the_verdict_compares_with_what_lies_outside_the_interval(baselines, english, chinese):
    found = {name: {"accuracy": accuracy} for name, accuracy in baselines.items()}
    report = {"accuracy": 0.84, "interval": {"accuracy": [0.82, 0.86]}, "baselines": found}
    assert verdict(report).en.endswith(english)
    assert verdict(report).zh.endswith(chinese)


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0"), (0.0001, "0.1"), (0.004, "0.4"), (0.845, "84"), (0.996, "99.6"), (0.9999, "99.9"),
     (1.0, "100")],
)  # fmt: skip
def test_nearly_all_is_not_all(share, said):
    assert of_100(share) == said


F1 = {"one": 0.87, "other": 0.85, "low": -0.031, "high": -0.004}
NUMBERS = {"champion": "reviews@2", "margin": 0.02, "rows": 1163, "macro_f1": F1}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"passed": True, "why": "it is the first champion"}, "通过上线检查：此前没有 champion。"),
        ({"passed": False, "why": "none is left"}, "未通过上线检查：none is left。"),
        ({"passed": False, "why": "it is worse", **NUMBERS},
         "未通过上线检查：在双方都未见过的 1,163 条文本上，宏平均 F1 为 85.0%，reviews@2 为 87.0%，"
         "相差的 95% 置信区间为 -3.1 至 -0.4 个百分点；允许的下降不超过 2 个百分点。"),
        ({"passed": False, "why": "it falls", **NUMBERS,
          "slices": [{"slice": "city=北京", "rows": 40, "difference": -0.05},
                     {"slice": "city=上海", "rows": 50, "difference": 0.01},
                     {"slice": "city=拉萨", "rows": 0, "difference": 0.0}]},
         "；切片 city=北京 的准确率下降 5.0 个百分点；切片 city=拉萨 没有测试文本；"
         "允许的下降不超过 2 个百分点。"),
    ],
)  # fmt: skip
def test_the_gate_gives_its_reason_in_chinese(gate, said):
    assert decision(gate).zh.endswith(said)
    assert gate["why"] in decision(gate).en


def test_a_gap_is_said_with_its_interval_and_the_groups_at_its_ends():
    assert points(0.19, [0.06, 0.31]).zh == "19.0 个百分点（6.0\u00a0–\u2060\u00a031.0）"
    assert points(0.19).en == "19.0 points"
    assert ends({"上海": 0.8, "北京": 0.9, "拉萨": 0.71}) == "拉萨\u00a071.0% – 北京\u00a090.0%"
    assert ends({"上海": 0.8}) == "上海\u00a080.0%"


def test_the_recipe_is_shown_as_its_file_says_it():
    text = seen(model_page(made_up_report()).decode(), language="en")
    assert "[model.mlp]" in text and "[model.linear]" not in text
    assert 'train = "reviews.csv"' in text and "valid =" not in text


@pytest.mark.parametrize(
    ("dirty", "warned"), [(True, True), ("true", True), (False, False), ("false", False)]
)
def test_changes_that_no_commit_has_are_said(dirty, warned):
    report = made_up_report()
    report["run"]["dirty"] = dirty
    assert ("未提交的改动" in seen(model_page(report).decode(), language="zh")) is warned
