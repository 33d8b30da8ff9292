"""TextEncoder: normalise, segment, look up; the only text -> ids code there is."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    concatenate,
    fit_ngrams,
    fit_vocabulary,
)
from bigmodel.text.ngrams import Ints, NgramSpans
from bigmodel.text.normalize import Normalizer
from bigmodel.text.occurrences import Occurrences, chunks, occurrences_of
from bigmodel.text.segment import Segmenter


@dataclass(frozen=True)
class TextEncoder:
    """What turns a raw text into ids, the same object in training and in serving."""

    normalizer: Normalizer
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
        written = [self.normalizer(text) for text in texts]
        tokens = self.segmenter.cut_all(written)
        return self.features.look_up(occurrences_of(self.features.spans, written, tokens))

    def files(self) -> dict[str, bytes]:
        """The encoder as files, name -> bytes; equal encoders give equal bytes."""
        cut = self.segmenter
        about: dict[str, Any] = {
            "normalizer": asdict(self.normalizer),
            "normalizer_version": self.normalizer.version,
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
        written = about["normalizer"]
        normalizer = Normalizer(**written | {"mask": tuple(written["mask"])})
        segmenter = Segmenter(
            engine=about["engine"],
            hmm=about["hmm"],
            unit=about["segmenter"],
            user_dictionary=files["user_dictionary.txt"].decode(),
            stop_words=frozenset(about["stop_words"]),
            normalizer=normalizer,
        )
        for package, used, installed in (
            (segmenter.engine, about["engine_version"], segmenter.engine_version),
            ("OpenCC", about["normalizer_version"], normalizer.version),
        ):
            if used != installed:
                raise ModelError(
                    f"the model was made with {package} {used}, installed is {installed}; "
                    "install that version or train again"
                )
        if about["features"] == "words":
            words = tuple(json.loads(files["vocabulary.json"]))
            return cls(normalizer, segmenter, Vocabulary(words, about["max_tokens"]))
        table = load(files["ngrams.safetensors"])
        spans = NgramSpans(tuple(about["chars"]), tuple(about["words"]))
        return cls(normalizer, segmenter, NgramTable(spans, table["buckets"], table["idf"]))


@dataclass(frozen=True)
class EncoderRecipe:
    """An encoder before it has seen a text: what to count, and how to fit it from the counts."""

    normalizer: Normalizer
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
        return cls(Normalizer.of(text), make_segmenter(text), text, spans, section.min_count)

    def inputs(self) -> dict[str, str]:
        """What the encoder depends on besides its texts, by names that a person knows.

        Equal where two recipes make the same encoder of the same texts; paths don't count.
        """
        cut = self.segmenter
        max_tokens = self.text.max_tokens if self.spans is None else None
        features = (self.spans, self.min_count, self.text.vocabulary_size, max_tokens)
        return {
            "normalising": repr((self.normalizer, self.normalizer.version)),
            "segmenter": repr((cut.engine, cut.engine_version, cut.hmm, cut.unit)),
            "user dictionary": hashlib.sha256(cut.user_dictionary.encode()).hexdigest(),
            "stop words": repr(sorted(cut.stop_words)),  # a set has another order in each process
            "features of the model": repr(features),
        }

    def occurrences(self, written: Sequence[str]) -> Occurrences:
        """What normalised texts hold; `held_by` of it is what `fit` asks for."""
        return occurrences_of(self.spans, written, self.segmenter.cut_all(written))

    def fit_on(self, texts: Sequence[str]) -> TextEncoder:
        """The encoder of some raw texts, all of them training texts."""
        return self.fit(*self.count(texts), len(texts))

    def count(self, texts: Sequence[str]) -> tuple[list[str] | Ints, Ints]:
        """(distinct keys, number of the raw texts that hold each): words, or buckets of n-grams."""
        held = self.occurrences([self.normalizer(text) for text in texts])
        return held.held_by(np.ones(len(texts), np.bool_))

    def fit(self, keys: Any, counts: Any, num_texts: int) -> TextEncoder:
        """The encoder, from the sums of `held_by` over all `num_texts` training texts."""
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
        return TextEncoder(self.normalizer, self.segmenter, features)


def make_segmenter(text: TextConfig) -> Segmenter:
    """The segmenter of a recipe; RecipeError where one of its files can't be read."""
    stop_words = _read(text.stop_words, "text.stop_words")
    normalizer = Normalizer.of(text)
    return Segmenter(
        engine=text.engine,
        hmm=text.hmm,
        unit=text.segmenter,
        user_dictionary=_read(text.user_dictionary, "text.user_dictionary"),
        stop_words=frozenset(normalizer(word) for word in stop_words.splitlines()) - {""},
        normalizer=normalizer,
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
