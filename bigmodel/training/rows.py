"""What is trained on: encoded rows in memory, with labels, weights and names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bigmodel.config import ModelConfig
from bigmodel.data.batches import Batch, pad
from bigmodel.models import build_model
from bigmodel.text.encoder import TextEncoder
from bigmodel.text.features import Encoded, Vocabulary, concatenate
from bigmodel.training.loss import ClassWeights, class_factor

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_NAMED = 5


@dataclass(frozen=True)
class Rows:
    """Rows to train or to validate on.

    `texts` without n-grams beside words; `label`, `weight` [N], the latter in the loss; `base`
    [N, L] what the linear part of a residual says of each, or None; `unit` [N], equal in rows that
    are near each other, or None where no two are; `named` puts some rows into words, by file and
    row.
    """

    texts: Encoded
    label: Ids
    weight: Floats
    base: Floats | None = None
    unit: Ids | None = None
    named: Callable[[Ids], str] = str

    def __len__(self) -> int:
        return len(self.label)

    @property
    def windows(self) -> tuple["Rows", ...]:
        """Rows that are in memory are one window."""
        return (self,)

    def load(self) -> "Rows":
        return self

    def each_text(self) -> Iterator[Encoded]:
        """All texts, some at a time."""
        yield self.texts

    def weighted(self, weight: Floats) -> "Rows":
        return replace(self, weight=weight)

    def batch(self, rows: Ids, texts: Encoded, places: Ids) -> Batch:
        """Some rows, whose texts stand at `places` of `texts`."""
        batch = pad(texts, places)
        if self.base is None:
            return batch
        return replace(batch, base=torch.from_numpy(self.base[rows]))


@dataclass(frozen=True)
class Window:
    """Some parts of stored rows, which are trained on together; `rows` are their places in all."""

    stored: "StoredRows"
    parts: Ids
    rows: Ids

    def __len__(self) -> int:
        return len(self.rows)

    def load(self) -> Rows:
        stored, rows = self.stored, self.rows
        texts = concatenate([stored.read(int(part)) for part in self.parts])
        return Rows(
            texts,
            stored.label[rows],
            stored.weight[rows],
            named=lambda some: stored.named(rows[some]),
        )


@dataclass(frozen=True)
class StoredRows:
    """Training rows whose texts stay in storage: `read` gives those of a part.

    Part i holds the rows bounds[i] to bounds[i + 1]. An epoch goes through windows of parts, each
    read when its turn comes: in memory are some numbers a row, and the texts of one window. Which
    parts share a window follows from the seed; none has more than `most` rows, unless a part has.
    """

    read: Callable[[int], Encoded]
    bounds: Ids
    label: Ids
    weight: Floats
    most: int
    seed: int
    named: Callable[[Ids], str] = str

    def __len__(self) -> int:
        return len(self.label)

    @property
    def windows(self) -> tuple[Window, ...]:
        found: list[list[int]] = []
        held = 0
        sizes = np.diff(self.bounds)
        for part in np.random.default_rng((self.seed, 4)).permutation(len(sizes)):
            if not found or held + sizes[part] > self.most:
                found.append([])
                held = 0
            found[-1].append(int(part))
            held += int(sizes[part])
        return tuple(self._window(np.array(parts)) for parts in found)

    def each_text(self) -> Iterator[Encoded]:
        return (self.read(part) for part in range(len(self.bounds) - 1))

    def weighted(self, weight: Floats) -> "StoredRows":
        return replace(self, weight=weight)

    def _window(self, parts: Ids) -> Window:
        spans = [np.arange(self.bounds[part], self.bounds[part + 1]) for part in parts]
        return Window(self, parts, np.concatenate(spans))


@dataclass(frozen=True)
class RowNames:
    """Puts rows into words, by file and row: `评论.csv row 3, 17, … and 251 more`."""

    files: tuple[str, ...]
    source: Ids
    row: Ids

    def __call__(self, rows: Ids) -> str:
        first = [f"{self.files[self.source[i]]} row {self.row[i]:,}" for i in rows[:_NAMED]]
        more = len(rows) - len(first)
        return ", ".join(first) + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class TrainingData:
    """The training and valid rows, and the sizes and words that a model needs.

    `num_ids` of the ids that the kind reads, `num_ngrams` of the n-grams beside words; `labels` in
    the order of their ids; `words` of the vocabulary by rising id, from 2; `unlabelled` texts that
    word vectors may come from.
    """

    train: Rows | StoredRows
    valid: Rows
    labels: tuple[str, ...]
    num_ids: int
    num_ngrams: int = 0
    words: tuple[str, ...] = ()
    unlabelled: Encoded | None = None

    @classmethod
    def of(
        cls,
        encoder: TextEncoder,
        labels: Sequence[str],
        train: Rows | StoredRows,
        valid: Rows,
        unlabelled: Encoded | None = None,
    ) -> "TrainingData":
        """Of rows that this encoder made."""
        features = encoder.features
        words = features.words if isinstance(features, Vocabulary) else ()
        return cls(
            train, valid, tuple(labels), encoder.num_ids, encoder.num_ngrams, words, unlabelled
        )

    @property
    def num_labels(self) -> int:
        return len(self.labels)

    def new_model(self, config: ModelConfig) -> nn.Module:
        """An untrained model of these rows' sizes."""
        return build_model(
            config,
            num_ids=self.num_ids,
            num_labels=self.num_labels,
            num_ngrams=self.num_ngrams,
        )

    def weighted(self, class_weights: ClassWeights) -> Rows | StoredRows:
        """The training rows, each with its source's weight times its class's."""
        rows = self.train
        factor = class_factor(rows.label, rows.weight, class_weights, self.labels)
        return rows.weighted(rows.weight * factor[rows.label])

    def in_memory(self, class_weights: ClassWeights) -> Rows:
        """The same, of rows that are all in memory."""
        rows = self.weighted(class_weights)
        assert isinstance(rows, Rows)
        return rows
