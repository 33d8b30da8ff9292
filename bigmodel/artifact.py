"""The artefact: all that answers a text, in one folder, with a digest of every byte."""

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

from bigmodel.config import Recipe
from bigmodel.data.batches import by_length, pad
from bigmodel.data.schema import LabelSet
from bigmodel.errors import BigModelError, ModelError
from bigmodel.golden import GOLDEN_TEXTS
from bigmodel.manifest import seal, verified
from bigmodel.models import build_model
from bigmodel.storage import folder
from bigmodel.text.encoder import TextEncoder

GOLDEN_TOLERANCE = 1e-4
_ROWS = 64  # texts scored together
_REMEDY = "restore the artefact or train again"


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
        place = folder(uri)
        if not place.local:
            place.remove()  # an object store can't exchange one for another at once
        with place.fresh() as target:
            return seal(target, files)

    @classmethod
    def load(cls, uri: str, *, digest: str | None = None) -> "Artifact":
        """Verify every byte, then parse, then replay the golden texts; ModelError otherwise.

        `digest`: what the registry holds; a whole artefact that was exchanged is found by it.
        """
        files, found = verified(folder(uri), what="artefact", remedy=_REMEDY, digest=digest)
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
    model = build_model(
        recipe.model,
        num_ids=encoder.num_ids,
        num_labels=len(labels),
        num_ngrams=encoder.num_ngrams,
    )
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
