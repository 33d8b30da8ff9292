"""Rows made up for training, and a team of threads: for tests of what members compute together."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bigmodel.config import Recipe
from bigmodel.data.batches import take
from bigmodel.recipe import make_recipe, with_values
from bigmodel.text.features import Encoded
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.rows import Rows, StoredRows, TrainingData
from bigmodel.training.team import Team, tree_sum
from bigmodel.training.watch import Watch

NUM_IDS = 40


class ThreadTeam(Team):
    """One of several threads that meet at every sum, as processes do in torch's group."""

    def __init__(self, rank: int, size: int, meeting: threading.Barrier, table: list[Any]) -> None:
        self.rank, self.size = rank, size
        self._meeting, self._table = meeting, table

    def _gathered(self, own: torch.Tensor) -> list[torch.Tensor]:
        self._table[self.rank] = own
        self._meeting.wait(timeout=30)
        gathered = list(self._table)
        self._meeting.wait(timeout=30)
        return gathered

    def add_up(self, tensors) -> None:
        for tensor in tensors:
            tensor.copy_(torch.stack(self._gathered(tensor.clone())).sum(0))

    def follow(self, tensors) -> None:
        for tensor in tensors:
            tensor.copy_(self._gathered(tensor.clone())[0])

    def total(self, counts: torch.Tensor) -> torch.Tensor:
        return torch.stack(self._gathered(counts)).sum(0)

    def tree_total(self, parts) -> torch.Tensor:
        return tree_sum(self._gathered(tree_sum(parts)))


def as_team(size: int, work: Callable[[Team], Any]) -> list[Any]:
    meeting, table = threading.Barrier(size), [None] * size
    with ThreadPoolExecutor(size) as pool:
        teams = [ThreadTeam(rank, size, meeting, table) for rank in range(size)]
        return list(pool.map(work, teams))


def rows(num_rows: int, num_labels: int, seed: int = 0) -> tuple[Encoded, np.ndarray]:
    """Texts of 0 to 8 n-grams, those of a class more often from its own."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, num_labels, num_rows)
    lengths = generator.integers(0, 9, num_rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate(
        [
            np.sort(generator.choice(np.arange(1, NUM_IDS), size, replace=False, p=chances(own)))
            for own, size in zip(label, lengths, strict=True)
        ]
    )
    values = generator.uniform(0.1, 1, len(ids)).astype(np.float32)
    return Encoded(ids.astype(np.int32), values, offsets, np.zeros(num_rows, np.bool_)), label


def chances(label: int) -> np.ndarray:
    weight = np.where(np.arange(1, NUM_IDS) % 4 == label, 3.0, 1.0)
    return weight / weight.sum()


def training_data(num_labels: int = 3) -> TrainingData:
    """90 rows to train on and 30 to validate on, of n-grams with values."""
    (texts, label), (other, truth) = rows(90, num_labels), rows(30, num_labels, seed=1)
    names = tuple("甲乙丙丁")[:num_labels]
    train = Rows(texts, label, np.ones(90, np.float32), named=lambda some: f"{len(some)} 行")
    return TrainingData(train, Rows(other, truth, np.ones(30, np.float32)), names, NUM_IDS)


def words_data() -> TrainingData:
    """The same rows read as words, with their n-grams beside them."""
    data = training_data()

    def as_words(rows: Rows) -> Rows:
        texts = rows.texts
        return replace(rows, texts=replace(texts, values=None, ngrams=texts))

    words = tuple(chr(0x4E00 + i) + chr(0x5000 + i % 7) for i in range(NUM_IDS - 2))
    return replace(
        data,
        train=as_words(data.train),
        valid=as_words(data.valid),
        num_ngrams=NUM_IDS,
        words=words,
    )


class Parts:
    """Reads the parts of rows, and notes which."""

    def __init__(self, rows: Rows, bounds: list[int]) -> None:
        self.rows, self.bounds, self.read = rows, bounds, list[int]()

    def __call__(self, part: int) -> Encoded:
        self.read.append(part)
        return take(self.rows.texts, np.arange(self.bounds[part], self.bounds[part + 1]))


def stored(data: TrainingData, bounds: list[int], *, most: int) -> tuple[TrainingData, Parts]:
    """The same rows, those to train on in parts that are read when their turn comes."""
    rows = data.train
    assert isinstance(rows, Rows)
    parts = Parts(rows, bounds)
    train = StoredRows(parts, np.array(bounds), rows.label, rows.weight, most, 0, rows.named)
    return replace(data, train=train), parts


SMALL: dict[str, Any] = {
    "model.bag.embedding_size": 8, "model.mlp.embedding_size": 8, "model.mlp.hidden_sizes": [6],
    **{f"model.{kind}.character_size": 0 for kind in ("rnn", "transformer")},
    "model.cnn.embedding_size": 8, "model.cnn.character_size": 4, "model.cnn.channels": 4,
    "model.rnn.embedding_size": 8, "model.rnn.hidden_size": 4,
    "model.transformer.embedding_size": 8, "model.transformer.width": 8,
    "model.transformer.num_heads": 2,
}  # fmt: skip


def recipe_of(kind: str, *, dropout: float = 0.0, **train: Any) -> Recipe:
    """Of a small model of that kind; `residual-cnn` is a cnn on what a linear model leaves over."""
    kind, residual = kind.removeprefix("residual-"), kind.startswith("residual-")
    tree = {"name": "n", "data": {"train": "评论.csv"}, "model": {"kind": kind}, "train": train}
    given = {"model.residual": residual, "model.vectors": "none"}
    if kind != "linear":
        given[f"model.{kind}.dropout"] = dropout
    return with_values(make_recipe(tree, "recipe"), SMALL | given)


def data_for(recipe: Recipe) -> TrainingData:
    return words_data() if recipe.model.of_words else training_data()


class EveryStep(Watch):
    """Keeps a checkpoint after every step."""

    def __init__(self, start: Checkpoint | None = None) -> None:
        self.start = start
        self.kept: list[Checkpoint] = []
        self.epochs: list[int] = []

    def due(self) -> bool:
        return True

    def save(self, checkpoint: Checkpoint) -> None:
        tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
        self.kept.append(replace(checkpoint, tensors=tensors))

    def on_epoch(self, epoch: Any) -> None:
        self.epochs.append(epoch.epoch)
