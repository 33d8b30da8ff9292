"""One way to write a text, the same in training and in serving."""

import importlib.metadata
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

from bigmodel.config import TextConfig
from bigmodel.text.personal import EMAIL, MASKS, mask

Step = Callable[[str], str]

# What Unicode calls default ignorable: zero widths, directions, variation selectors, tags.
_INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Every blank but the plain one, controls, and lone halves of surrogate pairs.
_BLANK = (
    r"\x00-\x1f\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufff9-\ufffb\ud800-\udfff"
)
_ODD = re.compile(f"[{_INVISIBLE}{_BLANK}]")
_INVISIBLES = re.compile(f"[{_INVISIBLE}]+")
_BLANKS = re.compile(f"[{_BLANK}]+")

_HOST = r"(?:[a-z0-9-]+\.)+(?:cn|com|net|org|cc|co|tv|me|ly|gl|gd|im|io|top|vip|xyz|link)(?::\d+)?"
_LINK = re.compile(
    rf"(?:https?://|(?<![a-z0-9])www\.|(?<![a-z0-9_.@-]){_HOST}/)"
    r"[a-z0-9\-._~:/?#@!$&'()*+,;=%\[\]]*[a-z0-9/#%&=_+-]"  # punctuation ends no link
)
_USER_NAME = re.compile(rf"({EMAIL})|@[\w-]{{1,30}}(?![\w-])")


@dataclass(frozen=True)
class Normalizer:
    """A text as people write it -> as we count it. The order is:

    1. characters that take no room (zero widths, directions) fall away; controls and every kind
       of blank become a plain blank
    2. NFKC (full width becomes half width, … three dots), lower case, NFKC where that undid it
    3. runs of blanks become one blank, and those at the ends fall away
    4. `traditional="simplify"`: traditional characters to simplified ones, by OpenCC
    5. `links="drop"`: http(s)://…, www.…, and bare addresses with a path (t.cn/x) become a blank;
       they end at what isn't ASCII, and leave the punctuation that follows them
    6. `user_names="drop"`: @name becomes a blank; an e-mail address stays
    7. `mask`: personal data become placeholders, in the order of `personal.MASKS`

    Whatever 4 to 7 change goes through all of it again, until nothing changes: what is taken out
    may bring the next link or number about. So doing it twice changes nothing more.
    """

    links: str = "keep"
    user_names: str = "keep"
    traditional: str = "keep"
    mask: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: TextConfig) -> "Normalizer":
        """The recipe's; equal for recipes that name the same masks in another order."""
        kinds = tuple(name for name in MASKS if name in text.mask)
        return cls(text.links, text.user_names, text.traditional, kinds)

    @property
    def version(self) -> str:
        """Of OpenCC, where it is used: another one may simplify otherwise; "" where it isn't."""
        return "" if self.traditional == "keep" else importlib.metadata.version("OpenCC")

    def __call__(self, text: str) -> str:
        """The empty string, and one of nothing visible, gives the empty string."""
        text = normalize(text)
        while self._steps and (changed := self._changed(text)) != text:
            text = normalize(changed)
        return text

    def _changed(self, text: str) -> str:
        for step in self._steps:
            text = step(text)
        return text

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        if self.traditional == "simplify":
            steps.append(_simplify)
        if self.links == "drop":
            steps.append(_drop_links)
        if self.user_names == "drop":
            steps.append(_drop_user_names)
        if self.mask:
            steps.append(partial(mask, kinds=tuple(name for name in MASKS if name in self.mask)))
        return tuple(steps)


def normalize(text: str) -> str:
    """What is always done: the first three steps of a Normalizer."""
    if _ODD.search(text):
        text = _BLANKS.sub(" ", _INVISIBLES.sub("", text))
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", _half_width(text))
    text = text.lower()
    if not unicodedata.is_normalized("NFKC", text):  # ẖ is one character, H̱ are two
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.split()) if "  " in text else text.strip()


def _half_width(text: str) -> str:
    """What NFKC makes of the commonest characters; then mostly it needn't look at each of all."""
    return (
        text.replace("，", ",")
        .replace("！", "!")
        .replace("？", "?")
        .replace("：", ":")
        .replace("；", ";")
        .replace("（", "(")
        .replace("）", ")")
        .replace("…", "...")
    )


def _simplify(text: str) -> str:
    """By OpenCC, but 坏: it takes "broken" for the potter's 坏, and 打坏 would become 打坯."""
    return "坏".join(map(_converter().convert, text.split("坏")))


@lru_cache(maxsize=1)
def _converter() -> Any:
    import opencc

    return opencc.OpenCC("t2s")


def _drop_links(text: str) -> str:
    return _LINK.sub(" ", text) if "/" in text or "www." in text else text


def _drop_user_names(text: str) -> str:
    return _USER_NAME.sub(lambda found: found[1] or " ", text) if "@" in text else text
