"""What is said about data: the figures, the sentences, the page."""

import json

import numpy as np
import pyarrow as pa
import pytest
from small_prepared import RECIPE, SmallPrepared

from bigmodel.inspection.data_report import EDGES, classes, describe, lengths
from bigmodel.inspection.data_warnings import times, warnings
from bigmodel.inspection.garbled import garbled, traditional
from bigmodel.inspection.suspects import find_suspects
from bigmodel.pages.data_page import data_page

EVIL = "<script>alert(1)</script>"


def of(*values):
    return pa.chunked_array([pa.array(values)])


def report(rows, **about):
    """All that `check` has found, without its files."""
    prepared = SmallPrepared(rows, **about)
    suspects = find_suspects(prepared, seed=0)
    found = (
        prepared.summary
        | describe(prepared)
        | {"doubted": {"by": "quick linear", **suspects.figures()}}
    )
    return found | {"warnings": warnings(found, RECIPE)}


@pytest.fixture(scope="module")
def fine(reviews):
    """Data of which nothing is to be said: 120 different reviews, half of them good."""
    rows = [
        (f"{text}，买了{n}件，用了{n}天", label) for n in range(2, 7) for text, label in reviews
    ]
    return report(rows)


def test_labels_are_counted_largest_first():
    found = classes(of("负面", "正面", "正面", "中性", "正面"))
    assert list(found["rows"].items()) == [("正面", 3), ("中性", 1), ("负面", 1)]
    assert found["shares"] == {"正面": 0.6, "中性": 0.2, "负面": 0.2}
    assert (found["imbalance"], found["alike"]) == (3.0, [])


@pytest.mark.parametrize(
    "labels",
    [
        ["正面", "正 面"], ["正面", "正面。"], ["正面", "　正面"], ["正面", "“正面”"],
        ["Good", "good"], ["ＡＢ", "ab"], ["負面", "负面"], ["正面", "正面\u200b"],
    ],
)  # fmt: skip
def test_labels_that_differ_by_a_slip_look_alike(labels):
    assert classes(of(*labels, "其他"))["alike"] == [sorted(labels)]


@pytest.mark.parametrize(
    "labels", [["1.0", "10"], ["C", "C++", "C#"], ["+1", "-1", "1"], ["正面", "负面"], ["!", "?"]]
)
def test_labels_that_differ_on_purpose_do_not(labels):
    assert classes(of(*labels))["alike"] == []


def test_lengths_are_put_into_bins_without_a_gap():
    found = lengths(of(1, 2, 3, 10, 11, 2000, 2001, 9999))
    bins = found["histogram"]
    assert [(one["from"], one["to"]) for one in bins[:2]] == [(1, 2), (3, 5)]
    assert [after["from"] - one["to"] for one, after in zip(bins, bins[1:], strict=False)] == [
        1
    ] * (len(EDGES) - 1)
    assert [one["rows"] for one in bins] == [2, 1, 1, 1, 0, 0, 0, 0, 0, 1, 2]
    assert (bins[-1]["to"], found["median"], found["longest"]) == (None, 10.5, 9999)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("utf-8", "latin-1"),
        ("utf-8", "cp1252"),
        ("utf-8", "gb18030"),
        ("gb18030", "latin-1"),
        ("gb18030", "utf-8"),
    ],
)
@pytest.mark.parametrize("text", ["好评", "物流很快，包装完好", "屏幕清晰，音质不错，满意"])
def test_a_text_that_was_read_in_a_wrong_encoding_is_seen(text, written, read):
    wrong = text.encode(written).decode(read, "replace")
    assert garbled(of(wrong)).to_pylist() == [True]


@pytest.mark.parametrize("text", ["å¥½", "陶�180万加盟", "锟斤拷", "这里 å¥½è¯„ 坏了"])
def test_so_are_single_characters_and_signs_of_loss(text):
    assert garbled(of(text)).to_pylist() == [True]


@pytest.mark.parametrize(
    "text",
    [
        "很好", "", "100 ¥", "José Müller 在 café……", "naïve", "“好”—é…”", "(òωó)", "±5°C × 2",
        "给予璀璨瑰宝级的评价", "程咬金，钟无艳，夏侯惇", "烫烫烫的火锅", "卡拉ＯＫ™®",
    ],
)  # fmt: skip
def test_what_people_write_is_not_taken_for_it(text):
    assert garbled(of(text)).to_pylist() == [False]


def test_real_texts_are_not_taken_for_it(data_folder):
    from pyarrow import csv

    whole = csv.ParseOptions(newlines_in_values=True)
    texts = csv.read_csv(data_folder / "chnsenticorp" / "train.csv", parse_options=whole)["text"]
    assert not any(garbled(texts).to_pylist())


def test_traditional_characters_are_seen():
    assert traditional(of("最喜歡這部", "最喜欢这部", "OK")).to_pylist() == [True, False, False]


def test_texts_are_counted_by_what_is_odd_about_them():
    rows = [(f"这本书很好看，我读了{n}遍", "正面" if n % 2 else "负面") for n in range(40)]
    rows[4:8] = [
        ("好", "正面"),
        ("OK, fine", "正面"),
        ("濂借瘎锛屽緢濂�", "负面"),
        ("最喜歡這部書", "负面"),
    ]
    found = describe(SmallPrepared(rows))
    odd = {
        key: found[key]["rows"] for key in ("very_short", "no_chinese", "garbled", "traditional")
    }
    assert odd == {"very_short": 1, "no_chinese": 1, "garbled": 1, "traditional": 1}
    assert found["no_chinese"]["share"] == 1 / 40
    assert found["very_short"]["examples"] == [
        {"source": "评论.csv", "row": 5, "text": "好", "label": "正面"}
    ]


