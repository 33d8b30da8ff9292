"""What a search may draw: the recipe's own keys, those of the kind that was drawn, no two alike."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import Dimension, Recipe, TuneConfig
from bigmodel.errors import RecipeError
from bigmodel.recipe import KIND_DEFAULTS, make_recipe, with_values
from bigmodel.tuning.kinds import as_kind
from bigmodel.tuning.searchers import study_of, suggest
from bigmodel.tuning.space import DEFAULT_SPACES, Space, rounded
from bigmodel.tuning.trials import Trial

SPACE = {
    "train.learning_rate": Dimension(log=(1e-4, 1e-1)),
    "model.mlp.dropout": Dimension(range=(0.1, 0.6)),
    "train.epochs": Dimension(int=(2, 4)),
    "train.optimizer": Dimension(choice=("adam", "sgd")),
}
KINDS = {
    "model.kind": Dimension(choice=("mlp", "cnn", "linear")),
    "model.mlp.hidden_sizes": Dimension(choice=((64,), (256, 128))),
    "model.cnn.channels": Dimension(int=(32, 64)),
    "model.linear.C": Dimension(log=(0.1, 10)),
}


def recipe_of(kind: str = "mlp", **sections: object) -> Recipe:
    tree = {"name": "n", "data": {"train": "评论.csv"}, "model": {"kind": kind}, **sections}
    return make_recipe(tree, "recipe")


def tried(config: TuneConfig, recipe: Recipe | None = None, upto: int = 99) -> list[dict]:
    """The values of all trials, each given a score of its own."""
    space = Space.of(recipe or recipe_of(), config)
    trials: list[Trial] = []
    for number in range(min(config.num_trials, upto)):
        values = suggest(space, config, trials, number=number)
        if values is None:
            break
        score = {"epoch": 1.0, "score": len(json.dumps(values)) % 7 / 10}
        trials.append(Trial(number, values, (score,), "stopped" if number % 3 else "ended"))
    return [trial.values for trial in trials]


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_the_first_trial_changes_nothing_and_the_others_stay_in_the_space(searcher: str) -> None:
    first, *others = tried(TuneConfig(space=SPACE, num_trials=20, searcher=searcher))
    assert first == {} and len(others) == 19
    for values in others:
        assert list(values) == list(SPACE)
        assert 1e-4 <= values["train.learning_rate"] <= 1e-1
        assert 0.1 <= values["model.mlp.dropout"] <= 0.6
        assert values["train.epochs"] in (2, 3, 4)
        assert values["train.optimizer"] in ("adam", "sgd")
    assert len({json.dumps(values) for values in others}) == 19


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_a_search_is_drawn_from_the_recipes_seed_and_its_length_changes_nothing(
    searcher: str,
) -> None:
    config = TuneConfig(space=SPACE, num_trials=12, searcher=searcher)
    drawn = tried(config)
    assert tried(config) == drawn == tried(config.model_copy(update={"num_trials": 20}), upto=12)
    assert tried(config, recipe_of(seed=1)) != drawn


def test_across_kinds_only_the_keys_of_the_drawn_kind_count() -> None:
    config = TuneConfig(space=KINDS, num_trials=20)
    tables = {"mlp": "hidden_sizes", "cnn": "channels", "linear": "C"}
    for values in tried(config)[1:]:
        kind = values["model.kind"]
        assert set(values) == {"model.kind", f"model.{kind}.{tables[kind]}"}
    assert {values["model.kind"] for values in tried(config)[1:]} == set(tables)


def test_a_drawn_kind_brings_its_own_defaults_and_keeps_what_was_meant() -> None:
    recipe = recipe_of("mlp", train={"learning_rate": 0.02, "rows_per_step": 64})
    space = Space.of(recipe, TuneConfig(space=KINDS))
    cnn = space.recipe_of({"model.kind": "cnn"})
    own = recipe_of("cnn")
    assert (cnn.train.epochs, cnn.model.residual) == (own.train.epochs, own.model.residual)
    assert (cnn.train.learning_rate, cnn.train.rows_per_step) == (0.02, 64)
    assert cnn.tune is None


@pytest.mark.parametrize("kind", sorted(KIND_DEFAULTS))
def test_another_kind_and_back_is_the_same_recipe(kind: str) -> None:
    for other in KIND_DEFAULTS:
        assert as_kind(as_kind(recipe_of(kind), other), kind) == recipe_of(kind)
        assert as_kind(recipe_of(kind), other) == recipe_of(other)


@pytest.mark.parametrize("kind", sorted(KIND_DEFAULTS))
def test_every_kind_has_a_space_that_its_recipe_accepts(kind: str) -> None:
    for values in tried(TuneConfig(num_trials=6), recipe_of(kind))[1:]:
        assert set(values) == set(DEFAULT_SPACES[kind])
        assert with_values(recipe_of(kind), values) != recipe_of(kind)


def test_a_grid_tries_every_point_once_and_then_ends() -> None:
    space = {"train.epochs": Dimension(int=(2, 4)), "train.optimizer": SPACE["train.optimizer"]}
    config = TuneConfig(space=space, num_trials=99, searcher="grid")
    drawn = tried(config)
    assert len(drawn) == 6 and drawn[0] == {"train.epochs": 2, "train.optimizer": "adam"}


def test_a_small_space_ends_when_all_of_it_was_tried() -> None:
    config = TuneConfig(space={"train.epochs": Dimension(int=(2, 4))}, num_trials=20)
    assert sorted(values.get("train.epochs", 0) for values in tried(config)) == [0, 2, 3, 4]


def test_a_list_of_recipes_is_tried_as_it_stands() -> None:
    recipes = ({"train.epochs": 3}, {"model.mlp.dropout": 0.3})
    config = TuneConfig(searcher="recipes", recipes=recipes)
    assert tried(config) == list(recipes)


@pytest.mark.parametrize(
    ("key", "dimension", "said"),
    [
        ("train.learning", Dimension(log=(0.1, 1)), "unknown key train.learning; did you mean"),
        ("train.epochs", Dimension(range=(0.1, 0.2)), "train.epochs = 0.1"),
        ("model.mlp.dropout", Dimension(choice=(2.0, 3.0)), "model.mlp.dropout = "),
    ],
)
def test_a_space_that_the_recipe_refuses_is_told(key: str, dimension: Dimension, said: str) -> None:
    config = TuneConfig(space={key: dimension}, num_trials=2, searcher="random")
    with pytest.raises(RecipeError, match=rf"^tune\.space: .*{said}"):
        tried(config)


@pytest.mark.parametrize(
    ("space", "searcher", "said"),
    [
        ({"train.epochs": Dimension(choice=(3,))}, "tpe", "a single point"),
        ({"train.learning_rate": SPACE["train.learning_rate"]}, "grid", "is a range, and a grid"),
        ({"text.max_tokens": Dimension(int=(10, 99))}, "tpe", "prepared in more than 12 ways"),
    ],
)
def test_a_space_in_which_nothing_can_be_searched_is_refused(
    space: dict[str, Dimension], searcher: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        tried(TuneConfig(space=space, searcher=searcher))


def test_other_texts_are_prepared_once_for_each_value() -> None:
    space = {
        "text.max_tokens": Dimension(choice=(50, 100)),
        "model.kind": Dimension(choice=("mlp", "linear")),
        "train.learning_rate": SPACE["train.learning_rate"],
    }
    ways = Space.of(recipe_of(), TuneConfig(space=space)).preparations()
    found = [tuple(way.values()) for way in ways]
    assert found == [(), (50, "mlp"), (50, "linear"), (100, "mlp"), (100, "linear")]


def test_settings_of_a_model_that_change_its_features_prepare_the_rows_anew() -> None:
    space = {
        "model.kind": Dimension(choice=("mlp", "bag")),
        "model.mlp.min_count": Dimension(choice=(1, 2)),
        "model.mlp.dropout": Dimension(range=(0.1, 0.5)),
        "train.learning_rate": SPACE["train.learning_rate"],
    }
    found = Space.of(recipe_of(), TuneConfig(space=space))
    assert found.preparing == ("model.kind", "model.mlp.min_count")
    ways = found.preparations()
    assert [tuple(way.values()) for way in ways] == [(), ("mlp", 1), ("mlp", 2), ("bag",)]
    keys = {found.prepared_as(way) for way in ways}
    for values in tried(TuneConfig(space=space, num_trials=9)):
        assert found.prepared_as(values) in keys


@pytest.mark.parametrize("key", ["train.num_workers", "serve.max_replicas", "seed"])
def test_what_is_no_setting_of_a_model_is_not_searched(key: str) -> None:
    space = {key: Dimension(choice=(1, 2))}
    with pytest.raises(RecipeError, match=f"^tune.space: {key} is none of a model's own settings"):
        Space.of(recipe_of(), TuneConfig(space=space))


def test_what_others_outran_and_what_failed_is_known_to_tpe() -> None:
    space = Space.of(recipe_of(), TuneConfig(space=SPACE))
    values = {
        "train.learning_rate": 0.01,
        "model.mlp.dropout": 0.3,
        "train.epochs": 3,
        "train.optimizer": "sgd",
    }
    course = ({"epoch": 1.0, "score": 0.5}, {"epoch": 2.0, "score": 0.7})
    ends = ("ended", "stopped", "failed", "")
    trials = [Trial(n, values, course, end) for n, end in enumerate(ends)]
    found = study_of(space, [*trials, Trial(9, {}, course, "ended")]).trials
    assert [one.state.name for one in found] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert found[0].value == 0.7 and found[1].intermediate_values == {1: 0.5, 2: 0.7}


@given(st.floats(1e-6, 1), st.floats(1.01, 1e6), st.floats(0, 1))
def test_rounded_values_stay_within_the_bounds(low: float, factor: float, at: float) -> None:
    bounds = (low, low * factor)
    value = low * factor**at
    assert bounds[0] <= rounded(value, bounds) <= bounds[1]
    assert rounded(value, bounds) == pytest.approx(min(max(value, low), bounds[1]), rel=1e-3)
