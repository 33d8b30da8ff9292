"""Sealed folders: files with a manifest of their sizes and SHA-256, verified before any is parsed.

The manifest is written last, and its own SHA-256 stands in it; there is no pickle anywhere.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import bigmodel
from bigmodel.errors import ModelError, RecipeError
from bigmodel.storage import MANIFEST, Folder

FORMAT = 1
PACKAGES = ("torch", "numpy", "safetensors", "rjieba", "jieba")
_MOST_BYTES = 1 << 20  # of a manifest; what is larger isn't one, and isn't read


def seal(place: Folder, files: Mapping[str, bytes]) -> str:
    """Write the files and then their manifest; returns the manifest's SHA-256."""
    made = manifest(files)
    for name, data in files.items():
        place.write(name, data)
    place.write(MANIFEST, json.dumps(made, ensure_ascii=False, indent=1).encode())
    return str(made["sha256"])


def manifest(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What stands in the manifest of these files."""
    about: dict[str, Any] = {
        "format": FORMAT,
        "versions": {
            "bigmodel": bigmodel.__version__,
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(files.items())
        },
    }
    return about | {"sha256": _digest(about)}


def verified(
    place: Folder, *, what: str, remedy: str, digest: str | None = None
) -> tuple[dict[str, bytes], str]:
    """(the bytes of every file, each as the manifest says, the manifest's SHA-256).

    ModelError for anything else, with `what` the folder is and the `remedy` at its end. `digest`:
    the manifest's SHA-256 as the registry holds it.
    """
    about = _read_manifest(place, what, remedy)
    found = str(about["sha256"])
    if digest is not None and digest != found:
        raise ModelError(
            f"{place.uri}: the registry knows this version with SHA-256 {digest[:12]}…, the folder "
            f"has {found[:12]}…; somebody exchanged it: publish it again or restore it"
        )
    listed: dict[str, dict[str, Any]] = about["files"]
    sizes = place.sizes()
    if missing := sorted(set(listed) - set(sizes)):
        raise ModelError(f"{place.uri}: {missing[0]} is missing; {remedy}")
    if extra := sorted(set(sizes) - {MANIFEST, *listed}):
        raise ModelError(f"{place.uri}: {extra[0]} isn't in the manifest; remove it")
    for name, expected in listed.items():  # before any is read: one may have grown to gigabytes
        if sizes[name] != expected["bytes"] and _plain(place, name, remedy):
            raise ModelError(
                f"{place.uri}: {name} is damaged: {sizes[name]} bytes, expected "
                f"{expected['bytes']} with {expected['sha256'][:12]}…; {remedy}"
            )
    files = {name: _read(place, name, remedy) for name in listed}
    for name, expected in listed.items():
        actual = hashlib.sha256(files[name]).hexdigest()
        if actual != expected["sha256"]:
            raise ModelError(
                f"{place.uri}: {name} is damaged: {len(files[name])} bytes with SHA-256 "
                f"{actual[:12]}…, expected {expected['bytes']} with {expected['sha256'][:12]}…; "
                f"{remedy}"
            )
    return files, found


def _digest(about: Mapping[str, Any]) -> str:
    body = {key: value for key, value in about.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _plain(place: Folder, name: str, remedy: str) -> bool:
    """True; ModelError for a link, or what else isn't a file that can be read."""
    if place.local and ((place.local / name).is_symlink() or not place.exists(name)):
        raise ModelError(f"{place.uri}: {name} is a link or no plain file; {remedy}")
    return True


def _read(place: Folder, name: str, remedy: str) -> bytes:
    _plain(place, name, remedy)
    try:
        return place.read(name)
    except (OSError, RecipeError) as error:
        raise ModelError(f"{place.uri}: can't read {name} ({error}); {remedy}") from None


def _read_manifest(place: Folder, what: str, remedy: str) -> dict[str, Any]:
    if not place.exists(MANIFEST):
        if place.names():
            raise ModelError(f"{place.uri}: half-written: no {MANIFEST}; {remedy}")
        raise ModelError(f"{place.uri}: no such {what}; name a finished one, or train again")
    size = place.sizes()[MANIFEST]
    raw = _read(place, MANIFEST, remedy) if size <= _MOST_BYTES else b""
    try:
        about = json.loads(raw)
        listed = all(dict(file).keys() >= {"bytes", "sha256"} for file in about["files"].values())
        whole = listed and _digest(about) == about["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ModelError(f"{place.uri}: {MANIFEST} is damaged; {remedy}")
    if about.get("format") != FORMAT:
        raise ModelError(
            f"{place.uri}: format {about.get('format')}, this release reads {FORMAT}; "
            "use the release that wrote it, or train again"
        )
    return dict(about)
