"""TextEncoder: normalise, segment, look up; the only text -> ids code there is."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from bigmodel.config import Recipe, TextConfig
from bigmodel.errors import ModelError, RecipeError
from bigmodel.text.features import (
    Encoded,
    NgramTable,
    Vocabulary,
    fit_ngrams,
    fit_vocabulary,
    occurrences,
)
from bigmodel.text.ngrams import BUCKETS, Ints, NgramSpans
from bigmodel.text.normalize import normalize
from bigmodel.text.segment import Segmenter

CHUNK = 1024  # texts looked at together; larger chunks leave the processor's cache
CHUNK_CHARACTERS = 1 << 20  # and no more of these, which bounds the memory that n-grams take


@dataclass(frozen=True)
class TextEncoder:
    """What turns a raw text into ids, the same object in training and in serving."""

    segmenter: Segmenter
    features: Vocabulary | NgramTable

    @property
    def num_ids(self) -> int:
        """One more than the largest id; 0 is padding."""
        return self.features.num_ids

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Raw texts -> ids; what a text gives doesn't depend on the others."""
        parts = [self._encode(texts[chunk]) for chunk in chunks(texts)]
        if len(parts) == 1:
            return parts[0]
        return concatenate(parts)

    def _encode(self, texts: Sequence[str]) -> Encoded:
        written = [normalize(text) for text in texts]
        return self.features.encode(written, [self.segmenter.cut(text) for text in written])

    def files(self) -> dict[str, bytes]:
        """The encoder as files, name -> bytes; equal encoders give equal bytes."""
        cut = self.segmenter
        about: dict[str, Any] = {
            "engine": cut.engine,
            "engine_version": cut.engine_version,
            "hmm": cut.hmm,
            "segmenter": cut.unit,
            "stop_words": sorted(cut.stop_words),
        }
        files = {"user_dictionary.txt": cut.user_dictionary.encode()}
        if isinstance(self.features, Vocabulary):
            about |= {"features": "words", "max_tokens": self.features.max_tokens}
            files["vocabulary.json"] = _json(self.features.words)
        else:
            spans = self.features.spans
            about |= {"features": "ngrams", "chars": spans.chars, "words": spans.words}
            table = {"buckets": self.features.buckets, "idf": self.features.idf}
            files["ngrams.safetensors"] = save(table)
        return {"text.json": _json(about)} | files

    @classmethod
    def from_files(cls, files: dict[str, bytes]) -> "TextEncoder":
        """The encoder that wrote `files`; ModelError where this machine's engine is another one."""
        about = json.loads(files["text.json"])
        segmenter = Segmenter(
            engine=about["engine"],
            hmm=about["hmm"],
            unit=about["segmenter"],
            user_dictionary=files["user_dictionary.txt"].decode(),
            stop_words=frozenset(about["stop_words"]),
        )
        if segmenter.engine_version != about["engine_version"]:
            raise ModelError(
                f"the model was made with {segmenter.engine} {about['engine_version']}, installed "
                f"is {segmenter.engine_version}; install that version or train again"
            )
        if about["features"] == "words":
            words = tuple(json.loads(files["vocabulary.json"]))
            return cls(segmenter, Vocabulary(words, about["max_tokens"]))
        table = load(files["ngrams.safetensors"])
        spans = NgramSpans(tuple(about["chars"]), tuple(about["words"]))
        return cls(segmenter, NgramTable(spans, table["buckets"], table["idf"]))


