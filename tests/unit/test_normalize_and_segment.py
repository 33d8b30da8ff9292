"""From a text as it was written to its words."""

import csv
import importlib.metadata
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import TextConfig
from bigmodel.errors import DataError, RecipeError
from bigmodel.text.encoder import make_segmenter
from bigmodel.text.normalize import Normalizer, normalize
from bigmodel.text.personal import MASKS
from bigmodel.text.segment import Segmenter

DEMO = Path(__file__).parents[2] / "jobs" / "recipes" / "reviews.csv"
EVERYTHING = Normalizer("drop", "drop", "simplify", tuple(MASKS))


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
        ("，！？：；（）…", ",!?:;()..."),
        ("2026年11月22日", "2026年11月22日"),
        ("㈱①½", "(株)11⁄2"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("很  好\t\r\n看", "很 好 看"),
        ("手\u200b机", "手机"),  # of no width
        ("\ufeff书很\u200d好\u202e", "书很好"),
        ("喜欢❤\ufe0f", "喜欢❤"),  # says that a sign is to be a picture
        ("e\u200b\u0301", "é"),
        ("好\x00评\x07", "好 评"),
        ("好\ud800评", "好 评"),  # half of a surrogate pair, as JSON can carry it
        ("İSTANBUL H\u0331", "i̇stanbul ẖ"),
        ("看https://t.cn/x?a=1这里 @小明", "看https://t.cn/x?a=1这里 @小明"),
        ("", ""),
        (" 　\u200b\n", ""),
    ],
)
def test_normalize(written, seen):
    assert normalize(written) == Normalizer()(written) == seen


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("看https://t.cn/x?a=1这里", "看 这里"),
        ("ＨＴＴＰＳ：／／Ｔ．ＣＮ／ｘ　好", "好"),
        ("见http://a.com/b_(c)，不错", "见 ),不错"),  # an address seldom ends with a bracket
        ("(详见www.jd.com/1.html)。", "(详见 )。"),
        ("http://t.cn/a!真的。", "!真的。"),
        ("复制t.cn/Rx8 m.tb.cn/h.5aB打开", "复制 打开"),
        ("https://zh.wikipedia.org/wiki/中国", "中国"),
        ("wap.163.com:8080/x", ""),
        ("不错.com/好 taobao.com 3.5/5 node.js/vue", "不错.com/好 taobao.com 3.5/5 node.js/vue"),
        ("http:// 没了", "http:// 没了"),
        ("me@x.com/a", "me@x.com/a"),
    ],
)  # fmt: skip
def test_links(written, seen):
    assert Normalizer(links="drop")(written) == seen
    assert Normalizer()(written) == normalize(written)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("@小明 好看", "好看"),
        ("回复＠小明_a-1：谢谢", "回复 :谢谢"),
        ("好@张三，//@李四:转发", "好 ,// :转发"),
        ("@a@b 好", "好"),
        ("发到zhang.san@qq.com", "发到zhang.san@qq.com"),
        ("单价@ 5元", "单价@ 5元"),
        ("@" + "很" * 31, "@" + "很" * 31),  # longer than any name
    ],
)
def test_user_names(written, seen):
    assert Normalizer(user_names="drop")(written) == seen


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("這本書寫得很好", "这本书写得很好"),
        ("乾淨的乾隆", "干净的乾隆"),  # by words, not only by characters
        ("屏幕打壞了，拉鍊拉坏了", "屏幕打坏了,拉链拉坏了"),  # OpenCC alone: 打坯, 拉坯
        ("薴", "苎"),  # OpenCC alone makes 苧 of it, which it simplifies again
        ("已经是简体", "已经是简体"),
    ],
)
def test_traditional_characters(written, seen):
    assert Normalizer(traditional="simplify")(written) == seen


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (
            "ｈｔｔｐ：／／t.cn/１３８００１３８０００",
            "",
        ),  # width, link, and no number left to mask
        ("@13800138000", ""),  # user name before number
        ("138@小明 0013 8000", "maskphone"),  # what a name stood in
        ("@小明zhang@qq.com", ".com"),  # user name before address
        ("@書蟲：聯繫13800138000", ":联系maskphone"),
        ("t\u200b.cn/x", ""),  # nothing of no width hides a link
    ],
)
def test_the_steps_have_an_order(written, seen):
    assert EVERYTHING(written) == seen


PIECES = st.sampled_from(
    [*"http:// www. t.cn/ / @ 小明 zhang qq .com 138 0013 8000 13800138000 010- +86 １３８".split(),
     *"蕭乾 打壞 畢昇 乾 么麼 - . ， ： 。 … ＠ ( ) 😀 H İ \u0331 \u0301 \u200b \ufe0f".split(),
     "4111111111111111", "\x00", "\ud800", " ", "　", "\n"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.characters())).map("".join))


@pytest.mark.parametrize("normalizer", [Normalizer(), EVERYTHING], ids=["nothing", "everything"])
@given(TEXTS)
def test_normalizing_twice_changes_nothing_more(normalizer, text):
    once = normalizer(text)
    assert normalizer(once) == normalize(once) == once
    assert once.strip() == once and "  " not in once


