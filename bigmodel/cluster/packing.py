"""What a submitted job takes along: our packages, the recipe, and the small files beside it."""

import json
import os
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bigmodel
from bigmodel.cluster import uploads
from bigmodel.cluster.uploads import Upload
from bigmodel.config import Recipe
from bigmodel.data.files import files_of
from bigmodel.errors import DataError, RecipeError
from bigmodel.recipe import check_secrets, load_recipe, merge, parse_override

PACKAGES = ("bigmodel", "jobs", "serve")
LARGEST_FILE = 10_000_000
LARGEST_IN_ALL = 500_000_000
"""A little less than what Ray takes, 512 MiB."""
FOLDER = "recipe"
ADVICE = (
    "let it go to the storage with --upload-data, or give a URI that the cluster can read: s3://…, "
    "or file:///mnt/… on a disk that all its machines share"
)
NAMED = 5
"""Files that are named one by one where it is said what travels."""


@dataclass(frozen=True)
class Luggage:
    """The arguments of the job there, and what they name: path in the upload -> file here.

    `uploads` are too large for that, and go to the storage first.
    """

    name: str
    arguments: tuple[str, ...]
    files: Mapping[str, Path]
    uploads: tuple[Upload, ...] = ()


def pack_recipe(
    path: str, overrides: Sequence[str], storage: str | None, *, upload_data: bool = False
) -> Luggage:
    """A recipe and the data files in its folder; RecipeError for what can't travel.

    With `upload_data` other data files are to be uploaded, and the recipe there names them so.
    """
    recipe = load_recipe(path, overrides, storage=storage)
    root = written_storage(path, overrides, storage)
    check_storage(root)
    file = Path(path).resolve()
    files, sent, settings = {f"{FOLDER}/{file.name}": file}, list[Upload](), list(overrides)
    for key, paths in local_files(recipe).items():
        places = []
        for one in paths:
            beside = _files_beside(file, one, key, upload_data=upload_data)
            if beside is None:
                place, more = uploads.plan(root, [Path(found) for found in files_of(one)])
                sent += more
            else:
                place = _place(file, one)
                files |= beside
            places.append(place)
        settings.append(f"{key}={_value(recipe, key, places)}")
    flags = [part for setting in settings for part in ("--set", setting)]
    arguments = (f"{FOLDER}/{file.name}", *flags, "--storage", root)
    return Luggage(recipe.name, arguments, files, tuple(sent))


def _value(recipe: Recipe, key: str, places: Sequence[str]) -> str:
    """Of a key that names files, as TOML: in a list the weights stay with their paths."""
    written = [json.dumps(place, ensure_ascii=False) for place in places]
    if key == "data.train":
        weights = [one.weight for one in recipe.data.train]
        return f"[{', '.join(map('{{path = {}, weight = {}}}'.format, written, weights))}]"
    if key == "data.unlabelled":
        return f"[{', '.join(map('{{path = {}}}'.format, written))}]"
    return written[0]


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


def check_size(folder: Path) -> None:
    """RecipeError for a staged folder that Ray wouldn't take."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LARGEST_IN_ALL:
        raise RecipeError(
            f"what travels with the job has {size / 1e6:,.0f} MB, and Ray takes at most "
            f"{LARGEST_IN_ALL / 1e6:,.0f}; give the data as a URI such as s3://…, or let larger "
            "files go to the storage with --upload-data"
        )


def travels(luggage: Luggage, folder: Path) -> str:
    """What is staged in a folder: "bigmodel 1.1 MB in 190 files, reviews.csv 1.3 MB"."""
    code = [path for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file()]
    said = [f"bigmodel {_megabytes(code)} in {len(code)} files"]
    files = list(luggage.files.values())
    said += [f"{file.name} {_megabytes([file])}" for file in files[:NAMED]]
    if more := files[NAMED:]:
        said.append(f"{len(more)} more files {_megabytes(more)}")
    return ", ".join(said)


def _megabytes(files: Sequence[Path]) -> str:
    size = sum(file.stat().st_size for file in files)
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size / 1e3:.1f} kB"


def _place(recipe: Path, path: str) -> str:
    """Where a path of this recipe is there; a URI is where it was."""
    return path if "://" in path else f"{FOLDER}/{os.path.relpath(path, recipe.parent)}"


def _files_beside(
    recipe: Path, path: str, key: str, *, upload_data: bool
) -> dict[str, Path] | None:
    """What of a file, glob or folder travels; None where it is to be uploaded, an error where it
    can't be either."""
    if "://" in path:
        return {}
    found = [Path(one) for one in files_of(path)]
    for file in found:
        if reason := _stays(recipe, file, key):
            if upload_data and key.startswith("data."):
                return None
            raise RecipeError(reason)
    return {_place(recipe, str(file)): file for file in found}


def _stays(recipe: Path, file: Path, key: str) -> str:
    """Why a file doesn't travel, "" where it does; DataError where there is none."""
    if not file.is_file():
        raise DataError(f"{file}: no such file ({key})")
    to_storage = key.startswith("data.")
    inside = Path(os.path.abspath(file)).is_relative_to(recipe.parent)
    if not (inside and file.resolve().is_relative_to(recipe.parent)):
        return (
            f"{key} = {file} lies outside the recipe's folder and doesn't travel with the job; "
            f"put it beside {recipe.name} (up to 10 MB)" + (f", {ADVICE}" if to_storage else "")
        )
    if file.stat().st_size > LARGEST_FILE:
        return (
            f"{key} = {file} has {file.stat().st_size / 1e6:.1f} MB, and a file that travels with "
            f"the job at most 10; {ADVICE if to_storage else 'make it smaller'}"
        )
    return ""
