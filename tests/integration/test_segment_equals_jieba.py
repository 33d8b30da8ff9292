"""rjieba cuts as jieba does, on real texts and with a user's own words."""

import csv
from functools import cache
from pathlib import Path

import pytest

from bigmodel.errors import DataError
from bigmodel.text.normalize import normalize
from bigmodel.text.segment import Segmenter

OWN = """洗发水味道
电池不耐用 20
前台服务 20 n
性价比高
物流快
房间干净
做工精细
味道不错
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """jieba writes its cache below XDG_CACHE_HOME: not into the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))


@cache
def real_texts(folder: Path) -> list[str]:
    """15,000 reviews and 15,000 headlines, spread over their files."""
    texts = []
    for path in (folder / "sentiment_large/train.csv", folder / "thucnews10/train.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [normalize(row["text"]) for row in csv.DictReader(file)]
        texts += rows[:: len(rows) // 15_000][:15_000]
    return texts


def differing(texts: list[str], dictionary: str) -> int:
    fast, slow = (
        Segmenter(engine=engine, user_dictionary=dictionary).cut_all(texts)
        for engine in ("rjieba", "jieba")
    )
    return sum(one != other for one, other in zip(fast, slow, strict=True))


def test_without_a_dictionary_30000_texts_are_cut_alike(data_folder):
    texts = real_texts(data_folder)
    assert len(texts) == 30_000
    assert differing(texts, "") == 0


def test_with_eight_words_one_text_in_a_thousand_differs_at_most(data_folder):
    texts = real_texts(data_folder)
    assert differing(texts, OWN) <= len(texts) / 1000


TAKE_EFFECT = (
    "洗发水味道 iphone15 c++ node.js 5.5寸 3c数码 wi-fi at&t 100%棉 t恤 洗发水 的 a 😀 好评 6"
)


@pytest.mark.parametrize("engine", ["rjieba", "jieba"])
def test_words_take_effect(engine):
    """Without a count also beside words with large ones, in whatever order they stand."""
    lines = "\n".join([*TAKE_EFFECT.split(" ")[:-2], "好评 6000", "好评 6000", "洗发 90000"])
    own = Segmenter(engine=engine, user_dictionary=lines)
    assert own.check() == []
    assert own.own_words().count("好评") == 1
    assert own.cut_all(own.own_words()) == [[word] for word in own.own_words()]


@pytest.mark.parametrize("engine", ["rjieba", "jieba"])
@pytest.mark.parametrize(
    ("word", "parts"),
    [("好评😀", r"好评 \| 😀"), ("卡拉·ok", r"卡拉 \| · \| ok"), ("café", r"caf \| é")],
)
def test_a_word_that_no_count_makes_whole_is_refused(engine, word, parts):
    own = Segmenter(engine=engine, user_dictionary=f"好评\n{word} 900")
    with pytest.raises(DataError, match=f"line 2: '{word}' is cut into {parts} by {engine}, what"):
        own.check()


@pytest.mark.parametrize("engine", ["rjieba", "jieba"])
def test_a_word_with_too_small_a_count_is_told_with_one_that_would_do(engine):
    lines = "不好 9000\n书不好 1\n也不 1\n好评 900"
    own = Segmenter(engine=engine, user_dictionary=lines)
    first, second = told = own.check()
    assert first.startswith("user dictionary, line 2: '书不好' is cut into 书 | 不好; a count of ")
    assert second.startswith("user dictionary, line 3: '也不' is cut into 也 | 不; a count of ")
    assert own.cut("也不") == ["也", "不"]  # looking changes nothing
    counts = [sentence.split(" a count of ")[1].split()[0] for sentence in told]
    mended = f"不好 9000\n书不好 {counts[0]}\n也不 {counts[1]}\n好评 900"
    assert Segmenter(engine=engine, user_dictionary=mended).check() == []