def test_a_recipes_normalizer_is_a_value_that_travels():
    text = TextConfig(links="drop", user_names="drop", mask=("email", "phone"))
    made = Normalizer.of(text)
    assert made == Normalizer("drop", "drop", mask=("phone", "email"))
    assert made("@小明 a@b.cn") == "maskemail"
    assert pickle.loads(pickle.dumps(made)) == made


def test_the_version_of_opencc_counts_only_where_it_is_used():
    assert Normalizer("drop", "drop", mask=tuple(MASKS)).version == ""
    assert Normalizer(traditional="simplify").version == importlib.metadata.version("OpenCC")


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
    assert segmenter.cut_all([text, "好", text]) == [tokens, segmenter.cut("好"), tokens]


def test_no_texts_have_no_tokens():
    assert Segmenter().cut_all([]) == []


def test_a_text_that_is_not_normalised_mixes_no_rows():
    with pytest.raises(AssertionError, match="a line break"):
        Segmenter().cut_all(["好\n评", "差"])


FAST, SLOW = Segmenter(engine="rjieba"), Segmenter(engine="jieba")


def test_both_engines_cut_the_demos_reviews_alike():
    with DEMO.open(encoding="utf-8") as file:
        texts = [normalize(row["text"]) for row in csv.DictReader(file)][::100]
    assert len(texts) == 100
    assert FAST.cut_all(texts) == SLOW.cut_all(texts)


WORDS = "手机 不耐用 我的 书 iphone 15 c++ 5.5 - % 😀 , 。 · é ガ 𠮷 㐂 γ射线 b超 卡拉ok".split(" ")
HAN = st.characters(min_codepoint=0x3400, max_codepoint=0x9FFF)
MIXED = st.lists(st.one_of(st.sampled_from([*WORDS, " "]), HAN, st.characters())).map("".join)


@given(st.lists(MIXED.map(normalize), max_size=9))
def test_both_engines_cut_anything_alike(texts):
    assert FAST.cut_all(texts) == SLOW.cut_all(texts) == [FAST.cut(text) for text in texts]
    assert ["".join(row) for row in FAST.cut_all(texts)] == [t.replace(" ", "") for t in texts]


OWN = "洗发水味道\n\n电池不耐用 20\r\n房间干净 20 n\n书好看 n\nＡpp好评 5\n"


def test_the_users_own_words_stay_whole_and_are_normalised_as_texts_are():
    own = Segmenter(user_dictionary=OWN)
    assert own.own_words() == ["洗发水味道", "电池不耐用", "房间干净", "书好看", "app好评"]
    for word in own.own_words():
        assert own.cut(normalize(f"{word.upper()}，真的")) == [word, ",", "真的"]
        assert Segmenter().cut(word) != [word]


def test_words_are_normalised_by_the_normalizer_of_the_texts():
    simple = Normalizer(traditional="simplify", links="drop")
    own = Segmenter(user_dictionary="電池不耐用\n", normalizer=simple)
    assert own.cut(simple("電池不耐用 t.cn/x")) == own.own_words() == ["电池不耐用"]


@pytest.mark.parametrize(
    "line",
    ["洗发 水 味 道", "洗发水 n 20", "洗发水 2 n x", "洗发水 ² ²", "洗发水 3.5", "洗发水 -1",
     "洗发水 0", "洗发水 1000000001", "洗发水 " + "9" * 5000, "洗发水 abc 20 n", "电池 不耐用"],
)  # fmt: skip
def test_a_wrong_line_of_the_dictionary_is_named(line):
    with pytest.raises(DataError, match=rf"user dictionary, line 2: '{line}' is not"):
        Segmenter(user_dictionary=f"好评\n{line}").cut("洗发水")


@pytest.mark.parametrize(
    ("word", "found"), [("http://t.cn/x", "leaves nothing"), ("a´b", "becomes 'a ́b', with a blank")]
)
def test_a_word_that_is_none_once_normalised_is_named(word, found):
    own = Segmenter(user_dictionary=f"\n{word} 5 n", normalizer=Normalizer(links="drop"))
    with pytest.raises(DataError, match=f"user dictionary, line 2: '{word}' {found}"):
        own.check()


@pytest.mark.parametrize("word", ["好评😀", "卡拉·ok", "café"])
def test_a_word_that_no_count_makes_whole_is_refused(word):
    with pytest.raises(DataError, match=f"user dictionary, line 2: '{word}' is cut into .* by rji"):
        Segmenter(user_dictionary=f"好评\n{word} 900").check()


def test_a_word_with_too_small_a_count_is_told_with_one_that_would_do():
    (told,) = Segmenter(user_dictionary="书好看\n也不 1").check()
    found, count = told.removesuffix(" would keep it whole").split("; a count of ")
    assert found == "user dictionary, line 2: '也不' is cut into 也 | 不"
    assert Segmenter(user_dictionary=f"书好看\n也不 {count}").check() == []


def test_characters_have_no_dictionary_to_check():
    assert Segmenter(unit="chars", user_dictionary="好评😀").check() == []


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
