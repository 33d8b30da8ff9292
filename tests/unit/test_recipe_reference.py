"""The recipe's page and schema say what the code says."""

import json
import re
import runpy
import tomllib
from pathlib import Path

import jsonschema
import pytest

from bigmodel.recipe import make_recipe

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "recipe.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["recipe.md", "recipe.schema.json"])
def test_the_committed_files_are_what_the_fields_say(name: str) -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == made[name], "run: make docs"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "jobs" / "recipes").glob("*.toml")), ids=lambda path: path.name
)
def test_the_shipped_recipes_follow_the_schema(path: Path) -> None:
    jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), SCHEMA)


def test_the_schema_finds_what_an_editor_should_underline() -> None:
    checker = jsonschema.Draft202012Validator(SCHEMA)
    wrong = {"name": "reviews", "data": {"train": "评论.csv"}, "train": {"epoch": 3, "epochs": 0}}
    assert sorted(error.validator for error in checker.iter_errors(wrong)) == [
        "additionalProperties",
        "exclusiveMinimum",
    ]


def test_every_toml_example_on_the_page_is_a_recipe() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    examples = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", page, re.S)]
    assert len(examples) == 2
    for example in examples:
        make_recipe({"name": "reviews", "data": {"train": "评论.csv"}} | example, "docs/recipe.md")
