"""Personal data are found where they are, and only there; every number here is made up."""

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.text.normalize import Normalizer
from bigmodel.text.personal import MASKS, mask
from bigmodel.text.segment import Segmenter

EVERY = tuple(MASKS)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("身份证11010519491231002x,谢谢", "身份证maskidnumber,谢谢"),  # the standard's example
        ("110105194912310021", "110105194912310021"),  # another last digit
        ("110105 19491231 002x", "maskidnumber"),
        ("110105194913310005", "110105194913310005"),  # the sum holds, month 13 doesn't
        ("440524188001010014", "440524188001010014"),  # it holds, but nobody is that old
        ("旧证110105491231002号", "旧证maskidnumber号"),
        ("110105491331002", "110105491331002"),
        ("990105491231002", "990105491231002"),  # no such province
        ("911010519491231002x", "911010519491231002x"),  # part of a longer run
        ("id11010519491231002xok", "id maskidnumber ok"),
    ],
)
def test_identity_numbers(written, seen):
    assert mask(written, kinds=("id_number",)) == seen


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("卡号4111111111111111", "卡号maskbankcard"),
        ("4111111111111112", "4111111111111112"),
        ("6222 0212 3456 7894", "maskbankcard"),
        ("6222-0212-3456-7890-128。", "maskbankcard。"),
        ("6222021234567890128", "maskbankcard"),
        ("62220212345678901280", "62220212345678901280"),  # twenty digits
        ("2024 6222 0212 3456 7894", "2024 maskbankcard"),  # the first sixteen don't hold
        ("6222 0212 3456 7894 123", "maskbankcard 123"),
        ("622 2021 2345 6789 4", "622 2021 2345 6789 4"),  # no groups of four
    ],
)
def test_bank_cards(written, seen):
    assert mask(written, kinds=("bank_card",)) == seen


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("电话13800138000谢谢", "电话maskphone谢谢"),
        ("138 0013 8000", "maskphone"),
        ("138-0013-8000", "maskphone"),
        ("1380 0138 000/13800 138000/138 001 38000", "maskphone/maskphone/maskphone"),
        ("+8613800138000 86-13800138000 0086 138 0013 8000", "maskphone maskphone maskphone"),
        ("(+86)13800138000", "maskphone"),
        ("12800138000", "12800138000"),
        ("1380013800", "1380013800"),
        ("213800138000", "213800138000"),
        ("138001380001", "138001380001"),
        ("座机010-82345678", "座机maskphone"),
        ("0755 8234567,(021)82345678", "maskphone,maskphone"),
        ("02182345678", "maskphone"),
        ("+86 10 8234 5678", "maskphone"),
        ("0055-82345678", "0055-82345678"),  # no such area
        ("2020-12-31 12:30:45", "2020-12-31 12:30:45"),
        ("400-800-8888", "400-800-8888"),  # a service, not a person
        ("tel13800138000转8001", "tel maskphone转8001"),
        ("13800138000@qq.com", "maskphone@qq.com"),
    ],
)
def test_phones(written, seen):
    assert mask(written, kinds=("phone",)) == seen


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("邮箱zhang.san+1@mail.qq.com。", "邮箱maskemail。"),
        ("a_b-c@163.com很好", "maskemail很好"),
        ("a@b.com1", "maskemail 1"),
        ("zhang@localhost @小明 3@5.5", "zhang@localhost @小明 3@5.5"),
    ],
)
def test_email_addresses(written, seen):
    assert mask(written, kinds=("email",)) == seen


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("110105194912310150", "maskidnumber"),  # its sum holds as a card's, too
        ("6217 0100 1380 0138 005", "maskbankcard"),  # 1380 0138 005 alone would be a phone
        ("6217 0100 1380 0138 006", "6217 0100 maskphone"),
        ("13800138000@qq.com", "maskemail"),
        ("手机 １３８　００１３　８０００", "手机 maskphone"),
        ("138\u200b0013\u200b8000", "maskphone"),
        ("", ""),
    ],
)
def test_the_masks_are_put_in_order_on_the_normalised_text(written, seen):
    assert Normalizer(mask=EVERY)(written) == seen