@dataclass(frozen=True)
class EncoderRecipe:
    """An encoder before it has seen a text: what to count, and how to fit it from the counts."""

    segmenter: Segmenter
    text: TextConfig
    spans: NgramSpans | None
    min_count: int

    @classmethod
    def of(cls, recipe: Recipe) -> "EncoderRecipe":
        """The kind's features: n-grams for `linear` and `bag`, words in order for `mlp`."""
        kind = recipe.model.kind
        section: Any = getattr(recipe.model, kind)
        spans = None
        if kind in ("linear", "bag"):
            spans = NgramSpans(section.char_ngrams, section.word_ngrams)
        text = recipe.text
        if kind == "linear":  # its table has no size to hold down
            text = text.model_copy(update={"vocabulary_size": 0})
        return cls(make_segmenter(text), text, spans, section.min_count)

    def fingerprint(self) -> str:
        """Equal where two recipes make the same encoder of the same texts; paths don't count."""
        cut = self.segmenter
        parts = (
            (cut.engine, cut.engine_version, cut.hmm, cut.unit, cut.user_dictionary),
            sorted(cut.stop_words),  # a set has another order in each process
            (self.spans, self.min_count, self.text.vocabulary_size),
            self.text.max_tokens if self.spans is None else None,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def count(self, texts: Sequence[str]) -> tuple[list[str] | Ints, Ints]:
        """(distinct keys, number of the texts that hold each); the keys are words or buckets."""
        written = [normalize(text) for text in texts]
        tokens = [self.segmenter.cut(text) for text in written]
        if self.spans is None:
            held_by = Counter(word for row in tokens for word in set(row))
            return list(held_by), np.fromiter(held_by.values(), np.int64)
        totals = np.zeros(2 * BUCKETS, np.int64)
        for chunk in chunks(texts):
            _, buckets, _ = occurrences(self.spans, written[chunk], tokens[chunk])
            totals += np.bincount(buckets, minlength=len(totals))
        held = np.flatnonzero(totals)
        return held, totals[held]

    def fit(self, keys: Any, counts: Any, num_texts: int) -> TextEncoder:
        """The encoder, from the sums of `count` over all `num_texts` training texts."""
        features: Vocabulary | NgramTable
        size = self.text.vocabulary_size
        if self.spans is None:
            features = fit_vocabulary(
                list(keys),
                list(counts),
                min_count=self.min_count,
                size=size,
                max_tokens=self.text.max_tokens,
            )
        else:
            features = fit_ngrams(
                self.spans,
                np.asarray(keys),
                np.asarray(counts),
                num_texts=num_texts,
                min_count=self.min_count,
                size=size,
            )
        return TextEncoder(self.segmenter, features)


def make_segmenter(text: TextConfig) -> Segmenter:
    """The segmenter of a recipe; RecipeError where one of its files can't be read."""
    stop_words = _read(text.stop_words, "text.stop_words")
    return Segmenter(
        engine=text.engine,
        hmm=text.hmm,
        unit=text.segmenter,
        user_dictionary=_read(text.user_dictionary, "text.user_dictionary"),
        stop_words=frozenset(normalize(word) for word in stop_words.splitlines()) - {""},
    )


def chunks(texts: Sequence[str]) -> Iterator[slice]:
    """Neighbouring texts, at most CHUNK and, but for a single longer one, CHUNK_CHARACTERS."""
    start = characters = 0
    for place, text in enumerate(texts):
        full = place - start == CHUNK or characters + len(text) > CHUNK_CHARACTERS
        if full and place > start:
            yield slice(start, place)
            start, characters = place, 0
        characters += len(text)
    if len(texts) > start:
        yield slice(start, len(texts))


def concatenate(parts: Sequence[Encoded]) -> Encoded:
    """The texts of all parts, in order; none of no parts."""
    if not parts:
        return Encoded(np.zeros(0, np.int32), None, np.zeros(1, np.int64), np.zeros(0, np.bool_))
    starts = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
    values = [part.values for part in parts if part.values is not None]
    return Encoded(
        np.concatenate([part.ids for part in parts]),
        np.concatenate(values) if values else None,
        np.concatenate([np.zeros(1, np.int64), *offsets]),
        np.concatenate([part.truncated for part in parts]),
    )


def _read(path: str | None, key: str) -> str:
    if path is None:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: can't read {key} as UTF-8 text ({error})") from None


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
