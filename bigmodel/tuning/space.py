"""What a search may draw: the keys that count, the values they may take, the recipes they give."""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product
from typing import Any

from bigmodel.config import Dimension, Recipe, TuneConfig
from bigmodel.errors import RecipeError
from bigmodel.recipe import MODEL_TABLES, with_values
from bigmodel.text.encoder import EncoderRecipe
from bigmodel.training.runs import OF_MACHINES
from bigmodel.tuning.kinds import as_kind

DEFAULT_SPACES: dict[str, dict[str, Dimension]] = {
    "linear": {
        "model.linear.C": Dimension(log=(0.05, 2.0)),
        "model.linear.nb": Dimension(choice=(True, False)),
    },
    "bag": {
        "train.learning_rate": Dimension(log=(1e-3, 3e-2)),
        "model.bag.embedding_size": Dimension(choice=(16, 32, 64)),
    },
    "mlp": {
        "train.learning_rate": Dimension(log=(3e-4, 1e-2)),
        "model.mlp.hidden_sizes": Dimension(choice=((64,), (128,), (256, 128))),
    },
    "cnn": {
        "train.learning_rate": Dimension(log=(3e-4, 3e-3)),
        "model.cnn.channels": Dimension(choice=(64, 128, 256)),
    },
    "rnn": {
        "train.learning_rate": Dimension(log=(3e-4, 3e-3)),
        "model.rnn.hidden_size": Dimension(choice=(64, 128, 256)),
    },
    "transformer": {
        "train.learning_rate": Dimension(log=(1e-4, 2e-3)),
        "model.transformer.num_layers": Dimension(choice=(1, 2, 3)),
    },
}
"""What is searched where `tune.space` is empty."""

KIND = "model.kind"
_PREPARED = ("text.", "data.")
_SEARCHED = ("model.", "train.", "text.", "data.")
_OF_MACHINES = tuple(f"train.{key}" for key in OF_MACHINES)
_MOST_PREPARED = 12
_MOST_INTEGERS = 1000

Values = dict[str, Any]
Draw = Callable[[str, Dimension], Any]


