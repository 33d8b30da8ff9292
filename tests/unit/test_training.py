"""Newton's method and the sums of a team, without Ray."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC
from small_training import NUM_IDS, as_team, rows

from bigmodel.text.features import Encoded
from bigmodel.training.newton import Step, make_problem, minimise
from bigmodel.training.team import Team, tree_sum


def solved(
    encoded: Encoded, label: np.ndarray, *, team: Team, num_columns: int, **settings: Any
) -> tuple[torch.Tensor, list[Step]]:
    weight = settings.pop("weight", np.ones(len(label), np.float32))
    problem = make_problem(
        encoded,
        label,
        num_ids=NUM_IDS,
        num_columns=num_columns,
        weight=weight,
        nb=settings.pop("nb", False),
        team=team,
    )
    seen: list[Step] = []
    given = {"c": 0.5, "max_steps": 30, "tolerance": 1e-8} | settings
    return minimise(problem, on_step=seen.append, **given), seen


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
    found, seen = solved(encoded, label, team=Team(), num_columns=3, nb=nb, tolerance=1e-5)
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
@pytest.mark.parametrize("num_ids", [NUM_IDS, 3000])
def test_the_blocks_of_a_team_hold_every_column_once(size, num_ids):
    encoded, label = rows(30, 2)
    one = np.ones(30, np.float32)
    problems = as_team(
        size,
        lambda team: make_problem(
            encoded, label, num_ids=num_ids, num_columns=1, weight=one, nb=False, team=team
        ),
    )
    blocks = [block for problem in problems for block in problem.blocks]
    together = torch.cat([block.x.to_dense() for block in blocks], dim=1)
    assert together.shape == (30, num_ids)
    assert torch.equal(together[:, 0], torch.ones(30))
    assert np.array_equal(together[:, 1:NUM_IDS], dense(encoded)[:, 1:].astype(np.float32))
    assert problems[0].y[:, 0].tolist() == (2 * label - 1).tolist()
    assert all(torch.equal(b.x.to_dense().T, b.xt.to_dense()) for b in blocks)


def test_texts_without_any_ngram_are_told_by_the_bias_alone():
    nothing = Encoded(
        np.zeros(0, np.int32),
        np.zeros(0, np.float32),
        np.zeros(11, np.int64),
        np.zeros(10, np.bool_),
    )
    label = np.array([1] * 7 + [0] * 3)
    problem = make_problem(
        nothing,
        label,
        num_ids=1,
        num_columns=1,
        weight=np.ones(10, np.float32),
        nb=True,
        team=Team(),
    )
    found = minimise(problem, c=1.0, max_steps=10, tolerance=1e-5, on_step=lambda step: None)
    assert found.tolist() == [[pytest.approx(2 * (7 - 3) / (1 + 2 * 10), abs=1e-5)]]


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
