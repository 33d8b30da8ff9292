"""Which search may be gone on with, and with which changes."""

from pathlib import Path

import pytest

from bigmodel.config import Recipe
from bigmodel.errors import ModelError, RecipeError
from bigmodel.recipe import make_recipe, with_values
from bigmodel.tuning.stored import StoredSearch

SPACE = {"train.learning_rate": {"log": [0.001, 0.01]}}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    data = tmp_path / "评论.csv"
    data.write_text("text,label\n很好,正面\n很差,负面\n", encoding="utf-8")
    tree = {"name": "reviews", "storage": str(tmp_path / "storage"), "model": {"kind": "mlp"}}
    return make_recipe({**tree, "data": {"train": str(data)}, "tune": {"space": SPACE}}, "recipe")


@pytest.fixture
def stored(recipe: Recipe) -> StoredSearch:
    found = StoredSearch(recipe, "搜索一")
    found.begin()
    return found


@pytest.mark.parametrize(
    "change",
    [{}, {"tune.num_trials": 99}, {"tune.time_budget_s": 60.0}, {"tune.cpus": 0.5},
     {"tune.refit": False}, {"tune.keep": 3}, {"evaluate.folds": 3}],
)  # fmt: skip
def test_it_goes_on_with_more_trials_and_other_machines(stored, recipe, change):
    StoredSearch(with_values(recipe, change), "搜索一").check()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train.epochs": 3}, "that search was started with train.epochs = 10, and now it is 3"),
        ({"seed": 4}, "seed = 0, and now it is 4"),
        ({"tune.scheduler": "median"}, "tune.scheduler = asha, and now it is median"),
        ({"model.kind": "cnn"}, "model.kind = mlp, and now it is cnn"),
    ],
)
def test_another_search_is_refused_and_the_key_named(stored, recipe, change, said):
    with pytest.raises(RecipeError, match=rf"^--resume 搜索一: .*{said}; set it back, or search"):
        StoredSearch(with_values(recipe, change), "搜索一").check()


def test_other_rows_are_refused(stored, recipe):
    Path(recipe.data.train[0].path).write_text("text,label\n一般,正面\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="was started with other rows; bring them back"):
        stored.check()


@pytest.mark.parametrize("run_id", ["没有", "../../models", "", "a/b"])
def test_a_search_that_there_is_not_is_refused(stored, recipe, run_id):
    assert not StoredSearch(recipe, run_id).exists()
    with pytest.raises(RecipeError, match="has no such search; take the id"):
        StoredSearch(recipe, run_id).check()


@pytest.mark.parametrize("text", ["", "[]", "{}", "坏"])
def test_a_damaged_note_of_what_was_searched_is_named(stored, text):
    stored.place.write("search.json", text.encode())
    with pytest.raises(ModelError, match=r"search\.json: is damaged; search anew"):
        stored.check()
