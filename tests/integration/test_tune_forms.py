"""Other forms of a search by real Ray Tune: lists, kinds, texts, grids, stops, failures."""

import pytest
from left_over import alive, check_nothing_is_left

from bigmodel.data.prepare import prepare
from bigmodel.errors import RecipeError
from bigmodel.storage import folder
from bigmodel.training.trainer import fit
from bigmodel.tuning import search as searching
from bigmodel.tuning.ledger import Ledger
from bigmodel.tuning.search import search, slots

TRAIN = {"epochs": 3, "num_workers": 1}
LISTED = [
    {"model.mlp.hidden_sizes": [4], "train.learning_rate": 1e-6},
    {"model.kind": "linear"},
    {"text.max_tokens": 2, "model.mlp.hidden_sizes": [8], "train.epochs": 2},
]
SPACE = {
    "train.learning_rate": {"log": [1e-5, 1e-2]},
    "model.mlp.hidden_sizes": {"choice": [[8], [16, 8]]},
}


def courses(trials):
    """All that a seed decides."""
    return [(one.values, one.end, [epoch["score"] for epoch in one.epochs]) for one in trials]


@pytest.fixture
def place(tmp_path, prepared):
    prepared("mlp")
    return folder(tmp_path / "search")


def test_a_list_across_kinds_and_texts_keeps_the_weights_of_its_best(small, place, tmp_path):
    tune = {"searcher": "recipes", "recipes": LISTED, "scheduler": "median", "cpus": 4}
    before = alive()
    found = search(small("mlp", tune={**tune, "refit": False}, train=TRAIN), place)
    assert [trial.values for trial in found.trials] == LISTED
    assert [trial.end for trial in found.trials] == ["ended"] * 3
    assert [len(trial.epochs) for trial in found.trials[1:]] == [1, 2]
    assert [path.name for path in (tmp_path / "search" / "runs").iterdir()] == [
        f"search-{found.best.number}"
    ]
    kept = fit(prepare(found.recipe), found.recipe, run_id="kept", weights=found.weights)
    assert kept.artifact.metrics["macro_f1"] == pytest.approx(found.best.score)
    check_nothing_is_left(before)


def test_a_search_that_was_cut_off_ends_as_one_that_was_not(small, place, tmp_path):
    def tune(num_trials):
        given = {"num_trials": num_trials, "space": SPACE, "cpus": 4, "keep": 0}
        return small("mlp", tune={**given, "grace_epochs": 1}, train=TRAIN)

    whole = search(tune(4), folder(tmp_path / "whole")).trials
    search(tune(2), place)
    ledger = Ledger(place)
    ledger.begin(2, whole[2].values)
    ledger.report(2, {"epoch": 1.0, "score": 0.99})  # of a driver that was killed then
    found = search(tune(4), place)
    assert courses(found.trials) == courses(whole)
    assert found.trials[:2] == tuple(ledger.trials[:2])
    assert search(tune(4), place) == found  # nothing is left to do


def test_trials_that_fail_alike_end_the_search_and_each_has_its_reason(small, place, monkeypatch):
    def fail(trial, **given):
        from bigmodel.tuning.trial import FAILED, tune

        failed = {"failed": "OSError: 磁盘已满", "ended": False}
        tune.report({"score": FAILED, "epoch": 0, "course": '{"epoch": 0}', **failed})

    monkeypatch.setattr(searching, "run_trial", fail)
    recipe = small("mlp", tune={"num_trials": 9, "space": SPACE, "cpus": 4}, train=TRAIN)
    with pytest.raises(RecipeError, match=r"^3 trials in a row failed alike \(OSError: 磁盘已满\)"):
        search(recipe, place)
    found = Ledger(place).trials
    assert len(found) < 9 and {trial.end for trial in found[:3]} == {"failed"}
    assert [trial.reason for trial in found[:3]] == ["OSError: 磁盘已满"] * 3


@pytest.mark.parametrize(
    ("workers", "cpus", "said"),
    [(9, 1.0, "a trial takes 9 workers of 1 CPUs, and Ray has room for 4"),
     (2, 4.0, "a trial takes 2 workers of 4 CPUs, and Ray has room for 1")],
)  # fmt: skip
def test_more_workers_than_there_is_room_for_are_told_first(
    small, ray_local, place, workers, cpus, said
):
    recipe = small("mlp", tune={"cpus": cpus}, train={"num_workers": workers})
    with pytest.raises(RecipeError, match=said):
        search(recipe, place)
    assert not place.names()


def test_parts_of_a_cpu_let_more_trials_run_at_a_time(small, ray_local):
    check_nothing_is_left(alive())
    recipe = small("mlp", tune={"cpus": 0.5}, train={"num_workers": 1})
    assert slots(recipe, recipe.tune, coming=0) == 8
    assert slots(recipe, recipe.tune, coming=float("inf")) == 8


def test_a_cluster_that_may_grow_gets_as_many_trials_as_it_would_hold(small, ray_local):
    check_nothing_is_left(alive())
    recipe = small("mlp", tune={"num_trials": 16}, train={"num_workers": 2})
    assert slots(recipe, recipe.tune, coming=0) == 2
    assert slots(recipe, recipe.tune, coming=12) == 6
    assert slots(recipe, recipe.tune, coming=64) == 16