@dataclass(frozen=True)
class Space:
    """The dimensions of a search by dotted key, and the recipe that they change; or a list of
    changes, and no dimensions."""

    recipe: Recipe
    dimensions: Mapping[str, Dimension]
    listed: tuple[Values, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, config: TuneConfig) -> "Space":
        """The recipe's own, or its kind's; RecipeError where there is nothing to choose from."""
        for key in {*config.space, *(key for one in config.recipes for key in one)}:
            if key in _OF_MACHINES or not key.startswith(_SEARCHED):
                raise RecipeError(
                    f"tune.space: {key} is none of a model's own settings; search in "
                    f"{', '.join(_SEARCHED)[:-1]}, and set {key} in the recipe"
                )
        if config.recipes:
            return cls(recipe, {}, config.recipes)
        space = cls(recipe, config.space or DEFAULT_SPACES[recipe.model.kind])
        if all(points(dimension) == 1 for dimension in space.dimensions.values()):
            raise RecipeError(
                "tune.space has a single point, so there is nothing to search; give a key more "
                "values, or train without a search"
            )
        space.preparations()
        return space

    def drawn(self, draw: Draw) -> Values:
        """A value for each key that counts: of [model.<kind>] those of the kind that was drawn."""
        values: Values = {}
        if KIND in self.dimensions:
            values[KIND] = draw(KIND, self.dimensions[KIND])
        kind = values.get(KIND, self.recipe.model.kind)
        for key, dimension in self.dimensions.items():
            if key != KIND and _counts(key, kind, crosses=KIND in values):
                values[key] = draw(key, dimension)
        return values

    def recipe_of(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial, without its search; RecipeError where its own checks refuse it.

        Of another kind than the recipe's, what its sections had by that kind's defaults becomes
        the drawn kind's.
        """
        base = as_kind(self.recipe, values.get(KIND, self.recipe.model.kind))
        return with_values(base, values).model_copy(update={"tune": None})

    def own_values(self) -> Values:
        """What the recipe itself has at the keys that count."""
        tree = self.recipe.model_dump(mode="json", by_alias=True)
        return self.drawn(
            lambda key, _: reduce(lambda part, name: part[name], key.split("."), tree)
        )

    def accepts(self, values: Mapping[str, Any]) -> bool:
        try:
            self.recipe_of(values)
        except RecipeError:
            return False
        return True

    @cached_property
    def most_epochs(self) -> int:
        """That any trial may train."""
        if self.listed:
            return max(self.recipe_of(values).train.epochs for values in self.listed)
        epochs, kinds = (self.dimensions.get(key) for key in ("train.epochs", KIND))
        if epochs:
            return int(max(epochs.integer or epochs.choice or (1,)))
        ways = [{KIND: kind} for kind in kinds.choice or ()] if kinds else [{}]
        return max(self.recipe_of(way).train.epochs for way in ways)

    @cached_property
    def preparing(self) -> tuple[str, ...]:
        """The keys on which the encoded rows depend, the kind of model among them."""
        return tuple(key for key in self.dimensions if key == KIND or self._prepares(key))

    def prepared_as(self, values: Mapping[str, Any]) -> str:
        """Equal for trials whose rows are prepared in one way."""
        own = values if self.listed else {k: values[k] for k in self.preparing if k in values}
        return json.dumps(own, sort_keys=True, ensure_ascii=False)

    def preparations(self) -> list[Values]:
        """Each way in which the rows are to be prepared, the recipe's own first."""
        if self.listed:
            return list(self.listed)
        if math.prod(points(self.dimensions[key]) for key in self.preparing) > _MOST_PREPARED:
            raise RecipeError(
                f"tune.space: {', '.join(self.preparing)} would have the rows prepared in more "
                f"than {_MOST_PREPARED} ways; give these keys fewer values, as choice or int"
            )
        ways: list[Values] = [{}]
        for each in product(*map(self._all, self.preparing)):
            chosen = dict(zip(self.preparing, each, strict=True))
            kind = chosen.get(KIND, self.recipe.model.kind)
            way = {k: v for k, v in chosen.items() if _counts(k, kind, crosses=KIND in chosen)}
            if way not in ways and self.accepts(way):
                ways.append(way)
        return ways

    def _prepares(self, key: str) -> bool:
        """Whether rows are encoded otherwise with other values of a key."""
        if key.startswith(_PREPARED):
            return True
        kind = key.split(".")[1] if KIND in self.dimensions and key.startswith("model.") else ""
        around = {KIND: kind} if kind in MODEL_TABLES else {}
        dimension = self.dimensions[key]
        ends = dimension.choice or dimension.integer or dimension.log or dimension.uniform or ()
        ways = [way for value in ends if self.accepts(way := {**around, key: value})]
        found = [EncoderRecipe.of(self.recipe_of(way)).inputs() for way in ways]
        return any(one != found[0] for one in found)

    def grid(self) -> Iterator[Values]:
        """Every point, in the order of the recipe's keys; RecipeError where there is no end."""
        for key, dimension in self.dimensions.items():
            if points(dimension) == math.inf:
                raise RecipeError(
                    f"tune.space: {key} is a range, and a grid needs whole numbers (int) or a "
                    "choice; write one, or take another tune.searcher"
                )
        seen = []
        for each in product(*map(self._all, self.dimensions)):
            chosen = dict(zip(self.dimensions, each, strict=True))
            values = self.drawn(lambda key, _, chosen=chosen: chosen[key])  # type: ignore[misc]
            if values not in seen:
                seen.append(values)
                yield values

    def _all(self, key: str) -> tuple[Any, ...]:
        dimension = self.dimensions[key]
        if dimension.integer is not None:
            low, high = dimension.integer
            return tuple(range(low, high + 1))
        assert dimension.choice is not None
        return dimension.choice


def points(dimension: Dimension) -> float:
    """How many values it has; infinity for a range of numbers."""
    if dimension.choice is not None:
        return len(dimension.choice)
    if dimension.integer is not None:
        count = dimension.integer[1] - dimension.integer[0] + 1
        return count if count <= _MOST_INTEGERS else math.inf
    return math.inf


def at_random(generator: random.Random) -> Draw:
    """Values drawn evenly, from a logarithm's range by their logarithm."""

    def draw(key: str, dimension: Dimension) -> Any:
        if dimension.choice is not None:
            return generator.choice(dimension.choice)
        if dimension.integer is not None:
            return generator.randint(*dimension.integer)
        if dimension.uniform is not None:
            return rounded(generator.uniform(*dimension.uniform), dimension.uniform)
        assert dimension.log is not None
        low, high = dimension.log
        return rounded(low * (high / low) ** generator.random(), dimension.log)

    return draw


def rounded(value: float, bounds: tuple[float, float]) -> float:
    """Four digits are enough for people and for the search; never beyond the bounds."""
    low, high = bounds
    return min(max(float(f"{value:.4g}"), low), high)


def _counts(key: str, kind: str, *, crosses: bool) -> bool:
    """Keys of another kind's table don't, where the search goes across kinds."""
    section, _, rest = key.partition(".")
    table = rest.partition(".")[0]
    return not (crosses and section == "model" and table in MODEL_TABLES and table != kind)
