"""Ways to write a Chinese text otherwise, to see whether the answer to it moves as it should.

Each change gives back the text itself where it finds nothing to change, and would rather miss a
place than make something that nobody would write.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from bigmodel.config import Change

_HAN = "[\u3400-\u9fff]"
_SURNAMES = "王李张刘陈杨赵周吴徐孙郭郑梁宋许邓冯韩曹"
_MORE_SURNAMES = "黄马朱胡林罗唐彭蒋蔡沈魏叶程董杜袁潘丁"  # also begin other words: 小马, 老黄牛
_TITLES = (
    "先生|女士|小姐|老师|师傅|经理|医生|教授|阿姨|叔叔|同学|律师|护士|大夫|主任|店长|老板|警官"
)
_WHOLE_NAMES = (
    *("张伟", "王伟", "李伟", "刘伟", "王芳", "张敏", "李敏", "王静", "李静", "张静", "王丽"),
    *("李丽", "张丽", "王秀英", "李秀英", "张秀英", "王军", "李军", "王磊", "李磊", "李明", "王明"),
    *("小明", "小刚", "小芳", "小丽", "小军"),
)
_LEFT = f"(?:(?<!{_HAN})|(?<=[的是和跟与给被对问让叫找向请谢因为把说位]))"
_RIGHT = f"(?=[的说是在很也就都给和跟与了来去又还被把让对叫]|(?!{_HAN}))"

_NAMES: tuple[tuple[re.Pattern[str], Sequence[str]], ...] = (
    (re.compile(f"{_LEFT}()([{_SURNAMES}{_MORE_SURNAMES}])(?={_TITLES})"), _SURNAMES),
    (re.compile(f"{_LEFT}([小老])([{_SURNAMES}]){_RIGHT}"), _SURNAMES),
    (re.compile(f"{_LEFT}()({'|'.join(_WHOLE_NAMES)}){_RIGHT}"), _WHOLE_NAMES),
)
"""What stands before a name and stays, and the name; what it may be exchanged for."""

_DIGITS = ("123456789", "１２３４５６７８９")
_LETTER = "A-Za-zＡ-Ｚａ-ｚ"
_DIGIT = "0-9０-９"
_KNOWN = "110|119|120|12306|12315|211|315|360|520|58|618|985|996|(?:19|20)[0-9][0-9]"
_NUMBER = re.compile(
    f"(?<![{_LETTER}{_DIGIT}第.:：])(?<![{_DIGIT}][-/])(?!(?:{_KNOWN})(?![{_DIGIT}]))"
    f"[{_DIGIT}]++(?:[.,][{_DIGIT}]++)*+"
    f"(?![{_LETTER}%％:：星折成年月日号点时一二三四五六七八九十]|[-/][{_DIGIT}]|颗星|分(?!钟))"
)
"""A number, but no part of a name (mp3, 4S), rank, mark, share (5星, 3分, 99%), date or time."""

_SEAM = re.compile(
    f"(?<={_HAN})(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?={_HAN})|(?<=[，。！？；：、,!?;:])(?={_HAN})"
)

_WIDTHS = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}
_OTHER_WIDTH = _WIDTHS | {full: half for half, full in _WIDTHS.items()}

LONGEST_NEGATED = 20  # characters: in a longer text other words decide
_AFTER = "(?=$|[的了啊呀哦吧哈,，.。!！~～ ])"
_GOOD = re.compile(
    f"(?:(?<=[很真挺])|(?<=非常))好{_AFTER}|好[用看吃玩听闻喝]|(?<!好)喜欢(?!的|就)|满意|舒服|舒适"
    "|(?<!颜)值得(?:购买|推荐|拥有|一看|买|看)?|推荐|方便(?!面)|干净(?!程度)|合适|实用|划算"
)
_UNFIT = re.compile(
    "非(?!常)|[不没无未别莫否难吗呢嘛么什啥哪谁?？但却虽比更差坏慢贵怕希望如若假要想本只除就才那还太]"
    "|强(?!烈)|[快赞棒爱美优高大靓帅佳妙]|好.*好|可是|可惜|一般|好评|满分|实惠|值钱|新鲜|耐用|便宜|信赖|安静|整洁|热情|周到|齐全|完善"
)
"""What turns praise round, doubts it, or is praise or blame of its own."""


def exchange_names(text: str, rng: random.Random) -> str:
    """张老师 -> 刘老师, 小王 -> 小郑, 李明 -> 王静; a name that comes again is the same again."""
    for pattern, others in _NAMES:
        names = sorted({found[2] for found in pattern.finditer(text)})
        new = {name: rng.choice([other for other in others if other != name]) for name in names}
        text = pattern.sub(partial(_renamed, new), text)
    return text


def _renamed(new: Mapping[str, str], found: re.Match[str]) -> str:
    return found[1] + new[found[2]]


def exchange_numbers(text: str, rng: random.Random) -> str:
    """3个, 200块, 1.50元 -> 7个, 600块, 8.20元: zeros stay, so round numbers stay round."""

    def exchanged(found: re.Match[str]) -> str:
        return "".join(_other_digit(character, rng) for character in found[0])

    return _NUMBER.sub(exchanged, text)


def _other_digit(character: str, rng: random.Random) -> str:
    for digits in _DIGITS:
        if character in digits:
            return rng.choice(digits.replace(character, ""))
    return character


def insert_blanks(text: str, rng: random.Random) -> str:
    """买了iPhone手机，很好 -> 买了 iPhone 手机， 很好."""
    return _SEAM.sub(" ", text)


def change_width(text: str, rng: random.Random) -> str:
    """Half width to full and full to half: ABC，好 -> ＡＢＣ,好."""
    return text.translate(_OTHER_WIDTH)


def write_traditionally(text: str, rng: random.Random) -> str:
    """Simplified to traditional characters, by OpenCC."""
    return str(_converter().convert(text))


@cache
def _converter() -> Any:
    import opencc

    return opencc.OpenCC("s2t")


def negate(text: str, rng: random.Random) -> str:
    """很好 -> 很不好, 喜欢 -> 不喜欢; only in a short text of one such word and no other turn."""
    praised = _GOOD.findall(text)
    if len(praised) != 1 or len(text) > LONGEST_NEGATED or _UNFIT.search(text):
        return text
    return _GOOD.sub("不\\g<0>", text)


CHANGES: Mapping[Change, Callable[[str, random.Random], str]] = {
    "names": exchange_names,
    "numbers": exchange_numbers,
    "blanks": insert_blanks,
    "width": change_width,
    "traditional": write_traditionally,
    "negation": negate,
}
