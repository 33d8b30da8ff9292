"""TextEncoder: normalise, segment, look up; the only text -> ids code there is."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from bigmodel.config import NgramSection, Recipe, TextConfig
from bigmodel.errors import ModelError, RecipeError
from bigmodel.text.features import Encoded, NgramTable, TableRecipe, Vocabulary, concatenate
from bigmodel.text.ngrams import NgramSpans
from bigmodel.text.normalize import Normalizer
from bigmodel.text.occurrences import Occurrences, chunks, occurrences_of
from bigmodel.text.segment import Segmenter


@dataclass(frozen=True)
class TextEncoder:
    """What turns a raw text into ids, the same object in training and in serving.

    `features` give the ids; beside words, `ngrams` give those of the same texts for a model that
    reads both.
    """

    normalizer: Normalizer
    segmenter: Segmenter
    features: Vocabulary | NgramTable
    ngrams: NgramTable | None = None

    @property
    def num_ids(self) -> int:
        """One more than the largest id; 0 is padding."""
        return self.features.num_ids

    @property
    def num_ngrams(self) -> int:
        """The same of the n-grams beside words; 0 where there are none."""
        return 0 if self.ngrams is None else self.ngrams.num_ids

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Raw texts -> ids; what a text gives doesn't depend on the others."""
        parts = [self._encode(texts[chunk]) for chunk in chunks(texts)]
        if len(parts) == 1:
            return parts[0]
        return concatenate(parts)

    def _encode(self, texts: Sequence[str]) -> Encoded:
        written = [self.normalizer(text) for text in texts]
        tokens = self.segmenter.cut_all(written)
        beside = _spans(self.ngrams)
        return self.look_up(occurrences_of(self.features.spans, written, tokens, beside=beside))

    def look_up(self, held: Occurrences) -> Encoded:
        """The ids of what normalised texts hold."""
        found = self.features.look_up(held)
        if self.ngrams is None:
            return found
        assert held.ngrams is not None
        return replace(found, ngrams=self.ngrams.look_up(held.ngrams))

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
        about["features"] = "words" if isinstance(self.features, Vocabulary) else "ngrams"
        for table in (self.features, self.ngrams):
            if isinstance(table, Vocabulary):
                about["max_tokens"] = table.max_tokens
                files["vocabulary.json"] = _json(table.words)
            elif table is not None:
                about |= {"chars": table.spans.chars, "words": table.spans.words}
                files["ngrams.safetensors"] = save({"buckets": table.buckets, "idf": table.idf})
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
        tables: list[Any] = []
        if "vocabulary.json" in files:
            words = tuple(json.loads(files["vocabulary.json"]))
            tables.append(Vocabulary(words, about["max_tokens"]))
        if "ngrams.safetensors" in files:
            table = load(files["ngrams.safetensors"])
            spans = NgramSpans(tuple(about["chars"]), tuple(about["words"]))
            tables.append(NgramTable(spans, table["buckets"], table["idf"]))
        return cls(normalizer, segmenter, *tables)


@dataclass(frozen=True)
class EncoderRecipe:
    """An encoder before it has seen a text: what to count, and how to fit it from the counts."""

    normalizer: Normalizer
    segmenter: Segmenter
    features: TableRecipe
    ngrams: TableRecipe | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> "EncoderRecipe":
        """The kind's features: n-grams for `linear` and `bag`, else words in order; beside them the
        n-grams of `linear` where a net is trained on what that leaves over."""
        text, model = recipe.text, recipe.model
        section: Any = getattr(model, model.kind)
        size = 0 if model.kind == "linear" else text.vocabulary_size
        if model.of_words:
            features = TableRecipe(None, section.min_count, size, text.max_tokens)
        else:
            features = _of_ngrams(section, size)
        both = model.of_words and model.of_ngrams
        ngrams = _of_ngrams(model.linear, 0) if both else None
        return cls(Normalizer.of(text), make_segmenter(text), features, ngrams)

    @property
    def tables(self) -> tuple[TableRecipe, ...]:
        """Of the features, and of the n-grams where they stand beside words."""
        return (self.features,) if self.ngrams is None else (self.features, self.ngrams)

    def inputs(self) -> dict[str, str]:
        """What the encoder depends on besides its texts, by names that a person knows.

        Equal where two recipes make the same encoder of the same texts; paths don't count.
        """
        cut = self.segmenter
        return {
            "normalising": repr((self.normalizer, self.normalizer.version)),
            "segmenter": repr((cut.engine, cut.engine_version, cut.hmm, cut.unit)),
            "user dictionary": hashlib.sha256(cut.user_dictionary.encode()).hexdigest(),
            "stop words": repr(sorted(cut.stop_words)),  # a set has another order in each process
            "features of the model": repr(self.tables),
        }

    def occurrences(self, written: Sequence[str]) -> Occurrences:
        """What normalised texts hold; `held_by` of it is what `fit` asks for."""
        tokens = self.segmenter.cut_all(written)
        beside = _spans(self.ngrams)
        return occurrences_of(self.features.spans, written, tokens, beside=beside)

    def fit_on(self, texts: Sequence[str]) -> TextEncoder:
        """The encoder of some raw texts, all of them training texts."""
        held = self.occurrences([self.normalizer(text) for text in texts])
        every = np.ones(len(texts), np.bool_)
        beside = None if held.ngrams is None else held.ngrams.held_by(every)
        return self.fit(*held.held_by(every), len(texts), beside=beside)

    def fit(
        self, keys: Any, counts: Any, num_texts: int, *, beside: tuple[Any, Any] | None = None
    ) -> TextEncoder:
        """The encoder, from the sums of `held_by` over all `num_texts` training texts.

        `beside`: the keys and counts of the n-grams, where they stand beside words.
        """
        features = self.features.fit(keys, counts, num_texts)
        if self.ngrams is None:
            return TextEncoder(self.normalizer, self.segmenter, features)
        assert beside is not None
        ngrams = self.ngrams.fit(*beside, num_texts)
        assert isinstance(ngrams, NgramTable)
        return TextEncoder(self.normalizer, self.segmenter, features, ngrams)


def _spans(table: NgramTable | TableRecipe | None) -> NgramSpans | None:
    return None if table is None else table.spans


def _of_ngrams(section: NgramSection, size: int) -> TableRecipe:
    spans = NgramSpans(section.char_ngrams, section.word_ngrams)
    return TableRecipe(spans, section.min_count, size)


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
