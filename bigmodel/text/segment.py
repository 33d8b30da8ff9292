"""A normalised text to its words or characters."""

import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bigmodel.errors import DataError
from bigmodel.text.normalize import normalize


@dataclass(frozen=True)
class Segmenter:
    """Cuts texts with one engine and the user's own words, which travel with it as text.

    `unit` is "words" or "chars"; `user_dictionary` holds lines of `word [count [tag]]`.
    """

    engine: str = "rjieba"
    hmm: bool = False
    unit: str = "words"
    user_dictionary: str = ""
    stop_words: frozenset[str] = frozenset()

    def cut(self, text: str) -> list[str]:
        """Tokens in order, without blanks and stop words."""
        if self.unit == "chars":
            tokens = list(text)
        else:
            tokens = _cutter(self.engine, self.user_dictionary, self.hmm)(text)
        return [token for token in tokens if token != " " and token not in self.stop_words]

    @property
    def engine_version(self) -> str:
        """Of the package that cuts: another one may cut otherwise."""
        return "" if self.unit == "chars" else importlib.metadata.version(self.engine)

    def own_words(self) -> list[str]:
        """The words of the user's dictionary, in its order."""
        return [word for word, _, _ in _entries(self.user_dictionary)]


@lru_cache(maxsize=4)
def _cutter(engine: str, user_dictionary: str, hmm: bool) -> Callable[[str], list[str]]:
    """A loaded engine: once a process, since it can't travel and takes up to a second to load."""
    cut: Callable[[str], list[str]]
    if engine == "rjieba":
        import rjieba

        tokenizer = rjieba.Jieba()
        cut = partial(_rjieba_cut, tokenizer, hmm)
    else:
        import jieba

        jieba.setLogLevel("ERROR")
        tokenizer = jieba.Tokenizer()
        tokenizer.tmp_dir = _private_cache()
        tokenizer.initialize()
        cut = partial(tokenizer.lcut, HMM=hmm)
    for word, count, tag in _entries(user_dictionary):
        tokenizer.add_word(word, count, tag)
    return cut


def _rjieba_cut(tokenizer: Any, hmm: bool, text: str) -> list[str]:
    return list(tokenizer.cut(text, hmm))


def _private_cache() -> str:
    """A folder of this user's alone: jieba loads its cache by `marshal`, which trusts its bytes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bigmodel"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    cache.chmod(0o700)
    return str(cache)


def _entries(user_dictionary: str) -> list[tuple[str, int | None, str | None]]:
    entries = []
    for number, line in enumerate(user_dictionary.splitlines(), 1):
        word, *rest = line.split() or [""]
        if not word:
            continue
        count = int(rest.pop(0)) if rest and rest[0].isdecimal() else None
        if len(rest) > 1:
            raise DataError(
                f"user dictionary, line {number}: {line!r} is not `word [count [tag]]`; mend it"
            )
        entries.append((normalize(word), count, rest[0] if rest else None))
    return entries
