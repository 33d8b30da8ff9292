"""Texts that show in what they hold that something went wrong with their characters."""

import pyarrow as pa
import pyarrow.compute as pc


def garbled(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each text has the sign for an unreadable character, or was read in a wrong encoding.

    A Chinese character is three bytes in UTF-8, E4 to E9, then twice 80 to BF. Read as Latin-1 or
    Windows-1252 it is å or such and two signs or controls: two characters of them are asked for, or
    a text of one. Read as GBK two characters give three, of which each alone may be real, but which
    in real texts neither end there nor go on with another such. GBK read as Latin-1 is accented
    letters in a row. Of 395,000 real texts none was found wrongly; of texts wrongly read on purpose
    97 % and more, but 89 % where they are short and GBK was read as Latin-1. Big5 isn't recognised.
    """
    return pc.match_substring_regex(texts, _pattern())


def traditional(texts: pa.ChunkedArray) -> pa.Array:
    """Whether each text has characters that OpenCC would simplify."""
    import opencc

    simplify = opencc.OpenCC("t2s").convert
    return pa.array([simplify(text) != text for text in texts.to_pylist()], pa.bool_())


def _pattern() -> str:
    lead, rest = range(0xE4, 0xEA), range(0x80, 0xC0)
    windows = "".join(bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xA0))
    western = f"[ä-é][\u0080-\u00bf{windows}]{{2}}"
    starts = _gbk(lead, rest)
    goes_on = rf"(?:[{starts}锛銆]|\P{{Han}}|$)"  # 锛 and 銆 begin Chinese punctuation
    return "|".join(
        (
            "\ufffd",
            "锟斤拷",  # two of that sign, in UTF-8, read as GBK
            f"(?:{western}){{2}}",
            f"^{western}$",
            "[À-ÖØ-öø-ÿ]{3}",
            f"[{starts}][{_gbk(rest, lead)}][{_gbk(rest, rest)}]{goes_on}",
        )
    )


def _gbk(first: range, second: range) -> str:
    """The characters of two bytes in these ranges."""
    pairs = {bytes([a, b]).decode("gbk", "ignore") for a in first for b in second}
    return "".join(sorted(pairs))
