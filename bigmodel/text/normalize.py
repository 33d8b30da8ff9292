"""One way to write a text, the same in training and in serving."""

import re
import unicodedata

# Every kind of blank, controls, zero widths, directions, and lone halves of surrogate pairs.
_BLANKS = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ud800-\udfff\ufeff]+"
)


def normalize(text: str) -> str:
    """NFKC (full width becomes half width), lower case, runs of blanks and controls as one blank.

    The empty string, and one of blanks only, gives the empty string. Doing it twice changes
    nothing more.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    if not unicodedata.is_normalized("NFKC", folded):  # lower case takes İ apart
        folded = unicodedata.normalize("NFKC", folded)
    return _BLANKS.sub(" ", folded).strip()
