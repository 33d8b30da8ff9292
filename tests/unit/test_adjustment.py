"""Logit adjustment: rare classes are said more often, as often as serves macro-F1."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import NUM_IDS, data_for, recipe_of

from bigmodel.config import TrainConfig
from bigmodel.data.batches import pad
from bigmodel.models import build_model
from bigmodel.training.adjustment import _macro_f1, add_to_bias, learnt_counts, shift_of


def unequal(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of 900, 90 and 10 rows as a calibrated model gives them, who knows the shares."""
    generator = np.random.default_rng(seed)
    counts = np.array([900, 90, 10])
    truth = np.repeat(np.arange(3), counts)
    likelihood = 1.5 * np.eye(3)[truth] + generator.normal(size=(1000, 3))
    return (1.5 * likelihood + np.log(counts / 1000)).astype(np.float32), truth, counts


def test_a_share_of_the_prior_is_taken_off_in_units_of_the_scores():
    scores, truth, counts = unequal()
    one = shift_of(scores, truth, counts, 1.0)
    assert one.sum() == pytest.approx(0, abs=1e-4) and one[0] < one[1] < one[2]
    assert np.allclose(shift_of(scores, truth, counts, 0.25), one / 4, atol=1e-6)
    assert np.allclose(shift_of(7 * scores, truth, counts, 1.0), 7 * one, rtol=0.01)
    steps = np.diff(one) / -np.diff(np.log((counts + 1) / 1003))
    assert steps[0] == pytest.approx(steps[1], rel=1e-3)


def test_auto_takes_the_amount_that_serves_macro_f1_best():
    scores, truth, counts = unequal()
    found = _macro_f1(scores + shift_of(scores, truth, counts, "auto"), truth)
    tried = [_macro_f1(scores + shift_of(scores, truth, counts, t), truth) for t in (0, 0.3, 0.7)]
    assert found >= max(tried) and found > tried[0]


def test_equal_classes_are_left_alone():
    scores, truth, _ = unequal()
    assert not shift_of(scores, truth, np.array([30, 30, 30]), "auto").any()


def test_what_a_model_was_shown_counts_with_weights_and_resampling():
    data = data_for(recipe_of("linear"))
    rows = replace(data.train, weight=np.where(data.train.label == 0, 2.0, 1.0).astype(np.float32))
    data = replace(data, train=rows)
    plain = np.bincount(rows.label)
    counts = learnt_counts(data, TrainConfig())
    assert counts.tolist() == (plain * [2, 1, 1]).tolist()
    halved = learnt_counts(data, TrainConfig(class_weights={"甲": 0.5}))
    assert halved.tolist() == plain.tolist()
    for config in (TrainConfig(class_weights="balanced"), TrainConfig(resample="balanced")):
        assert len(set(np.round(learnt_counts(data, config), 3))) == 1


@pytest.mark.parametrize("kind", ["linear", "bag", "mlp", "residual-cnn"])
def test_the_model_says_so_much_more(kind):
    recipe = recipe_of(kind)
    model = build_model(recipe.model, num_ids=NUM_IDS, num_labels=3, num_ngrams=NUM_IDS).eval()
    batch = pad(data_for(recipe).train.texts, np.arange(5))
    with torch.no_grad():
        before = model(batch)
        add_to_bias(model, np.array([0.5, -1.0, 2.0], np.float32))
        assert torch.allclose(model(batch) - before, torch.tensor([0.5, -1.0, 2.0]), atol=1e-6)
