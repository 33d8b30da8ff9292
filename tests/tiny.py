"""The recipe of the tiny models that tests share."""

from typing import Any

from bigmodel.config import Recipe
from bigmodel.recipe import make_recipe


def tiny_recipe(kind: str, **sections: Any) -> Recipe:
    """For the 24 reviews: so few rows need more epochs, and every n-gram."""
    tree = {
        "name": "tiny",
        "seed": 7,
        "data": {"train": "reviews.csv"},
        "model": {"kind": kind, kind: {"min_count": 1}},
        "train": {"epochs": 30, "rows_per_step": 8, "learning_rate": 0.02, "early_stop": 0},
    }
    return make_recipe(tree | sections, "recipe")
