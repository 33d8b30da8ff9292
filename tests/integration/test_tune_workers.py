"""Trials of two workers each: Ray Train inside of Ray Tune, stopped early, and nothing left."""

import time

import pytest
import ray
from left_over import alive, check_nothing_is_left, left
from ray.util.placement_group import placement_group

from bigmodel.storage import folder
from bigmodel.tuning.orphans import remove_orphans
from bigmodel.tuning.search import search

SPACE = {"train.learning_rate": {"log": [1e-6, 1e-2]}}


def test_what_a_killed_controller_took_is_given_back_and_what_a_living_one_has_is_not(ray_local):
    @ray.remote(num_cpus=0)
    class Controller:
        """As Ray Train's: it takes CPUs for workers, and Ray keeps them when it dies."""

        def take(self):
            ray.get(placement_group([{"CPU": 1}]).ready())

    before = alive()
    controller = Controller.remote()
    ray.get(controller.take.remote())
    assert remove_orphans() == 1 and left(before)
    ray.kill(controller)
    deadline = time.monotonic() + 20
    while remove_orphans():
        assert time.monotonic() < deadline
    check_nothing_is_left(before)


@pytest.mark.chaos
def test_two_workers_a_trial_are_stopped_early_and_leave_nothing(small, prepared, tmp_path):
    prepared("mlp")
    rates = (3e-3, 3e-3, 1e-6)
    tune = {"space": SPACE, "searcher": "recipes", "grace_epochs": 1, "keep": 0}
    tune |= {"recipes": [{"train.learning_rate": rate} for rate in rates]}
    train = {"epochs": 6, "num_workers": 2, "rows_per_step": 8, "early_stop": 0}
    recipe = small("mlp", tune=tune, train=train)
    before = alive()
    found = search(recipe, folder(tmp_path / "search"))
    assert [trial.end for trial in found.trials] == ["ended", "ended", "stopped"]
    assert found.best.number == 0 and len(found.trials[2].epochs) < 6
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.parent.name for path in files} == {"events"}
    check_nothing_is_left(before)
