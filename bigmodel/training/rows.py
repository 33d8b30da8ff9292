"""What is trained on: encoded rows in memory, with labels, weights and names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bigmodel.data.batches import Batch, pad
from bigmodel.text.encoder import TextEncoder
from bigmodel.text.features import Encoded, Vocabulary
from bigmodel.training.loss import class_factor

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_NAMED = 5


@dataclass(frozen=True)
class Rows:
    """Rows to train or to validate on.

    `texts` without n-grams beside words; `label`, `weight` [N], the latter in the loss; `base`
    [N, L] what the linear part of a residual says of each, or None; `named` puts some rows into
    words, by file and row.
    """

    texts: Encoded
    label: Ids
    weight: Floats
    base: Floats | None = None
    named: Callable[[Ids], str] = str

    def __len__(self) -> int:
        return len(self.label)

    def batch(self, rows: Ids, texts: Encoded, places: Ids) -> Batch:
        """Some rows, whose texts stand at `places` of `texts`."""
        batch = pad(texts, places)
        if self.base is None:
            return batch
        return replace(batch, base=torch.from_numpy(self.base[rows]))


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

    train: Rows
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
        train: Rows,
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

    def weighted(self, class_weights: Any) -> Rows:
        """The training rows, each with its source's weight times its class's."""
        rows = self.train
        factor = class_factor(rows.label, rows.weight, class_weights, self.labels)
        return replace(rows, weight=rows.weight * factor[rows.label])