def test_unknown_words_are_those_of_valid_and_test_alone():
    rows = [("这本书很好看", "正面"), ("这本书很难看", "负面")] * 5
    rows[8] = ("这本书值得珍藏", "正面")  # valid
    rows[9] = ("珍藏", "负面")  # test
    found = describe(SmallPrepared(rows))["unknown_words"]
    assert found["most_frequent"] == {"珍藏": 2, "值得": 1}
    assert found["unknown"] == 3 < found["tokens"]
    assert found["share"] == found["unknown"] / found["tokens"]


def test_the_largest_groups_are_shown_and_those_with_several_labels_counted():
    rows = [(f"物流很快{n}", "正面" if n < 15 else "负面") for n in range(20)]
    units = [0] * 3 + list(range(1, 12)) + [12] * 4 + [13, 14]
    found = describe(SmallPrepared(rows, units))["units"]
    assert found["mixed"] == 1
    assert found["largest"] == [
        {"rows": 4, "labels": 2, "text": "物流很快14"},
        {"rows": 3, "labels": 1, "text": "物流很快0"},
    ]


def test_what_was_set_aside_is_shown_as_it_can_be_read(reviews):
    aside = [
        (3, "unreadable", "its bytes", None, None, "质量很好".encode("gb18030") + b"\xff"),
        (9, "empty", "text", " ", "正面", b" ,1"),
        (12, "conflict", None, "还行", "正面", None),
        (13, "conflict", None, "还行 ", "负面", None),
        (14, "conflict", None, reviews[0][0], "负面", None),
    ]  # fmt: skip
    found = describe(SmallPrepared(reviews, aside=aside))
    examples = found["quarantine_examples"]
    assert [(one["row"], one["beginning"]) for one in examples["unreadable"]] == [(3, "质量很好�")]
    assert examples["empty"] == [
        {"source": "评论.csv", "row": 9, "detail": "text", "beginning": " ,1"}
    ]
    assert found["conflicting"] == {
        "texts": 2,
        "examples": [
            {"text": "还行", "labels": ["正面", "负面"]},
            {"text": reviews[0][0], "labels": ["正面", "负面"]},
        ],
    }


def test_of_data_in_order_nothing_is_said(fine):
    assert fine["warnings"] == []
    page = data_page("reviews", fine, []).decode()
    assert "Nothing stands out." in page and "正面" in page


ABOUT = {
    "rows_read": 1000,
    "duplicates": 300,
    "leaks": {
        "valid": {"train": {"exact": 338, "near": 0}},
        "test": {"train": {"exact": 0, "near": 0}},
    },
    "deviation": {"valid": {"正面": -0.12, "负面": 0.12}},
}
SAID = [
    "1 row can't be read (set aside",
    "1 text stands under several labels (2 rows set aside; data.conflicts)",
    "300 rows (30%) repeat another",
    "1 group of nearly equal texts has several labels",
    "the labels “正面” and “正面。” look alike",
    "the label “正面。” has fewer than 50 rows",
    "the largest label has 60 times the rows of the smallest",
    "of the given valid split also stand in data.train: 338 exactly (taken out there)",
    "the label 负面 is 12.0 points more frequent in valid",
    "3 rows hold characters that were lost",
    "3 rows (2.7%) hold no Chinese character",
    "2.7% of the rows hold traditional characters",
]


def test_what_is_wrong_is_said_in_sentences(fine):
    rows = [(f"第{n}次买，很好", "正面") for n in range(50)]
    rows += [(f"第{n}次买，很差", "负面") for n in range(60)] + [("也很好", "正面。")]
    for place in range(3):
        rows[10 * place] = (f"fine {place}", "正面")
        rows[10 * place + 1] = (f"陶� {place}", "正面")
        rows[10 * place + 2] = (f"喜歡 {place}", "正面")
    aside = [
        (1, "unreadable", "too many columns", None, None, b"a,b,c"),
        (2, "conflict", None, "还行", "正面", None),
        (3, "conflict", None, "还行", "负面", None),
    ]
    units = [0, *range(110)]
    units[60] = 3
    found = report(rows, units=units, aside=aside, about=ABOUT)
    for said in SAID:
        assert sum(said in sentence for sentence in found["warnings"]) == 1, said
    unexpected = [one for one in found["warnings"] if not any(said in one for said in SAID)]
    assert [one for one in unexpected if "never occur in training" not in one] == []
    page = data_page("reviews", found, []).decode()
    assert all(part in page for part in ("338", "还行", "a,b,c", "喜歡", "too many columns"))


@pytest.mark.parametrize(("ratio", "said"), [(1.26, "1.3 times"), (1234.5, "1,234 times")])
def test_a_ratio_is_said_as_exactly_as_is_of_use(ratio, said):
    assert times(ratio) == said


def test_everything_is_fit_for_json_and_nothing_of_the_data_becomes_markup(reviews):
    rows = [(f"{text}{n}", label) for n in range(5) for text, label in reviews]
    rows = [(f"{EVIL}{text}", f"{EVIL}{label}") for text, label in rows]
    aside = [(1, "unreadable", EVIL, None, None, EVIL.encode())]
    found = report(rows, aside=aside)
    json.dumps(found)
    suspects = [{"text": EVIL, "label": EVIL, "suggested": EVIL, "score": np.float64(0.1)}]
    page = data_page("reviews", found, suspects).decode()
    assert EVIL not in page and page.count("&lt;script&gt;") == 9
