"""What rows cost, and how training texts are changed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from bigmodel.config import AugmentConfig, TrainConfig
from bigmodel.errors import RecipeError
from bigmodel.text.features import Encoded
from bigmodel.training.augment import augmented
from bigmodel.training.loss import Loss, check_class_weights, class_factor

SCORES = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.4, 0.3], [-3.0, 1.0, 4.0]])
LABELS = torch.tensor([0, 1, 0])


def test_smoothing_gives_all_labels_a_share():
    found = Loss.of(TrainConfig(label_smoothing=0.3))(SCORES, LABELS)
    logs = torch.log_softmax(SCORES, 1)
    own = logs.gather(1, LABELS[:, None])[:, 0]
    assert torch.allclose(found, -(0.7 * own + 0.3 * logs.mean(1)))


def test_focal_loss_lets_rows_that_are_right_count_less():
    plain = functional.cross_entropy(SCORES, LABELS, reduction="none")
    focal = Loss.of(TrainConfig(loss="focal", focal_gamma=2))(SCORES, LABELS)
    right = torch.softmax(SCORES, 1).gather(1, LABELS[:, None])[:, 0]
    assert torch.allclose(focal, plain * (1 - right) ** 2)
    ratio = focal / plain
    assert ratio[0] < ratio[1] < ratio[2]


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_of_a_row_that_is_wholly_right_has_a_slope(gamma):
    scores = torch.tensor([[40.0, 0.0]], requires_grad=True)
    Loss.of(TrainConfig(loss="focal", focal_gamma=gamma))(scores, torch.tensor([0])).backward()
    assert scores.grad.isfinite().all()


def test_a_weight_of_no_label_is_refused():
    with pytest.raises(RecipeError, match="好评 is no label of the data .found: 正面"):
        check_class_weights({"正面": 2.0, "好评": 3.0}, ("正面", "负面"))
    check_class_weights("balanced", ("正面", "负面"))
    check_class_weights({"正面": 2.0}, ("正面", "负面"))


@pytest.mark.parametrize("own", [np.ones(90), 0.1 + np.arange(90) % 4])
def test_balanced_weights_give_each_class_the_same_sum(own):
    label = np.random.default_rng(0).choice(3, 90, p=[0.7, 0.2, 0.1])
    weight = own.astype(np.float32)
    names = ("财经", "教育", "体育")
    assert class_factor(label, weight, "none", names).tolist() == [1, 1, 1]
    factor = class_factor(label, weight, "balanced", names)
    sums = np.bincount(label, weight * factor[label])
    assert np.allclose(sums, own.sum() / 3)


def test_given_weights_are_by_label_and_1_where_none_is_given():
    label, weight = np.array([0, 1, 2]), np.ones(3, np.float32)
    found = class_factor(label, weight, {"教育": 3.0}, ("财经", "教育", "体育"))
    assert found.tolist() == [1, 3, 1]


TEXTS = st.lists(st.lists(st.integers(2, 50), max_size=9), max_size=20)


def encoded(texts: list[list[int]], values: bool = False) -> Encoded:
    ids = np.array([i for text in texts for i in text], np.int32)
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    weights = np.ones(len(ids), np.float32) if values else None
    return Encoded(ids, weights, offsets, np.zeros(len(texts), np.bool_))


def words(texts: Encoded) -> list[list[int]]:
    return [list(part) for part in np.split(texts.ids, texts.offsets[1:-1])]


@given(TEXTS, st.integers(0, 5))
def test_exchanged_neighbours_stay_in_their_text(texts, seed):
    before = encoded(texts)
    config, chance = AugmentConfig(swap=1.0), np.random.default_rng(seed)
    after = augmented(before, config, chance)
    assert [sorted(text) for text in words(after)] == [sorted(text) for text in words(before)]
    assert words(before) == words(encoded(texts))  # what was given is as it was


def test_about_the_given_share_of_words_moves_or_is_dropped():
    texts = encoded([list(range(2, 52))] * 400)
    chance = np.random.default_rng(0)
    moved = augmented(texts, AugmentConfig(swap=0.2), chance).ids != texts.ids
    dropped = augmented(texts, AugmentConfig(drop=0.2), chance).ids == 1
    assert moved.mean() == pytest.approx(0.2, abs=0.03)
    assert dropped.mean() == pytest.approx(0.2, abs=0.02)


def test_dropped_ngrams_count_nothing_and_are_never_exchanged():
    texts = encoded([[2, 3, 4]] * 300, values=True)
    found = augmented(texts, AugmentConfig(drop=0.5, swap=1.0), np.random.default_rng(0))
    assert np.array_equal(found.ids, texts.ids)
    assert np.mean(found.values == 0) == pytest.approx(0.5, abs=0.06)


def test_without_settings_nothing_changes():
    texts = encoded([[2, 3], [], [4]])
    assert augmented(texts, AugmentConfig(), np.random.default_rng(0)).ids is texts.ids
