"""Texts written otherwise, and what that does to the answers."""

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.evaluation.behaviour import EXAMPLES, MOST_TEXTS, behaviour
from bigmodel.evaluation.changes import CHANGES
from bigmodel.predictor import Predictor
from bigmodel.text.normalize import normalize


def changed(change: str, text: str, seed: int = 0) -> str:
    return CHANGES[change](text, random.Random(seed))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("张老师很负责", "[^张]老师很负责"),
        ("感谢李先生一直以来的支持", "感谢[^李]先生一直以来的支持"),
        ("前台的小王很热情", "前台的小[^王]很热情"),
        ("客服：老徐说明天到", "客服：老[^徐]说明天到"),
        ("快递员是李明，很准时", "快递员是(?!李明)..[英]?，很准时"),
        ("刘老师的书，刘老师的哲理", "(?!刘)(.)老师的书，\\1老师的哲理"),
    ],
)
def test_names_are_exchanged_for_others(text, pattern):
    for seed in range(20):
        assert re.fullmatch(pattern, changed("names", text, seed))


@pytest.mark.parametrize(
    "text",
    ["和小王子一样平等", "工作勤奋如老黄牛", "京城小胡同的韵味", "三个马哥孛罗酒店", "王府井很热闹",
     "由于老师不在", "感谢先生", "李明博访华", "大张旗鼓", ""],
)  # fmt: skip
def test_what_only_looks_like_a_name_stays(text):
    assert changed("names", text) == text


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("买了3个", "买了[124-9]个"),
        ("花了200块", "花了[13-9]00块"),
        ("只要1.50元", "只要[2-9].[1-46-9]0元"),
        ("1、包装好，2、物流快", "[2-9]、包装好，[13-9]、物流快"),
        ("等了４０分钟", "等了[１２３５-９]０分钟"),
    ],
)
def test_numbers_are_exchanged_for_others_of_the_same_length(text, pattern):
    for seed in range(20):
        assert re.fullmatch(pattern, changed("numbers", text, seed))


@pytest.mark.parametrize(
    "text",
    ["给5分", "5星好评", "只能打1颗星", "99%的人", "4S店", "mp3坏了", "i7处理器", "2008年8月12日",
     "2018世界杯", "2008-5-14入住", "晚上12:30到", "凌晨3点", "屏幕16：10", "第1次来", "618买的",
     "打了12315", "0差评", "3成新", "7八台", ""],
)  # fmt: skip
def test_numbers_that_mean_more_than_a_number_stay(text):
    assert changed("numbers", text) == text


@pytest.mark.parametrize(
    ("change", "text", "other"),
    [
        ("blanks", "买了iPhone手机，很好", "买了 iPhone 手机， 很好"),
        ("blanks", "用了3天。坏了", "用了 3 天。 坏了"),
        ("blanks", "很好！", "很好！"),
        ("width", "ABC 12，好!", "ＡＢＣ　１２,好！"),
        ("width", "很好。", "很好。"),
        ("traditional", "物流很慢，包装坏了", "物流很慢，包裝壞了"),
        ("traditional", "很好", "很好"),
        ("negation", "很好", "很不好"),
        ("negation", "非常好！", "非常不好！"),
        ("negation", "孩子很喜欢", "孩子很不喜欢"),
        ("negation", "尺码合适", "尺码不合适"),
        ("negation", "值得购买", "不值得购买"),
        ("negation", "挺好用的。", "挺不好用的。"),
    ],
)
def test_a_text_is_written_otherwise(change, text, other):
    assert changed(change, text) == other


@pytest.mark.parametrize(
    "text",
    ["很不好", "不是很好", "没有喜欢的", "很好找", "很好，很喜欢", "很好，就是有点贵", "方便面",
     "如果喜欢就买", "喜欢的可以买", "好用吗？", "价格便宜，质量很好", "颜值得分", "好喜欢",
     "物流快", "非同一般的好用", "手机", "这本书我看了整整三个晚上才看完，里面写的故事真的很好"],
)  # fmt: skip
def test_what_a_negation_does_not_decide_stays(text):
    assert changed("negation", text) == text


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_width_means_nothing_once_normalised_and_turns_back(text):
    wide = changed("width", text)
    assert normalize(wide) == normalize(text)
    assert changed("width", wide) == text


