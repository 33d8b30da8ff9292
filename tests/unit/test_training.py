"""Newton's method and the sums of a team, without Ray."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC
from small_training import NUM_IDS, as_team, rows

from bigmodel.text.features import Encoded
from bigmodel.training.newton import Step, make_blocks, minimise
from bigmodel.training.team import Team, tree_sum


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
