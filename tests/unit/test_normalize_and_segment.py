"""From a text as it was written to its words."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import TextConfig
from bigmodel.errors import DataError, RecipeError
from bigmodel.text.encoder import make_segmenter
from bigmodel.text.normalize import normalize
from bigmodel.text.segment import Segmenter

DEMO = Path(__file__).parents[2] / "jobs" / "recipes" / "reviews.csv"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """jieba writes its cache below XDG_CACHE_HOME: not into the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("手机电池不耐用", "手机电池不耐用"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("ｉＰｈｏｎｅ　１５ＰＲＯ！", "iphone 15pro!"),
        ("這本書寫得很好", "這本書寫得很好"),  # traditional characters stay
        ("😀👍 好评！！！", "😀👍 好评!!!"),
        ("。。。？！", "。。。?!"),
        ("2026年11月22日", "2026年11月22日"),
        ("㈱①½", "(株)11⁄2"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("很  好\t\r\n看", "很 好 看"),
        ("\ufeff书\u200b很\u200d好", "书 很 好"),
        ("好\x00评\x07", "好 评"),
        ("好\ud800评", "好 评"),  # half of a surrogate pair, as JSON can carry it
        ("İSTANBUL", "i̇stanbul"),
        ("", ""),
        (" 　\u200b\n", ""),
    ],
)
def test_normalize(written, seen):
    assert normalize(written) == seen


@given(st.text())
def test_normalizing_twice_changes_nothing_more(text):
    once = normalize(text)
    assert normalize(once) == once
    assert once.strip() == once and "  " not in once


@pytest.mark.parametrize(
    ("segmenter", "text", "tokens"),
    [
        (Segmenter(), "我喜欢读书", ["我", "喜欢", "读书"]),
        (Segmenter(), "iphone 15 很好", ["iphone", "15", "很", "好"]),
        (Segmenter(), "", []),
        (Segmenter(unit="chars"), "很好 a1", ["很", "好", "a", "1"]),
        (Segmenter(stop_words=frozenset("的了")), "我的书丢了", ["我", "书", "丢"]),
        (Segmenter(unit="chars", stop_words=frozenset("的")), "我的书", ["我", "书"]),
    ],
)
def test_cut(segmenter, text, tokens):
    assert segmenter.cut(text) == tokens


def test_both_engines_cut_the_demos_reviews_alike():
    with DEMO.open(encoding="utf-8") as file:
        texts = [normalize(row["text"]) for row in csv.DictReader(file)][::100]
    fast, slow = Segmenter(engine="rjieba"), Segmenter(engine="jieba")
    assert len(texts) == 100
    assert [fast.cut(text) for text in texts] == [slow.cut(text) for text in texts]


OWN = "洗发水味道\n\n电池不耐用 20\r\n房间干净 20 n\n书好看 n\nＡpp好评 5\n"


@pytest.mark.parametrize("engine", ["rjieba", "jieba"])
def test_the_users_own_words_stay_whole_and_are_normalised_as_texts_are(engine):
    own = Segmenter(engine=engine, user_dictionary=OWN)
    assert own.own_words() == ["洗发水味道", "电池不耐用", "房间干净", "书好看", "app好评"]
    for word in own.own_words():
        assert own.cut(normalize(f"{word.upper()}，真的")) == [word, ",", "真的"]
        assert Segmenter().cut(word) != [word]


@pytest.mark.parametrize("line", ["洗发 水 味 道", "洗发水 n 20", "洗发水 2 n x", "洗发水 ² ²"])
def test_a_wrong_line_of_the_dictionary_is_named(line):
    with pytest.raises(DataError, match=rf"user dictionary, line 2: '{line}' is not"):
        Segmenter(user_dictionary=f"好评\n{line}").cut("洗发水")


def test_a_recipes_files_become_part_of_the_segmenter(tmp_path):
    (tmp_path / "词典.txt").write_text("洗发水味道\n", encoding="utf-8-sig")
    (tmp_path / "停用词.txt").write_text("的\n\nＡ\n", encoding="utf-8")
    config = TextConfig(
        user_dictionary=str(tmp_path / "词典.txt"), stop_words=str(tmp_path / "停用词.txt")
    )
    made = make_segmenter(config)
    assert (made.user_dictionary, made.stop_words) == ("洗发水味道\n", frozenset("的a"))


@pytest.mark.parametrize("key", ["user_dictionary", "stop_words"])
def test_a_file_of_words_that_cannot_be_read_is_named(key, tmp_path):
    missing, latin = tmp_path / "没有.txt", tmp_path / "gbk.txt"
    latin.write_bytes("好评".encode("gbk"))
    for path in (missing, latin):
        with pytest.raises(RecipeError, match=rf"{path}: can't read text\.{key}"):
            make_segmenter(TextConfig(**{key: str(path)}))
