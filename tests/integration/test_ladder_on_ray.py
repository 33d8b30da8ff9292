"""The ladder over real training: every kind on the same rows, and nothing left but the report."""

import json
from pathlib import Path

import pytest

from bigmodel.models import MODELS
from bigmodel.registry import Registry
from jobs.ladder import ladder

pytestmark = pytest.mark.chaos  # three trainings


@pytest.fixture(scope="module")
def climbed(ray_local, small):
    recipe = small("mlp", name="small-ladder", train={"epochs": 2, "num_workers": 1})
    return recipe, ladder(recipe)


def test_every_kind_is_compared_on_the_same_rows(climbed):
    recipe, found = climbed
    assert {rung["kind"] for rung in found["rungs"]} == set(MODELS)
    assert {rung["rows"] for rung in found["rungs"]} == {found["rows"]}
    for rung in found["rungs"]:
        assert rung["train_s"] > 0 and rung["bytes"] > 1000 and rung["p99_ms"] > 0
    assert found["chosen"] in MODELS and found["test"]["rows"] > 0
    assert found["margin"] == recipe.evaluate.gate.margin


def test_the_report_stands_beside_its_figures(climbed):
    _, found = climbed
    page = Path(found["report"])
    assert found["chosen"] in page.read_text(encoding="utf-8")
    assert json.loads((page.parent / "ladder.json").read_bytes()) == found


def test_no_version_is_published_and_no_artefact_stays(climbed):
    recipe, _ = climbed
    assert not [one for one in Registry(recipe.storage).list() if one.name == recipe.name]
    assert not list(Path(recipe.storage).glob(f"models/{recipe.name}/*"))
