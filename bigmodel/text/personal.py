"""Personal data in normalised texts: found by form and checksum, replaced by a placeholder."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

_DIGITS = re.compile(r"[0-9](?:[() -]{0,2}[0-9]){9}")  # no number here has fewer
EMAIL = r"(?<![a-z0-9._%+-])[a-z0-9._%+-]+@(?:[a-z0-9-]+\.)+[a-z]{2,}"

_ID_NUMBER = r"\d{6} [ -]? \d{8} [ -]? \d{3}[\dx]"
_OLD_ID_NUMBER = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]) \d{13}"  # a province
_BANK_CARD = r"\d{4} [ -]? \d{4} [ -]? \d{4} [ -]? \d{4}"
_MOBILE = r"""
    (?: \(? (?:\+|00)? 86 \)? [ -]? | 0 )?
    (?: 1[3-9]\d [ -]? \d{4} [ -]? \d{4} | 1[3-9]\d [ -]? \d{3} [ -]? \d{5}
      | 1[3-9]\d\d [ -]? \d{4} [ -]? \d{3} | 1[3-9]\d{3} [ -]? \d{6} )"""
_LANDLINE = r"""
    (?: (?:\+|00) 86 [ -]? \(? 0? | \(? 0 ) (?:10|2\d|[3-9]\d\d) \)?
    [ -]? \d{3,4} [ -]? \d{4}"""


@dataclass(frozen=True)
class Mask:
    """One kind of personal data: where `patterns` find what `holds` confirms, `word` is put.

    `holds` is asked with blanks and hyphens taken out. Every place is tried, those that overlap
    too: a number that doesn't hold hides none that does.
    """

    word: str
    patterns: tuple[re.Pattern[str], ...]
    holds: Callable[[str], bool] = bool

    def __call__(self, text: str) -> str:
        for pattern in self.patterns:
            text = self._replaced(text, pattern)
        return text

    def _replaced(self, text: str, pattern: re.Pattern[str]) -> str:
        parts, done, start = [], 0, 0
        while found := pattern.search(text, start):
            start = found.start() + 1
            if self.holds(re.sub("[ -]", "", found[0])):
                parts.append(text[done : found.start()] + self._placeholder(found))
                done = start = found.end()
        return "".join(parts) + text[done:]

    def _placeholder(self, found: re.Match[str]) -> str:
        """The word, a blank between it and a letter or digit that it would make one word with."""
        text, (start, end) = found.string, found.span()
        left = " " if re.match("[a-z0-9]", text[max(start - 1, 0) : start]) else ""
        right = " " if re.match("[a-z0-9]", text[end : end + 1]) else ""
        return f"{left}{self.word}{right}"


def is_id_number(written: str) -> bool:
    """18 characters by GB 11643: a date of birth, and a checksum modulo 11 in which x is 10.

    Or the 15 digits of before 1999, which have no checksum.
    """
    if len(written) == 15:
        return _is_birthday("19" + written[6:12])
    values = [10 if character == "x" else int(character) for character in written]
    weighted = sum(value * 2**place for place, value in enumerate(reversed(values)))
    return weighted % 11 == 1 and _is_birthday(written[6:14])


def is_bank_card(digits: str) -> bool:
    """The sum of ISO/IEC 7812-1 (Luhn's)."""
    doubled = "".join(str(2 * int(digit)) for digit in digits[-2::-2])
    return sum(map(int, doubled + digits[::-2])) % 10 == 0


def _is_birthday(digits: str) -> bool:
    """yyyymmdd from 1900 to 2099; not up to today, or a text would read otherwise tomorrow."""
    try:
        return 1900 <= date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year < 2100
    except ValueError:
        return False


def _alone(*forms: str) -> tuple[re.Pattern[str], ...]:
    """Not as a part of a longer run of digits."""
    return tuple(re.compile(rf"(?<!\d)(?:{form})(?!\d)", re.ASCII | re.VERBOSE) for form in forms)


MASKS = {
    "id_number": Mask("maskidnumber", _alone(_ID_NUMBER, _OLD_ID_NUMBER), is_id_number),
    "bank_card": Mask(
        "maskbankcard",
        _alone(*(rf"{_BANK_CARD} [ -]? \d{{{more}}}" for more in (3, 2, 1)), _BANK_CARD),
        is_bank_card,
    ),
    "phone": Mask("maskphone", _alone(_MOBILE, _LANDLINE)),
    "email": Mask("maskemail", (re.compile(EMAIL),)),
}
"""In the order in which they are looked for: the strictest first, since an identity number may pass
for a card and a part of a card for a phone; addresses last, since many begin with a phone number.

The placeholders are plain letters: NFKC, lower case and both engines leave them whole, where signs
like <phone> fall into several tokens; and no Chinese word is counted together with them.
"""


def mask(text: str, *, kinds: tuple[str, ...]) -> str:
    """A normalised text with placeholders for personal data of these kinds."""
    if "@" in text or _DIGITS.search(text):
        for name in kinds:
            text = MASKS[name](text)
    return text
