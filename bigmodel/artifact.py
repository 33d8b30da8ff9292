"""The artefact: all that answers a text, in one folder, with a digest of every byte."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

import bigmodel
from bigmodel.config import Recipe
from bigmodel.data.batches import by_length, pad
from bigmodel.data.schema import LabelSet
from bigmodel.errors import BigModelError, ModelError, RecipeError
from bigmodel.golden import GOLDEN_TEXTS
from bigmodel.models import build_model
from bigmodel.storage import MANIFEST, Folder, folder
from bigmodel.text.encoder import TextEncoder

FORMAT = 1
GOLDEN_TOLERANCE = 1e-4
_ROWS = 64  # texts scored together


@dataclass(frozen=True)
class Scored:
    """Scores [texts, L] before calibration, and whether each text was cut in length."""

    scores: npt.NDArray[np.float32]
    truncated: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Artifact:
    """Recipe, labels, encoder, weights, calibration and the metrics of the valid split.

    An answer whose best probability is below the `threshold` is no answer. `lineage` says which
    rows it was made from: their `data_id`, `split_id`, and the folder of `prepare`. `digest` is the
    SHA-256 of the manifest, "" before the artefact was saved.
    """

    recipe: Recipe
    labels: LabelSet
    encoder: TextEncoder
    model: nn.Module
    temperature: float = 1.0
    threshold: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, str] = field(default_factory=dict)
    digest: str = ""

    def score(self, texts: Sequence[str]) -> "Scored":
        """Raw texts -> their scores, in order; a text's don't depend on the others."""
        encoded = self.encoder.encode(texts)
        scores = np.zeros((len(texts), len(self.labels)), np.float32)
        self.model.eval()
        with torch.inference_mode():
            for rows in by_length(encoded, _ROWS):
                scores[rows] = self.model(pad(encoded, rows)).numpy()
        return Scored(scores, encoded.truncated)

    def save(self, uri: str) -> str:
        """Write the folder whole or not at all; returns the manifest's SHA-256."""
        golden = _golden(self)
        files = {
            "recipe.json": self.recipe.model_dump_json(by_alias=True, indent=1).encode(),
            "labels.json": _json(self.labels.names),
            "weights.safetensors": save_tensors(self.model.state_dict()),
            "calibration.json": _json(
                {"temperature": self.temperature, "threshold": self.threshold}
            ),
            "metrics.json": _json(self.metrics),
            "lineage.json": _json(self.lineage),
            "golden.json": _json(golden),
        }
        files |= {f"encoder/{name}": data for name, data in self.encoder.files().items()}
        manifest = _manifest(files)
        place = folder(uri)
        if not place.local:
            place.remove()  # an object store can't exchange one for another at once
        with place.fresh() as target:
            for name, data in files.items():
                target.write(name, data)
            target.write(MANIFEST, _json(manifest))
        return str(manifest["sha256"])

    @classmethod
    def load(cls, uri: str, *, digest: str | None = None) -> "Artifact":
        """Verify every byte, then parse, then replay the golden texts; ModelError otherwise.

        `digest`: what the registry holds; a whole artefact that was exchanged is found by it.
        """
        files, found = _verified(folder(uri), digest)
        try:
            artifact = _parse(files, found)
            _replay(artifact, json.loads(files["golden.json"]))
        except BigModelError as error:
            raise ModelError(f"{uri}: {error}") from None
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"{uri}: written by another release of bigmodel ({error}); train the model again"
            ) from None
        return artifact


def _parse(files: dict[str, bytes], digest: str) -> Artifact:
    recipe = Recipe.model_validate_json(files["recipe.json"])
    labels = LabelSet(tuple(json.loads(files["labels.json"])))
    parts = {n.removeprefix("encoder/"): b for n, b in files.items() if n.startswith("encoder/")}
    encoder = TextEncoder.from_files(parts)
    model = build_model(recipe.model, num_ids=encoder.num_ids, num_labels=len(labels))
    model.load_state_dict(load_tensors(files["weights.safetensors"]))
    calibration = json.loads(files["calibration.json"])
    return Artifact(
        recipe,
        labels,
        encoder,
        model.eval(),
        temperature=calibration["temperature"],
        threshold=calibration["threshold"],
        metrics=json.loads(files["metrics.json"]),
        lineage=json.loads(files["lineage.json"]),
        digest=digest,
    )


