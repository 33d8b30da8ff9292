"""What a submitted job takes along: our packages, the recipe, and the small files beside it."""

import json
import os
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bigmodel
from bigmodel.config import Recipe
from bigmodel.data.files import files_of
from bigmodel.errors import DataError, RecipeError
from bigmodel.recipe import check_secrets, load_recipe, merge, parse_override

PACKAGES = ("bigmodel", "jobs", "serve")
LARGEST_FILE = 10_000_000
FOLDER = "recipe"


@dataclass(frozen=True)
class Luggage:
    """The arguments of the job there, and what they name: path in the upload -> file here."""

    name: str
    arguments: tuple[str, ...]
    files: Mapping[str, Path]


def pack_recipe(path: str, overrides: Sequence[str], storage: str | None) -> Luggage:
    """A recipe and the data files in its folder; RecipeError for what can't travel."""
    recipe = load_recipe(path, overrides, storage=storage)
    root = written_storage(path, overrides, storage)
    check_storage(root)
    file = Path(path).resolve()
    files, settings = {f"{FOLDER}/{file.name}": file}, list(overrides)
    for key, paths in local_files(recipe).items():
        for path in paths:
            files |= _files_beside(file, path, key)
        places = [json.dumps(_place(file, path), ensure_ascii=False) for path in paths]
        if key == "data.train":
            weights = [one.weight for one in recipe.data.train]
            tables = map("{{path = {}, weight = {}}}".format, places, weights)
            places = [f"[{', '.join(tables)}]"]
        elif key == "data.unlabelled":
            places = [f"[{', '.join(map('{{path = {}}}'.format, places))}]"]
        settings.append(f"{key}={places[0]}")
    flags = [part for setting in settings for part in ("--set", setting)]
    return Luggage(recipe.name, (f"{FOLDER}/{file.name}", *flags, "--storage", root), files)


def pack_model(model: str, storage: str | None, *, deployed: bool = False) -> Luggage:
    """`name@alias`, or an artefact where the cluster can find it; no files. What is `deployed`
    there has a name alone."""
    root = written_storage(None, (), storage)
    check_storage(root)
    if not (deployed or "@" in model or is_shared(model)):
        raise RecipeError(
            f"{model} is a folder relative to this one, which the cluster doesn't have; "
            "give name@version, an absolute path on a shared disk, or a URI such as s3://…"
        )
    return Luggage(model.partition("@")[0].rpartition("/")[2], (model, "--storage", root), {})


def local_files(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """The paths at the keys that name files of this machine, globs and folders as they stand."""
    named = {
        "data.train": tuple(one.path for one in recipe.data.train),
        "data.unlabelled": tuple(one.path for one in recipe.data.unlabelled),
        "data.valid": (recipe.data.valid,),
        "data.test": (recipe.data.test,),
        "data.corrections": (recipe.data.corrections,),
        "text.user_dictionary": (recipe.text.user_dictionary,),
        "text.stop_words": (recipe.text.stop_words,),
    }
    found = {key: tuple(path for path in paths if path) for key, paths in named.items()}
    return {key: paths for key, paths in found.items() if any("://" not in path for path in paths)}


def written_storage(path: str | None, overrides: Sequence[str], storage: str | None) -> str:
    """`storage` as its author wrote it, in a recipe or without one, before it is made absolute."""
    tree = tomllib.loads(Path(path).read_text(encoding="utf-8-sig")) if path else {}
    if environment := os.environ.get("BIGMODEL_STORAGE"):
        tree["storage"] = environment
    for override in overrides:
        merge(tree, parse_override(override))
    return str(storage or tree.get("storage") or "./storage")


def check_storage(root: str) -> None:
    """RecipeError where a submitted job's results would end with the job's own folder."""
    check_secrets(root)
    if not is_shared(root):
        raise RecipeError(
            f"storage is {root}, which for a submitted job would lie in a temporary folder of the "
            "cluster; give --storage an absolute path on a shared disk, or a URI such as s3://…"
        )


def is_shared(path: str) -> bool:
    """May this path mean the same on another machine?"""
    return "://" in path or os.path.isabs(path)


def stage(luggage: Luggage, folder: Path) -> None:
    """Lay everything that travels into an empty folder, the future working directory."""
    root = Path(bigmodel.__file__).parents[1]
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "recipes")
        shutil.copytree(root / package, folder / package, ignore=ignored)
    for there, file in luggage.files.items():
        (folder / there).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / there)


def _place(recipe: Path, path: str) -> str:
    """Where a path of this recipe is there; a URI is where it was."""
    return path if "://" in path else f"{FOLDER}/{os.path.relpath(path, recipe.parent)}"


def _files_beside(recipe: Path, path: str, key: str) -> dict[str, Path]:
    """What of a file, glob or folder travels; an error where some of it can't."""
    if "://" in path:
        return {}
    found = [Path(one) for one in files_of(path)]
    for file in found:
        _check_beside(recipe, file, key)
    return {_place(recipe, str(file)): file for file in found}


def _check_beside(recipe: Path, file: Path, key: str) -> None:
    advice = "give a URI that the cluster can read, such as s3://…"
    if not file.is_file():
        raise DataError(f"{file}: no such file ({key})")
    inside = Path(os.path.abspath(file)).is_relative_to(recipe.parent)
    if not (inside and file.resolve().is_relative_to(recipe.parent)):
        raise RecipeError(
            f"{key} = {file} lies outside the recipe's folder and doesn't travel with the job; "
            f"put it beside {recipe.name} (up to 10 MB), or {advice}"
        )
    if file.stat().st_size > LARGEST_FILE:
        raise RecipeError(
            f"{key} = {file} has {file.stat().st_size / 1e6:.1f} MB, and a file that travels with "
            f"the job at most 10; {advice}"
        )
