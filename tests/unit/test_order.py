"""Draws and cuts: every row once, similar lengths together, nothing but chance otherwise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.training.order import cut, draw

LABELS = st.lists(st.integers(0, 4), max_size=300).map(lambda values: np.array(values, np.int64))


@given(LABELS, st.integers(0, 9), st.integers(1, 9))
def test_a_draw_is_a_permutation_that_follows_from_seed_and_epoch(label, seed, epoch):
    order = draw(label, (seed, epoch), resample="none")
    assert sorted(order) == list(range(len(label)))
    assert np.array_equal(order, draw(label, (seed, epoch), resample="none"))


def test_other_seeds_and_epochs_give_other_orders():
    label = np.zeros(50, np.int64)
    chances = ((0, 1), (0, 2), (1, 1), (1, 2))
    assert len({tuple(draw(label, chance, resample="none")) for chance in chances}) == 4


@pytest.mark.parametrize(("resample", "share"), [("balanced", 1 / 2), ("root", 1 / 4)])
def test_resampling_draws_rare_classes_more_often(resample, share):
    label = np.repeat([0, 2], [9000, 1000])
    drawn = label[draw(label, (0, 1), resample=resample)]
    assert len(drawn) == 10_000 and np.mean(drawn == 2) == pytest.approx(share, abs=0.02)


@given(LABELS, st.integers(1, 40), st.integers(0, 9))
def test_steps_hold_every_row_of_the_order_once(label, rows_per_step, seed):
    order = draw(label, (seed, 1), resample="balanced")
    lengths = np.arange(len(label)) % 7
    steps = cut(order, lengths, (seed, 1), rows_per_step=rows_per_step)
    assert sorted(np.concatenate([*steps, np.zeros(0, int)])) == sorted(order)
    assert len(steps) == -(-len(order) // rows_per_step)
    assert all(0 < len(step) <= rows_per_step for step in steps)


def test_rows_of_a_step_have_similar_lengths_and_steps_no_order_of_length():
    lengths = np.random.default_rng(0).integers(1, 200, 6400)
    order = np.random.default_rng(1).permutation(6400)
    steps = cut(order, lengths, (0, 1), rows_per_step=100)
    spread = [np.ptp(lengths[step]) for step in steps]
    assert np.mean(spread) < 10
    assert abs(np.corrcoef(np.arange(64), [lengths[step].mean() for step in steps])[0, 1]) < 0.4
    assert any((np.diff(lengths[step]) < 0).any() for step in steps)
