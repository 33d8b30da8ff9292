"""Newton's method, the plain loop, and the sums of a team, without Ray."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC

from bigmodel.config import TrainConfig
from bigmodel.data.batches import pad
from bigmodel.metrics import log_loss
from bigmodel.models import build_model
from bigmodel.recipe import make_recipe, with_values
from bigmodel.text.features import Encoded
from bigmodel.training.fitting import TrainingData, Weights, fit_weights
from bigmodel.training.loop import make_optimizer, make_schedule, steps, train_epoch, validate
from bigmodel.training.newton import Step, make_blocks, minimise
from bigmodel.training.team import Team, tree_sum

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


def solved(
    encoded: Encoded, label: np.ndarray, *, team: Team, num_columns: int, **settings: Any
) -> tuple[torch.Tensor, list[Step]]:
    weight = settings.pop("weight", np.ones(len(label), np.float32))
    blocks = make_blocks(
        encoded, label, num_ids=NUM_IDS, num_columns=num_columns, weight=weight, team=team
    )
    seen: list[Step] = []
    given = {"c": 0.5, "nb": False, "max_steps": 30, "tolerance": 1e-5} | settings
    return minimise(blocks, team, on_step=seen.append, **given), seen


def dense(encoded: Encoded) -> np.ndarray:
    shape = (len(encoded), NUM_IDS)
    return csr_matrix((encoded.values, encoded.ids, encoded.offsets), shape).toarray()


@pytest.mark.parametrize("num_labels", [2, 3])
@pytest.mark.parametrize("c", [0.1, 2.0])
def test_newton_finds_what_liblinear_finds(num_labels, c):
    encoded, label = rows(120, num_labels)
    columns = 1 if num_labels == 2 else num_labels
    found, _ = solved(encoded, label, team=Team(), num_columns=columns, c=c)
    reference = LinearSVC(C=c, loss="squared_hinge", dual=False, tol=1e-8, intercept_scaling=1)
    reference.fit(dense(encoded)[:, 1:], label)
    assert np.allclose(found[1:].T, reference.coef_, atol=1e-3)
    assert np.allclose(found[0], reference.intercept_, atol=1e-3)


def test_the_weight_of_a_row_counts_as_that_many_rows():
    encoded, label = rows(60, 2)
    weight = 1 + (np.arange(60) % 3).astype(np.float32)
    weighted, _ = solved(encoded, label, team=Team(), num_columns=1, weight=weight)
    reference = LinearSVC(C=0.5, dual=False, tol=1e-8)
    reference.fit(dense(encoded)[:, 1:], label, sample_weight=weight)
    assert np.allclose(weighted[1:].T, reference.coef_, atol=1e-3)


def test_two_classes_as_one_column_are_the_mirrored_pair():
    encoded, label = rows(80, 2)
    one, _ = solved(encoded, label, team=Team(), num_columns=1)
    both, _ = solved(encoded, label, team=Team(), num_columns=2)
    assert torch.allclose(torch.cat([-one, one], dim=1), both, atol=1e-4)


@pytest.mark.parametrize("nb", [False, True])
def test_each_step_lowers_the_loss_and_the_last_one_is_returned(nb):
    encoded, label = rows(200, 3)
    found, seen = solved(encoded, label, team=Team(), num_columns=3, nb=nb)
    losses = [step.loss for step in seen]
    assert losses == sorted(losses, reverse=True) and len(losses) > 2
    assert [step.number for step in seen] == list(range(1, len(seen) + 1))
    assert torch.equal(found, seen[-1].weights)


def test_max_steps_bounds_the_steps():
    encoded, label = rows(200, 3)
    assert len(solved(encoded, label, team=Team(), num_columns=3, max_steps=2)[1]) == 2


@pytest.mark.parametrize("num_labels", [2, 3])
@pytest.mark.parametrize("nb", [False, True])
def test_a_run_stopped_after_any_step_goes_on_to_the_same_bytes(nb, num_labels):
    encoded, label = rows(101, num_labels)
    columns = 1 if num_labels == 2 else num_labels
    settings = {"team": Team(), "num_columns": columns, "nb": nb}
    found, seen = solved(encoded, label, **settings)
    assert len(seen) > 2
    for stopped in seen:
        again, rest = solved(encoded, label, start=stopped.state, **settings)
        assert torch.equal(again, found)
        assert [step.number for step in rest] == [step.number for step in seen[stopped.number :]]
        assert [step.loss for step in rest] == [step.loss for step in seen[stopped.number :]]


def test_nb_scales_by_the_ratio_of_smoothed_shares():
    encoded, label = rows(200, 2)
    found, _ = solved(encoded, label, team=Team(), num_columns=1, nb=True)
    present = dense(encoded)[:, 1:] > 0
    p, q = present[label == 1].sum(0) + 1, present[label == 0].sum(0) + 1
    ratio = np.log((p / p.sum()) / (q / q.sum()))
    reference = LinearSVC(C=0.5, dual=False, tol=1e-8).fit(dense(encoded)[:, 1:] * ratio, label)
    assert np.allclose(found[1:, 0], reference.coef_[0] * ratio, atol=1e-3)


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize(("nb", "num_labels"), [(True, 2), (False, 3)])
def test_any_number_of_workers_finds_the_same_bytes(size, nb, num_labels):
    encoded, label = rows(101, num_labels)
    columns = 1 if num_labels == 2 else num_labels

    def work(team: Team) -> torch.Tensor:
        return solved(encoded, label, team=team, num_columns=columns, nb=nb)[0]

    alone = work(Team())
    assert all(torch.equal(found, alone) for found in as_team(size, work))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 11])
def test_the_blocks_of_a_team_hold_every_row_once(size):
    encoded, label = rows(30, 2)
    one = np.ones(30, np.float32)
    blocks = [
        block
        for member in as_team(
            size,
            lambda team: make_blocks(
                encoded, label, num_ids=NUM_IDS, num_columns=1, weight=one, team=team
            ),
        )
        for block in member
    ]
    together = torch.cat([block.x.to_dense() for block in blocks])
    assert torch.equal(together[:, 0], torch.ones(30))
    assert np.array_equal(together[:, 1:], dense(encoded)[:, 1:].astype(np.float32))
    assert torch.cat([block.y for block in blocks])[:, 0].tolist() == (2 * label - 1).tolist()
    assert all(torch.equal(b.x.to_dense().T, b.xt.to_dense()) for b in blocks)


def test_tree_sum_adds_neighbours_first():
    parts = [torch.tensor(float(value)) for value in (1e8, 1, -1e8, 1, 5)]
    assert float(tree_sum(parts)) == float((parts[0] + parts[1]) + (parts[2] + parts[3]) + 5)
    assert float(tree_sum(parts[:1])) == 1e8


@pytest.mark.parametrize(("num_rows", "size"), [(10, 1), (10, 3), (2, 4), (0, 2)])
def test_shares_are_contiguous_and_whole(num_rows, size):
    def share(team: Team) -> list[int]:
        return list(range(num_rows))[team.share(num_rows)]

    parts = as_team(size, share)
    assert [row for part in parts for row in part] == list(range(num_rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("size", "rows_per_step"), [(1, 16), (2, 16), (3, 7), (4, 100)])
def test_every_row_stands_in_one_step_and_in_one_slice_of_it(size, rows_per_step):
    encoded, label = rows(50, 2)

    def walk(team: Team) -> list[tuple[list[list[float]], list[int], list[int]]]:
        walked = steps(encoded, label, rows_per_step=rows_per_step, team=team, seed=3, epoch=2)
        return [
            (batch.values.sum(1).tolist(), own.tolist(), whole.tolist())
            for batch, own, whole in walked
        ]

    sums = dense(encoded).sum(1)
    members = as_team(size, walk)
    seen: list[int] = []
    for parts in zip(*members, strict=True):
        whole = parts[0][2]
        assert all(part[2] == whole for part in parts) and len(whole) <= rows_per_step
        assert [one for part in parts for one in part[1]] == label[whole].tolist()
        assert np.allclose([one for part in parts for one in part[0]], sums[whole], atol=1e-5)
        seen += whole
    assert sorted(seen) == list(range(50))


def test_the_order_follows_from_seed_and_epoch_alone():
    encoded, label = rows(50, 2)

    def order(seed: int, epoch: int) -> list[int]:
        walked = steps(encoded, label, rows_per_step=8, team=Team(), seed=seed, epoch=epoch)
        return [row for _, _, whole in walked for row in whole.tolist()]

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(*pair)) for pair in ((0, 1), (0, 2), (1, 1), (1, 2))}) == 4


def test_the_rate_rises_then_falls_to_nothing():
    model = torch.nn.Linear(1, 1)
    optimizer = make_optimizer(model, TrainConfig(learning_rate=0.1))
    schedule = make_schedule(optimizer, 100)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.002 and schedule.get_last_lr()[0] == 0


def training_data(num_labels: int = 3) -> TrainingData:
    train, valid = rows(90, num_labels), rows(30, num_labels, seed=1)
    one = np.ones(90, np.float32)
    return TrainingData(*train, one, *valid, num_ids=NUM_IDS, num_labels=num_labels)


def weighted_and_repeated(
    data: TrainingData, times: np.ndarray
) -> tuple[TrainingData, TrainingData]:
    """Each training row `times` times, once by its weight and once by standing there so often."""
    chosen = np.repeat(np.arange(len(times)), times)
    lengths = np.diff(data.train.offsets)[chosen]
    spans = [slice(*data.train.offsets[row : row + 2]) for row in chosen]
    repeated = Encoded(
        np.concatenate([data.train.ids[span] for span in spans]),
        np.concatenate([data.train.values[span] for span in spans]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.zeros(len(chosen), np.bool_),
    )
    one = np.ones(len(chosen), np.float32)
    return (
        replace(data, train_weight=times.astype(np.float32)),
        replace(data, train=repeated, train_label=data.train_label[chosen], train_weight=one),
    )


def recipe_of(kind: str, **train: Any):
    tree = {"name": "n", "data": {"train": "评论.csv"}, "model": {"kind": kind}, "train": train}
    return make_recipe(tree, "recipe")


TIMES = 1 + np.arange(90) % 3


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("times", [np.ones(90, np.int64), TIMES])
def test_the_loss_of_an_epoch_is_the_weighted_mean_over_its_rows(times, size):
    data = training_data()
    recipe = with_values(recipe_of("bag", learning_rate=1e-12), {"model.bag.dropout": 0.0})
    model = build_model(recipe.model, num_ids=NUM_IDS, num_labels=3)
    with torch.no_grad():
        whole = model(pad(data.train, np.arange(90))).numpy()
    expected = log_loss(whole.repeat(times, axis=0), data.train_label.repeat(times))

    def work(team: Team) -> float:
        own = deepcopy(model)
        optimizer = make_optimizer(own, recipe.train)
        batches = steps(data.train, data.train_label, rows_per_step=8, team=team, seed=0, epoch=1)
        row_weight, schedule = times.astype(np.float32), make_schedule(optimizer, 12)
        return train_epoch(own, batches, optimizer, schedule, row_weight=row_weight, team=team)

    assert as_team(size, work) == pytest.approx([expected] * size, rel=1e-5)


@pytest.mark.parametrize("own", [np.ones(90), 0.1 + np.arange(90) % 4])
def test_balanced_weights_give_each_class_the_same_sum(own):
    data = replace(training_data(), train_weight=own.astype(np.float32))
    assert np.allclose(data.row_weight("none"), own)
    weight = data.row_weight("balanced")
    sums = [weight[data.train_label == label].sum() for label in range(3)]
    assert np.allclose(sums, own.sum() / 3)
    same = data.train_label == 0
    assert np.allclose(weight[same] / own[same], weight[same][0] / own[same][0])


@pytest.mark.parametrize("kind", ["linear", "bag"])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_row_of_weight_two_is_worth_the_row_twice(kind, class_weights):
    train = {"epochs": 5, "rows_per_step": 1000, "class_weights": class_weights}
    recipe = with_values(
        recipe_of(kind, **train), {"model.linear.tolerance": 1e-6, "model.bag.dropout": 0.0}
    )
    weighted, repeated = (
        fit_weights(recipe, data, Team(), lambda epoch: None)
        for data in weighted_and_repeated(training_data(), TIMES)
    )
    losses = [[epoch.loss for epoch in weights.history] for weights in (weighted, repeated)]
    assert np.allclose(*losses, rtol=1e-4) and len(losses[0]) >= 4
    for name, value in weighted.state.items():
        assert torch.allclose(value.float(), repeated.state[name].float(), atol=2e-3), name


@pytest.mark.parametrize("size", [1, 2, 3])
def test_validation_counts_every_row_once(size):
    data = training_data()
    model = build_model(recipe_of("bag").model, num_ids=NUM_IDS, num_labels=3)

    def work(team: Team) -> np.ndarray:
        return validate(model, data.valid, data.valid_label, num_labels=3, team=team)

    for counts in as_team(size, work):
        assert counts.sum() == 30
        assert counts.sum(1).tolist() == np.bincount(data.valid_label, minlength=3).tolist()


def fitted(kind: str, **train: Any) -> tuple[Weights, list[int]]:
    told: list[int] = []
    weights = fit_weights(
        recipe_of(kind, **train), training_data(), Team(), lambda epoch: told.append(epoch.epoch)
    )
    return weights, told


def test_the_best_epoch_is_kept_and_the_run_stops_when_none_is_better():
    train = {"epochs": 40, "early_stop": 2, "learning_rate": 0.05, "rows_per_step": 16}
    weights, told = fitted("bag", **train)
    scores = [epoch.macro_f1 for epoch in weights.history]
    best = scores.index(max(scores)) + 1
    assert told == [epoch.epoch for epoch in weights.history] == list(range(1, len(scores) + 1))
    assert len(scores) == best + 2 < 40
    model = build_model(recipe_of("bag").model, num_ids=NUM_IDS, num_labels=3)
    model.load_state_dict(weights.state)
    data = training_data()
    counts = validate(model, data.valid, data.valid_label, num_labels=3, team=Team())
    assert np.trace(counts) / 30 == weights.history[best - 1].accuracy


def test_without_early_stopping_every_epoch_runs():
    assert fitted("bag", epochs=4, early_stop=0)[1] == [1, 2, 3, 4]


def test_the_padding_of_linear_stays_zero_and_its_bias_stands_apart():
    weights, _ = fitted("linear", epochs=3)
    assert weights.state["weight"][0].tolist() == [0, 0, 0]
    assert weights.state["bias"].abs().min() > 0
    assert weights.state["weight"].dtype == torch.float16
