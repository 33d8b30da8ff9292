"""What an endpoint answers, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Label:
    """A label and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word that moved the first label up (weight > 0) or down; positions in characters of the
    text."""

    text: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Answer:
    """The answer to one text.

    `labels`: best first, as many as asked for; `abstained`: the best one is less sure than what the
    model promises; `truncated`: the text's end wasn't read; `words`: None unless asked for;
    `version` and `request_id`: of the request that this text was part of.
    """

    labels: tuple[Label, ...]
    abstained: bool
    truncated: bool
    words: tuple[Word, ...] | None
    model: str
    version: str
    request_id: str

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0].label

    @property
    def score(self) -> float:
        """Its probability."""
        return self.labels[0].score


@dataclass(frozen=True)
class Limits:
    """What an endpoint takes in one request; what it publishes, else its defaults."""

    body_bytes: int = 1_048_576
    items: int = 64
    item_characters: int = 8_192
    total_characters: int = 131_072

    @classmethod
    def of(cls, published: Mapping[str, Any]) -> "Limits":
        """Those that are numbers; what isn't known here is left out."""
        found = {field.name: published.get(field.name) for field in fields(cls)}
        return cls(**{n: v for n, v in found.items() if type(v) is int and v > 0})


@dataclass(frozen=True)
class Model:
    """A model that an endpoint serves, and every label that it may answer with."""

    name: str
    version: str
    labels: tuple[str, ...]


def model_of(metadata: Mapping[str, Any]) -> Model:
    """Of `/v2/models/{name}`; LookupError or TypeError for what isn't that."""
    labels = tuple(str(label) for label in metadata["labels"])
    return Model(str(metadata["name"]), str(metadata["versions"][0]), labels)


def answers_of(document: Mapping[str, Any], *, num_texts: int) -> list[Answer]:
    """One a text, in order; ValueError, LookupError or TypeError for what isn't that."""
    rows = document["predictions"]
    if len(rows) != num_texts:
        raise ValueError("as many answers as texts were expected")
    origin = {name: str(document[name]) for name in ("model", "version", "request_id")}
    return [_answer(row, origin) for row in rows]


def _answer(row: Mapping[str, Any], origin: Mapping[str, str]) -> Answer:
    words = row.get("words")
    labels = tuple(Label(str(one["label"]), float(one["score"])) for one in row["labels"])
    if not labels:
        raise ValueError("no label")
    return Answer(
        labels,
        bool(row["abstained"]),
        bool(row["truncated"]),
        None if words is None else tuple(_word(word) for word in words),
        **origin,
    )


def _word(word: Mapping[str, Any]) -> Word:
    return Word(str(word["text"]), int(word["start"]), int(word["end"]), float(word["weight"]))
