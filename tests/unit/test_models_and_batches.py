"""Ids to tensors to scores: a text's scores are its own, and each kind learns."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from bigmodel.artifact import Artifact
from bigmodel.data.batches import by_length, pad
from bigmodel.data.prepared import encoded_of, table_of
from bigmodel.models import MODELS
from bigmodel.text.features import Encoded

ENCODED = Encoded(
    ids=np.array([3, 1, 4, 5, 9, 2], np.int32),
    values=np.array([0.3, 0.1, 0.4, 0.5, 0.9, 0.2], np.float32),
    offsets=np.array([0, 2, 2, 6], np.int64),
    truncated=np.zeros(3, np.bool_),
)
KINDS = sorted(MODELS)
SMALL = {
    "cnn": {"embedding_size": 16, "channels": 8},
    "rnn": {"embedding_size": 16, "hidden_size": 8},
    "transformer": {"embedding_size": 16, "width": 16, "num_layers": 1},
}
"""The kinds whose own sizes take seconds even for 24 reviews."""
ODD = ["", "😀", "天气", "x" * 3000, "这款洗发水味道不错，就是有点贵。" * 30, "\0", "。。。"]


Trained = Callable[[str], Artifact]


def sections(kind: str) -> dict[str, Any]:
    return {"model": {"kind": kind, kind: {"min_count": 1} | SMALL[kind]}} if kind in SMALL else {}


@pytest.fixture(scope="module")
def trained(train_tiny) -> Trained:
    return cache(lambda kind: train_tiny(kind, **sections(kind)))


def test_pad():
    batch = pad(ENCODED, np.array([2, 0]))
    assert batch.ids.tolist() == [[4, 5, 9, 2], [3, 1, 0, 0]]
    assert torch.equal(batch.values, torch.tensor([[0.4, 0.5, 0.9, 0.2], [0.3, 0.1, 0.0, 0.0]]))


@pytest.mark.parametrize(("rows", "ids"), [([1], [[0]]), ([], []), ([0], [[3, 1]])])
def test_pad_has_room_for_an_empty_text(rows, ids):
    batch = pad(ENCODED, np.array(rows, np.int64))
    assert batch.ids.tolist() == ids and batch.ids.dtype == torch.int64


def test_words_without_weights_have_none():
    words = Encoded(ENCODED.ids, None, ENCODED.offsets, ENCODED.truncated)
    assert pad(words, np.array([0])).values is None


def test_by_length_names_every_text_once_and_the_shortest_first():
    groups = list(by_length(ENCODED, 2))
    assert [group.tolist() for group in groups] == [[1, 0], [2]]
    assert list(by_length(Encoded(ENCODED.ids, None, np.zeros(1, np.int64), np.zeros(0)), 2)) == []


@pytest.mark.parametrize("values", [ENCODED.values, None])
def test_encoded_texts_come_back_from_a_table(values):
    encoded = Encoded(ENCODED.ids, values, ENCODED.offsets, ENCODED.truncated)
    table = table_of(encoded, np.array([1, 0, 1]), np.array([1, 0.5, 1], np.float32))
    assert table["label"].to_pylist() == [1, 0, 1] and table["weight"].to_pylist() == [1, 0.5, 1]
    found = encoded_of(table)
    assert found.ids.tolist() == encoded.ids.tolist()
    assert found.offsets.tolist() == encoded.offsets.tolist()
    assert (found.values is None) == (values is None)
    assert len(encoded_of(table.slice(0, 0))) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_scores_alone_as_it_does_in_a_batch(kind, trained, reviews):
    artifact: Artifact = trained(kind)
    texts = [text for text, _ in reviews] + ODD
    together = artifact.score(texts).scores
    backwards = artifact.score(texts[::-1]).scores[::-1]
    alone = np.concatenate([artifact.score([text]).scores for text in texts])
    assert np.abs(together - alone).max() <= 1e-5
    assert np.abs(together - backwards).max() <= 1e-5
    assert np.isfinite(together).all()
    assert artifact.score([]).scores.shape == (0, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_learns_a_small_set_and_what_it_says_of_new_texts(kind, trained, reviews):
    artifact: Artifact = trained(kind)
    assert artifact.metrics == {"split": "valid", "accuracy": 1.0, "macro_f1": 1.0, "rows": 24}
    texts, labels = zip(*reviews, strict=True)
    found = artifact.score(texts).scores.argmax(1)
    assert [artifact.labels.names[i] for i in found] == list(labels)
    new = artifact.score(["物流很快，非常满意", "质量太差，后悔"]).scores.argmax(1)
    assert [artifact.labels.names[i] for i in new] == ["正面", "负面"]


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_bytes(kind, trained, train_tiny):
    once, again = trained(kind), train_tiny(kind, **sections(kind) | {"text": {}})
    for name, value in once.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


@pytest.mark.parametrize("kind", ["bag", "mlp"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_optimiser_learns(kind, optimizer, train_tiny):
    rate = {"sgd": 0.3, "adamw": 0.02}[optimizer]
    train = {"optimizer": optimizer, "learning_rate": rate, "epochs": 30, "early_stop": 0}
    train |= {"rows_per_step": 8}
    assert train_tiny(kind, train=train).metrics["accuracy"] >= 0.9


GOLDEN = {
    "linear": [[0.37893, -0.37893], [-0.35392, 0.35392], [0.08713, -0.08713]],
    "bag": [[0.04746, -0.10047], [-0.11708, 0.06407], [-0.04020, -0.01282]],
    "mlp": [[0.78211, -0.39924], [-0.92891, 1.13936], [-0.01610, 0.08479]],
    "cnn": [[0.74752, -0.74752], [-0.62311, 0.62311], [0.06755, -0.06755]],
    "rnn": [[0.66186, -0.66186], [-0.57309, 0.57309], [0.08664, -0.08664]],
    "transformer": [[0.40897, -0.40897], [-0.54124, 0.54124], [0.09153, -0.09153]],
}
"""Scores of 正面 and 负面; a change that should not alter results must not move them."""


@pytest.mark.parametrize("kind", KINDS)
def test_golden_numbers_of_the_tiny_recipe(kind, trained):
    found = trained(kind).score(["我喜欢读书", "手机电池不耐用", ""]).scores
    assert np.allclose(found, GOLDEN[kind], atol=2e-4), found.tolist()
