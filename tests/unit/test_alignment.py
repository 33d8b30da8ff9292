"""Where a normalised text stands in the one that was sent."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.text import alignment
from bigmodel.text.alignment import aligned
from bigmodel.text.normalize import Normalizer

PLAIN = Normalizer()
ALL = Normalizer("drop", "drop", "simplify", ("id_number", "bank_card", "phone", "email"))


def sent_as(normalizer: Normalizer, sent: str, written: str) -> str:
    """What stands in `sent` for `written`, which its normalised text holds once."""
    found = aligned(normalizer, sent)
    assert found.written == normalizer(sent) and found.written.count(written) == 1
    start = found.written.index(written)
    place = found.sent(start, start + len(written))
    assert place is not None
    return sent[slice(*place)]


@pytest.mark.parametrize(
    ("normalizer", "sent", "written", "stands_for"),
    [
        (PLAIN, "手机不耐用", "耐用", "耐用"),
        (PLAIN, "ＡＢＣ　１２３手机", "abc", "ＡＢＣ"),
        (PLAIN, "ＡＢＣ　１２３手机", "123", "１２３"),
        (PLAIN, " \t手机   很\n\n卡 ", "很", "很"),
        (PLAIN, " \t手机   很\n\n卡 ", "卡", "卡"),
        (PLAIN, "真的…手机", "...", "…"),
        (PLAIN, "真的…手机", "手机", "手机"),
        (PLAIN, "手\u200b机好", "手机", "手\u200b机"),
        (PLAIN, "cafe\u0301好喝", "é", "e\u0301"),
        (PLAIN, "cafe\u0301好喝", "好喝", "好喝"),
        (PLAIN, "㍿手机", "株式", "㍿"),
        (PLAIN, "İstanbul好", "好", "好"),
        (PLAIN, "👨‍👩‍👧真好", "真好", "真好"),
        (ALL, "看https://t.cn/x?a=1这里", "这里", "这里"),
        (ALL, "看https://t.cn/x?a=1这里", "看", "看"),
        (ALL, "@张三 手機壞了", "手机", "手機"),
        (ALL, "請打13812345678找我", "maskphone", "13812345678"),
        (ALL, "請打13812345678找我", "找我", "找我"),
        (ALL, "打138 1234 5678找a@b.cn", "maskemail", "a@b.cn"),
        (ALL, "好" * 100 + "http://t.cn/" + "a" * 5000 + "壞", "坏", "壞"),
    ],
)
def test_a_word_is_found_where_it_was_sent(normalizer, sent, written, stands_for):
    assert sent_as(normalizer, sent, written) == stands_for


PIECES = st.sampled_from(
    ["手机", "電", "書", "，", "…", "Ａ", "b", "7", " ", "　", "\n", "\u200b", "\u0301", "❤️", "😀",
     "㍿", "https://t.cn/x", "www.a.com", "@张三 ", "13812345678", "a@b.cn", "ﬁ", "İ", "\ud800"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from([PLAIN, ALL]))
def test_each_part_gives_its_characters_alone(sent, normalizer):
    found = aligned(normalizer, sent)
    assert found.written == normalizer(sent)
    places = list(zip(found.starts.tolist(), found.ends.tolist(), found.written, strict=True))
    end = 0
    for (start, stop), group in groupby(places, key=lambda one: one[:2]):
        assert end <= start <= stop <= len(sent)
        written = "".join(character for *_, character in group)
        if written != " ":
            assert normalizer(sent[start:stop]) == written
            end = stop


@given(st.text(max_size=40))
def test_any_text_has_its_places(sent):
    found = aligned(ALL, sent)
    assert (found.starts >= 0).all() and (found.starts <= found.ends).all()
    assert (found.starts[1:] >= found.starts[:-1]).all()
    assert (found.ends[1:] >= found.ends[:-1]).all() and (found.ends <= len(sent)).all()


@given(st.text(alphabet="手机很好用abc,.1", max_size=40))
def test_a_normalised_text_stands_where_it_was_sent(sent):
    found = aligned(ALL, sent)
    assert found.written == sent
    assert found.starts.tolist() == list(range(len(sent)))
    assert found.ends.tolist() == list(range(1, len(sent) + 1))


def test_a_text_that_takes_too_long_is_known_from_its_beginning(monkeypatch):
    monkeypatch.setattr(alignment, "WORK", 20_000)
    sent = "書，" * 2000
    found = aligned(ALL, sent)
    assert found.written == "书," * 2000
    known = int((found.starts >= 0).sum())
    assert 0 < known < len(sent)
    assert found.starts[:known].tolist() == list(range(known))
    assert found.sent(known - 1, known) == (known - 1, known)
    assert found.sent(known, known + 1) is None