@given(st.text("很好A1，。 ９Ｂ", max_size=30), st.integers(0, 9))
def test_blanks_and_numbers_change_nothing_else(text, seed):
    assert changed("blanks", text).replace(" ", "") == text.replace(" ", "")
    other = changed("numbers", text, seed)
    assert re.sub("[0-9０-９]", "#", other) == re.sub("[0-9０-９]", "#", text)


class Rule:
    """Says 正面 where `good` finds something and `bad` doesn't, as surely as told."""

    labels = ("正面", "负面")

    def __init__(self, bad: str, *, sure: float = 0.9) -> None:
        self.bad, self.sure = re.compile(bad), sure

    def probabilities(self, texts):
        bad = np.array([bool(self.bad.search(text)) for text in texts], bool)
        good = np.where(bad, 1 - self.sure, self.sure)
        return np.stack([good, 1 - good], axis=1)


UNDERSTANDS, DEAF = Rule("不|差|失望|垃圾"), Rule("差|失望|垃圾|不满意|不推荐")


@pytest.mark.parametrize(
    ("model", "texts", "asked", "failed"),
    [
        (UNDERSTANDS, ["很好", "孩子很喜欢", "物流快"], 2, 0),
        (DEAF, ["很好", "孩子很喜欢", "强烈推荐"], 3, 2),
        (UNDERSTANDS, ["房间差不多，很好", "东西有点差，很好"], 0, 0),  # taken for blame before
        (Rule("不|差|失望|垃圾", sure=0.6), ["很好"], 0, 0),
        (Rule("北京"), ["很好", "孩子很喜欢"], 0, 0),  # topics: praise and blame are the same
    ],
)
def test_a_negation_should_move_the_label_of_sure_praise(model, texts, asked, failed):
    (found,) = behaviour(model, texts, ["negation"], seed=0)
    assert (found["expected"], found["texts"], found["failed"]) == ("other", asked, failed)


def test_what_should_not_move_the_label_is_counted_over_changed_texts_with_examples():
    texts = ["買了 iPhone很好用，物流也快", "用iPad 很好", "没有变化的", "看过TV了"]
    (found,) = behaviour(Rule("[a-zA-Z] [一-龥]"), texts, ["blanks"], seed=0)
    assert found == {
        "change": "blanks",
        "expected": "same",
        "texts": 3,
        "failed": 2,
        "examples": [
            {"text": "看过TV了", "changed": "看过 TV 了", "before": "正面", "after": "负面"},
            {
                "text": "買了 iPhone很好用，物流也快",
                "changed": "買了 iPhone 很好用， 物流也快",
                "before": "正面",
                "after": "负面",
            },
        ],
    }


def test_so_many_texts_are_drawn_by_the_seed():
    texts = [f"第{n}号楼，房间{n}个" for n in range(1, 2 * MOST_TEXTS)]
    model = Rule("[5-9]个")
    first, again, other = (behaviour(model, texts, ["numbers"], seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    assert first["texts"] == MOST_TEXTS and len(first["examples"]) == EXAMPLES
    assert all(one["before"] != one["after"] for one in first["examples"])
    one_more = behaviour(model, texts, ["blanks", "numbers"], seed=1)[1]
    assert one_more == first  # whatever else is tried


def test_a_real_model_is_not_moved_by_width_and_answers_for_no_texts(tiny, reviews):
    model = Predictor(tiny)
    texts = [f"A{text}!" for text, _ in reviews]
    (width,) = behaviour(model, texts, ["width"], seed=0)
    assert (width["texts"], width["failed"], width["examples"]) == (len(texts), 0, [])
    for found in behaviour(model, [], list(CHANGES), seed=0):
        assert (found["texts"], found["failed"], found["examples"]) == (0, 0, [])
