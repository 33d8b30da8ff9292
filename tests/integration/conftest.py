"""A recipe for a small file of reviews, and what is made of it once a session."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from small_reviews import labelled, write_csv

from bigmodel.config import Recipe
from bigmodel.data.prepare import prepare
from bigmodel.data.prepared import PreparedData
from bigmodel.recipe import make_recipe
from bigmodel.tracking import open_client
from bigmodel.training.trainer import Fitted, fit

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> MakeRecipe:
    """A kind of model -> a recipe for the small file, without dropout; sections may be given."""
    home = tmp_path_factory.mktemp("small")
    data = write_csv(home / "评论.csv", labelled())

    def recipe(kind: str, **sections: Any) -> Recipe:
        tables: dict[str, Any] = {"linear": {}, "bag": {"dropout": 0}, "mlp": {"dropout": 0}}
        tree = {
            "name": f"small-{kind}",
            "seed": 3,
            "storage": str(home / "storage"),
            "data": {"train": str(data)},
            "model": {"kind": kind, kind: tables[kind]},
            "train": {"epochs": 3, "num_workers": 2},
        }
        return make_recipe({**tree, **sections}, "recipe")

    return recipe


@pytest.fixture(scope="session")
def prepared(ray_local: None, small: MakeRecipe) -> Callable[[str], PreparedData]:
    """A kind of model -> the small file prepared for it."""
    return cache(lambda kind: prepare(small(kind)))


@pytest.fixture(scope="session")
def fitted(small: MakeRecipe, prepared: Callable[[str], PreparedData]) -> Callable[[str], Fitted]:
    """A kind of model -> what two workers made of the small file."""
    return cache(lambda kind: fit(prepared(kind), small(kind), run_id=f"two-{kind}"))


@pytest.fixture(scope="session")
def mlflow_storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage with MLflow's database: it takes seconds, so whoever uses it takes own names."""
    storage = str(tmp_path_factory.mktemp("storage"))
    open_client(storage, None)
    return storage
