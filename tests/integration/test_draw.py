"""What a search draws: the recipe first, then values from its space, from its seed."""

import pytest

from bigmodel.config import Dimension, TuneConfig
from bigmodel.errors import RecipeError
from bigmodel.recipe import KIND_DEFAULTS, make_recipe, with_values
from bigmodel.tuning import DEFAULT_SPACES, draw

RECIPE = make_recipe({"name": "n", "data": {"train": "评论.csv"}, "model": {"kind": "mlp"}}, "r")
SPACE = {
    "train.learning_rate": Dimension(log=(1e-4, 1e-1)),
    "model.mlp.dropout": Dimension(range=(0.1, 0.6)),
    "train.epochs": Dimension(int=(2, 4)),
    "train.optimizer": Dimension(choice=("adam", "sgd")),
}


def test_the_first_trial_changes_nothing_and_the_others_stay_in_the_space():
    drawn = draw(RECIPE, TuneConfig(space=SPACE, num_trials=60))
    assert drawn[0] == {} and len(drawn) == 60
    for values in drawn[1:]:
        assert list(values) == list(SPACE)
        assert 1e-4 <= values["train.learning_rate"] <= 1e-1
        assert 0.1 <= values["model.mlp.dropout"] <= 0.6
    assert {values["train.epochs"] for values in drawn[1:]} == {2, 3, 4}
    assert {values["train.optimizer"] for values in drawn[1:]} == {"adam", "sgd"}
    assert sum(values["train.learning_rate"] < 3e-3 for values in drawn[1:]) in range(15, 45)


def test_a_search_is_drawn_from_the_recipes_seed():
    config = TuneConfig(space=SPACE, num_trials=5)
    assert draw(RECIPE, config) == draw(RECIPE, config)
    other = RECIPE.model_copy(update={"seed": 1})
    assert draw(other, config) != draw(RECIPE, config)
    assert draw(RECIPE, TuneConfig(space=SPACE, num_trials=3)) == draw(RECIPE, config)[:3]


@pytest.mark.parametrize("kind", sorted(KIND_DEFAULTS))
def test_every_kind_has_a_space_that_its_recipe_accepts(kind):
    tree = {"name": "n", "data": {"train": "评论.csv"}, "model": {"kind": kind}}
    recipe = make_recipe(tree, "recipe")
    for values in draw(recipe, TuneConfig(num_trials=8))[1:]:
        assert set(values) == set(DEFAULT_SPACES[kind])
        assert with_values(recipe, values) != recipe


@pytest.mark.parametrize(
    ("key", "dimension", "said"),
    [
        ("train.learning", Dimension(log=(0.1, 1)), "unknown key train.learning; did you mean"),
        ("train.epochs", Dimension(range=(0.1, 0.2)), "train.epochs = 0.1"),
        ("model.mlp.dropout", Dimension(choice=(2.0,)), "model.mlp.dropout = 2.0"),
    ],
)
def test_a_space_that_the_recipe_refuses_is_told_before_any_trial(key, dimension, said):
    with pytest.raises(RecipeError, match=rf"^tune\.space: .*{said}"):
        draw(RECIPE, TuneConfig(space={key: dimension}, num_trials=2))