@pytest.mark.parametrize(("engine", "hmm"), [("rjieba", False), ("rjieba", True), ("jieba", False)])
def test_a_placeholder_is_one_token(engine, hmm, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))
    words = [each.word for each in MASKS.values()]
    texts = [Normalizer()(f"我的{word}是，{word}。") for word in words]
    tokens = [["我", "的", word, "是", ",", word, "。"] for word in words]
    assert Segmenter(engine=engine, hmm=hmm).cut_all(texts) == tokens


def last_of_id(digits: str) -> str:
    """By the table that the standard prints."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10x98765432"[sum(w * int(d) for w, d in zip(weights, digits, strict=True)) % 11]


def last_of_card(digits: str) -> str:
    """By the table of doubled digits."""
    doubled = sum(int("0246813579"[int(digit)]) for digit in digits[::-2])
    return str(-(doubled + sum(map(int, digits[-2::-2]))) % 10)


def grouped(digits: str, gap: str, *sizes: int) -> str:
    groups, start = [], 0
    for size in (*sizes, len(digits)):
        groups.append(digits[start : start + size])
        start += size
    return gap.join(group for group in groups if group)


def digits(size: int, first: str = "123456789") -> st.SearchStrategy[str]:
    rest = st.text("0123456789", min_size=size - 1, max_size=size - 1)
    return st.tuples(st.sampled_from(first), rest).map("".join)


GAPS = st.sampled_from(["", " ", "-"])
BIRTHDAYS = st.dates(date(1900, 1, 1), date(2025, 12, 31)).map("{:%Y%m%d}".format)
IDS = st.tuples(digits(6), BIRTHDAYS, digits(3)).map("".join).map(lambda d: d + last_of_id(d))
CARDS = st.integers(15, 18).flatmap(digits).map(lambda d: d + last_of_card(d))
MOBILES = st.tuples(st.just("1"), digits(10, "3456789")).map("".join)
WRITTEN = {
    "id_number": IDS,
    "bank_card": st.builds(lambda d, gap: grouped(d, gap, 4, 4, 4, 4), CARDS, GAPS),
    "phone": st.builds(lambda d, gap: grouped(d, gap, 3, 4, 4), MOBILES, GAPS),
    "email": st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,9}@[a-z0-9]{1,9}\.(com|cn)\Z"),
}


@pytest.mark.parametrize("kind", WRITTEN)
@given(data=st.data(), before=st.sampled_from(["", "我的", "是:", "x "]))
def test_every_valid_one_is_masked_alone_and_in_a_text(kind, data, before):
    written = data.draw(WRITTEN[kind])
    assert mask(f"{before}{written}。好", kinds=(kind,)) == f"{before}{MASKS[kind].word}。好"


def valid(run: str) -> bool:
    """An unbroken run of digits that the masks promise to find."""
    if len(run) == 18 and last_of_id(run[:-1]) == run[-1] and run[6:8] in ("19", "20"):
        return 1 <= int(run[10:12]) <= 12 and 1 <= int(run[12:14]) <= 28
    card = run.isdecimal() and 16 <= len(run) <= 19 and last_of_card(run[:-1]) == run[-1]
    return card or bool(re.fullmatch("1[3-9][0-9]{9}", run))


NEAR = st.sampled_from([*" -，号a7@(x", "", "+86", "2024 ", "\u200b"])
TEXTS = st.lists(st.one_of(NEAR, *WRITTEN.values(), digits(4)), max_size=12).map("".join)


@given(TEXTS)
def test_nothing_valid_is_left_and_masking_twice_changes_nothing_more(text):
    seen = Normalizer(mask=EVERY)(text)
    runs = re.findall(r"[0-9]+(?:x(?![0-9]))?", seen)
    assert not [run for run in runs if valid(run) or valid(run.rstrip("x"))]
    assert Normalizer(mask=EVERY)(seen) == seen


@given(st.text("0123456789x -@.", max_size=60).map("单号{}".format))
def test_what_does_not_hold_stays_as_it_is(text):
    seen = mask(text, kinds=EVERY)
    kept = re.split("|".join(rf" ?{each.word} ?" for each in MASKS.values()), seen)
    assert re.fullmatch(".+".join(map(re.escape, kept)), text)
