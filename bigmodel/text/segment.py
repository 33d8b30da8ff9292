"""A normalised text to its words or characters."""

import importlib.metadata
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bigmodel.errors import DataError
from bigmodel.text.normalize import Normalizer

Cut = Callable[[str], list[str]]
LARGEST_COUNT = 10**9  # jieba's own dictionary counts 60 million words in all


@dataclass(frozen=True)
class Segmenter:
    """Cuts texts with one engine and the user's own words, which travel with it as text.

    `unit` is "words" or "chars"; `user_dictionary` holds lines of `word [count [tag]]`, whose words
    are written as `normalizer` writes the texts.
    """

    engine: str = "rjieba"
    hmm: bool = False
    unit: str = "words"
    user_dictionary: str = ""
    stop_words: frozenset[str] = frozenset()
    normalizer: Normalizer = Normalizer()

    def cut(self, text: str) -> list[str]:
        """Tokens in order, without blanks and stop words."""
        return self.cut_all([text])[0]

    def cut_all(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of each text, in less time than one by one.

        In one call, since a line break, which no normalised text holds, is a token of its own.
        """
        cut: Cut = list
        if self.unit == "words":
            cut = _cutter(self.engine, self.hmm, self.user_dictionary, self.normalizer)
        rows: list[list[str]] = []
        row: list[str] = []
        for token in cut("\n".join([*texts, ""])):
            if token == "\n":
                rows.append(row)
                row = []
            elif token != " ":
                row.append(token)
        assert len(rows) == len(texts), "a text isn't normalised: it holds a line break"
        if self.stop_words:
            rows = [[token for token in row if token not in self.stop_words] for row in rows]
        return rows

    @property
    def engine_version(self) -> str:
        """Of the package that cuts: another one may cut otherwise."""
        return "" if self.unit == "chars" else importlib.metadata.version(self.engine)

    def own_words(self) -> list[str]:
        """The words of the user's dictionary, in its order, each once."""
        return [entry.word for entry in _entries(self.user_dictionary, self.normalizer)]

    def check(self) -> list[str]:
        """A sentence for each of the user's words that doesn't come out whole even alone.

        Such a word has a count that is too small against other words, its own dictionary's or the
        engine's. DataError for one that the engine can't keep whole under any count.
        """
        entries = _entries(self.user_dictionary, self.normalizer)
        if self.unit == "chars" or not entries:
            return []
        tokenizer = _tokenizer(self.engine, entries)  # not the one that cuts: counts change below
        cut = _cut_by(self.engine, tokenizer, self.hmm)
        apart = [(entry, parts) for entry in entries if (parts := cut(entry.word)) != [entry.word]]
        sentences = []
        for entry, parts in apart:
            count = tokenizer.suggest_freq(entry.word)
            tokenizer.add_word(entry.word, count, None)
            cut_up = f"{entry.word!r} is cut into {' | '.join(parts)}"
            found = f"user dictionary, line {entry.line}: {cut_up}"
            if cut(entry.word) != [entry.word]:
                raise DataError(
                    f"{found} by {self.engine}, whatever its count: a word is made of Chinese "
                    "characters, letters, digits and + # & . _ % -; take it out"
                )
            sentences.append(f"{found}; a count of {count} would keep it whole")
        return sentences


@dataclass(frozen=True)
class _Entry:
    """A line of a dictionary; without a count the engine works one out that keeps it whole."""

    word: str
    line: int
    count: int | None
    tag: str | None


@lru_cache(maxsize=4)
def _cutter(engine: str, hmm: bool, user_dictionary: str, normalizer: Normalizer) -> Cut:
    """A loaded engine: once a process, since it can't travel and takes up to a second to load."""
    return _cut_by(engine, _tokenizer(engine, _entries(user_dictionary, normalizer)), hmm)


def _tokenizer(engine: str, entries: Sequence[_Entry]) -> Any:
    """A new one that knows the entries.

    Those without a count come last: theirs is worked out such that they stay whole beside the rest.
    """
    if engine == "rjieba":
        import rjieba

        tokenizer = rjieba.Jieba()
    else:
        import jieba

        jieba.setLogLevel("ERROR")
        tokenizer = jieba.Tokenizer()
        tokenizer.tmp_dir = _private_cache()
        tokenizer.initialize()
    for entry in sorted(entries, key=lambda entry: entry.count is None):
        tokenizer.add_word(entry.word, entry.count, entry.tag)
    return tokenizer


def _cut_by(engine: str, tokenizer: Any, hmm: bool) -> Cut:
    if engine == "rjieba":
        return partial(tokenizer.cut, hmm=hmm)
    return partial(tokenizer.lcut, HMM=hmm)


def _private_cache() -> str:
    """A folder of this user's alone: jieba loads its cache by `marshal`, which trusts its bytes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bigmodel"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    cache.chmod(0o700)
    return str(cache)


def _entries(user_dictionary: str, normalizer: Normalizer) -> list[_Entry]:
    """Of its lines, the last for each word, in order; DataError for one that is none."""
    entries = {}
    for line, written in enumerate(user_dictionary.split("\n"), 1):
        if fields := written.split():
            entry = _entry(fields, line, normalizer)
            entries[entry.word] = entry
    return list(entries.values())


def _entry(fields: list[str], line: int, normalizer: Normalizer) -> _Entry:
    """One line, in words as they were written."""
    rest = fields[1:]
    count = int(rest.pop(0)) if rest and rest[0].isdecimal() and len(rest[0]) < 20 else None
    tag = rest.pop(0) if rest and rest[0].isascii() and rest[0].isalpha() else None
    if rest or (count is not None and not 1 <= count <= LARGEST_COUNT):
        raise DataError(
            f"user dictionary, line {line}: {' '.join(fields)!r} is not `word [count [tag]]` (no "
            f"blank in the word, a count from 1 to {LARGEST_COUNT:,}, a tag of letters); mend it"
        )
    word = normalizer(fields[0])
    if not word or " " in word:
        left = f"becomes {word!r}, with a blank in it," if word else "leaves nothing"
        raise DataError(
            f"user dictionary, line {line}: {fields[0]!r} {left} when it is normalised like the "
            "texts; take it out"
        )
    return _Entry(word, line, count, tag)
