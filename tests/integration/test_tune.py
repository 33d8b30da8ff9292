"""A search by real Ray Tune: its trials, the recipe that it leaves, and nothing else."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from left_over import alive, check_nothing_is_left

from bigmodel.data.prepare import prepare
from bigmodel.recipe import load_recipe
from bigmodel.tracking import open_client
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.team import Team
from bigmodel.tuning import search
from jobs.tune import tune

FAILING, LOST = 2, 3
SPACE = {
    "train.learning_rate": {"log": [1e-3, 1e-2]},
    "model.mlp.hidden_sizes": {"choice": [[8], [16, 8]]},
}


@pytest.fixture(scope="module")
def recipe(small):
    tune = {"num_trials": 4, "space": SPACE}
    return small("mlp", tune=tune, train={"epochs": 4, "num_workers": 1})


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def before(prepared):
    prepared("mlp")
    return alive()


@pytest.fixture(scope="module")
def searched(before, recipe, scratch, tmp_path_factory):
    """(the search, what scripts hear of it): of four trials one dies always, another one once."""
    run_trial, deaths = search.run_trial, tmp_path_factory.mktemp("deaths")

    def run_or_fail(trial, **given):
        number = int(trial["run"].rpartition("-")[2])
        died_before = deaths / str(number)
        if number == FAILING or (number == LOST and not died_before.exists()):
            died_before.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        run_trial(trial, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "run_trial", run_or_fail)
        patch.setattr(tempfile, "tempdir", str(scratch))
        found, result = tune(recipe)
    return found, result


def test_a_trial_that_dies_begins_anew_and_one_that_dies_again_is_not_the_end(searched):
    trials = searched[0].trials
    assert len(trials) == 4 and trials[0].values == {}
    assert [trial.score is None for trial in trials] == [False, False, True, False]
    assert searched[0].best.score == max(trial.score or 0 for trial in trials)


def test_the_best_recipe_is_a_file_that_loads_and_trains(searched, recipe):
    found, result = searched
    best = load_recipe(result["recipe"])
    assert best == found.recipe and best.tune is None
    rows = prepare(best)
    assert rows.reused
    done = fit_weights(best, training_data(rows, best), Team())
    assert max(epoch.macro_f1 for epoch in done.history) == pytest.approx(found.best.score)


def test_a_search_has_a_page_with_every_trial(searched):
    page = Path(searched[1]["page"]).read_text(encoding="utf-8")
    assert "1 failed" not in page and "failed: its process died twice (out of memory?)" in page
    assert all(f"{trial.score:.4f}" in page for trial in searched[0].trials if trial.score)


def test_every_trial_is_a_run_below_that_of_the_search(searched, recipe):
    client = open_client(recipe.storage, None)
    experiment = client.get_experiment_by_name(recipe.name).experiment_id
    below = f"tags.`mlflow.parentRunId` = '{searched[1]['run_id']}'"
    runs = client.search_runs([experiment], below)
    found = {run.info.run_name: run.data.metrics.get("score") for run in runs}
    expected = {f"trial {one.number}": one.score for one in searched[0].trials}
    assert found == expected


def test_a_search_leaves_nothing_behind(searched, before, scratch):
    check_nothing_is_left(before)
    assert not list(scratch.iterdir())