def _manifest(files: dict[str, bytes]) -> dict[str, Any]:
    packages = ("torch", "numpy", "safetensors", "rjieba", "jieba")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "versions": {
            "bigmodel": bigmodel.__version__,
            **{package: importlib.metadata.version(package) for package in packages},
        },
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(files.items())
        },
    }
    return manifest | {"sha256": _digest(manifest)}


def _digest(manifest: dict[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _verified(place: Folder, digest: str | None) -> tuple[dict[str, bytes], str]:
    """The bytes of every file, each equal to what the manifest says, and the manifest's digest."""
    manifest = _read_manifest(place)
    found = str(manifest["sha256"])
    if digest is not None and digest != found:
        raise ModelError(
            f"{place.uri}: the registry knows this version with SHA-256 {digest[:12]}…, the folder "
            f"has {found[:12]}…; somebody exchanged it: publish it again or restore it"
        )
    listed: dict[str, dict[str, Any]] = manifest["files"]
    names = set(place.names()) - {MANIFEST}
    if missing := sorted(set(listed) - names):
        raise ModelError(
            f"{place.uri}: {missing[0]} is missing; restore the artefact or train again"
        )
    if extra := sorted(names - set(listed)):
        raise ModelError(f"{place.uri}: {extra[0]} isn't in the manifest; remove it")
    files = {}
    for name, about in listed.items():
        files[name] = _read(place, name)
        actual = hashlib.sha256(files[name]).hexdigest()
        if actual != about["sha256"]:
            raise ModelError(
                f"{place.uri}: {name} is damaged: {len(files[name])} bytes with SHA-256 "
                f"{actual[:12]}…, expected {about['bytes']} with {about['sha256'][:12]}…; "
                "restore it or train again"
            )
    return files, found


def _read(place: Folder, name: str) -> bytes:
    """A file's bytes; ModelError for a link, or what else isn't a file that can be read."""
    if place.local and ((place.local / name).is_symlink() or not place.exists(name)):
        raise ModelError(f"{place.uri}: {name} is a link or no plain file; restore the artefact")
    try:
        return place.read(name)
    except (OSError, RecipeError) as error:
        raise ModelError(
            f"{place.uri}: can't read {name} ({error}); restore the artefact or train again"
        ) from None


def _read_manifest(place: Folder) -> dict[str, Any]:
    if not place.exists(MANIFEST):
        what = "half-written: no manifest.json" if place.names() else "no such artefact"
        raise ModelError(f"{place.uri}: {what}; name a finished one, or train again")
    raw = _read(place, MANIFEST)
    try:
        manifest = json.loads(raw)
        listed = all({"bytes", "sha256"} <= set(about) for about in manifest["files"].values())
        whole = listed and _digest(manifest) == manifest["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ModelError(f"{place.uri}: manifest.json is damaged; restore it or train again")
    if manifest.get("format") != FORMAT:
        raise ModelError(
            f"{place.uri}: format {manifest.get('format')}, this release reads {FORMAT}; "
            "use the release that wrote it, or train again"
        )
    return dict(manifest)


def _golden(artifact: Artifact) -> dict[str, Any]:
    cut = artifact.encoder.segmenter.cut
    texts = [*GOLDEN_TEXTS, *artifact.encoder.segmenter.own_words()]
    encoded = artifact.encoder.encode(texts)
    bounds = zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    return {
        "texts": texts,
        "tokens": [cut(artifact.encoder.normalizer(text)) for text in texts],
        "ids": [encoded.ids[start:end].tolist() for start, end in bounds],
        "scores": artifact.score(texts).scores.tolist(),
    }


def _replay(artifact: Artifact, expected: dict[str, Any]) -> None:
    """ModelError where this machine doesn't give the answers that the artefact was sealed with."""
    found = _golden(artifact)
    for part in ("texts", "tokens", "ids"):
        if found[part] != expected[part]:
            raise ModelError(
                f"this machine makes other {part} of the golden texts than the one that "
                "trained the model; install the versions in its manifest.json"
            )
    gap = np.abs(np.subtract(found["scores"], expected["scores"])).max()
    if not gap <= GOLDEN_TOLERANCE:
        raise ModelError(
            f"the golden texts score {gap:.2g} away from what they did at training "
            f"(at most {GOLDEN_TOLERANCE:g} is allowed); install the versions in its manifest.json"
        )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
