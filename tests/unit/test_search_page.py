"""The page of a search: its best trial in a sentence, every trial, and no markup of a user's."""

import pytest
from made_up_search import EPOCHS, FAILS, made_up_search
from outline import Outline

from bigmodel.pages.search_page import search_page, sentence


@pytest.fixture(scope="module")
def found():
    return made_up_search()


def test_the_best_trial_and_what_it_gained_are_said_first(found):
    best = max((one for one in found["trials"] if one["score"]), key=lambda one: one["score"])
    own = found["trials"][0]["score"]
    said = f"Trial {best['number']} is the best of 12: macro-F1 {best['score']:.4f}, "
    assert sentence(found).en == f"{said}{best['score'] - own:.4f} above the recipe as it was."
    assert f"试验 {best['number']} 最佳" in sentence(found).zh


def test_every_trial_is_on_the_page_and_nothing_of_it_becomes_markup(found):
    document = search_page(found).decode()
    seen = Outline(document)
    assert "b" not in seen.tags and "停用词<b>.txt" in seen.text
    for trial in found["trials"]:
        assert trial["number"] == FAILS or f"{trial['score']:.4f}" in seen.text
    assert "failed: OutOfMemoryError: 内存不足" in seen.text


def test_what_stopping_spared_is_counted(found):
    stopped = [one for one in found["trials"] if one["end"] == "stopped"]
    assert stopped and found["saved"] == sum(EPOCHS - one["course"][-1][0] for one in stopped)
    assert found["epochs"] == sum(len(one["course"]) for one in found["trials"])


def test_what_made_the_difference_needs_some_trials(found):
    assert sum(found["importance"].values()) == pytest.approx(1)
    assert set(found["importance"]) == {
        "model.kind", "train.learning_rate", "model.mlp.hidden_sizes", "text.stop_words"
    }  # fmt: skip
    assert made_up_search(4)["importance"] == {}


def test_a_page_of_a_search_in_which_all_failed_says_so(found):
    nothing = {**found, "best": None, "importance": {}, "trials": [found["trials"][FAILS]]}
    assert "None of 1 trials came to a score." in search_page(nothing).decode()
