"""Answers texts with this folder alone, as in: python predict.py 很好 太差了.

Needs bigmodel (for its text encoder), onnxruntime and numpy; torch is never loaded.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from bigmodel.text.encoder import TextEncoder
from bigmodel.text.features import Encoded

HERE = Path(__file__).parent


class Model:
    """The encoder, the labels and the network of a folder that `bigmodel export` wrote."""

    def __init__(self, folder: Path = HERE) -> None:
        parts = (folder / "encoder").iterdir()
        self.encoder = TextEncoder.from_files({part.name: part.read_bytes() for part in parts})
        self.labels: list[str] = json.loads((folder / "labels.json").read_bytes())
        about = json.loads((folder / "manifest.json").read_bytes())
        self.threshold: float = about["threshold"] or 0.0  # of an answer that is sure enough
        self.network = onnxruntime.InferenceSession(folder / "model.onnx")

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Of every label [N, L], for each of one or more texts."""
        found: Any = self.network.run(["probabilities"], padded(self.encoder.encode(texts)))
        return np.asarray(found[0])


def padded(encoded: Encoded, *, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
    """The network's inputs [N, T]: `ids`, and `values` where ids have weights; 0 where padded.

    A network that reads n-grams beside words takes those too, as `ngram_ids` and `ngram_values`.
    """
    lengths = np.diff(encoded.offsets)
    inside = np.arange(max(1, lengths.max())) < lengths[:, None]
    inputs: dict[str, npt.NDArray[Any]] = {f"{prefix}ids": np.zeros(inside.shape, np.int64)}
    inputs[f"{prefix}ids"][inside] = encoded.ids
    if encoded.values is not None:
        inputs[f"{prefix}values"] = np.zeros(inside.shape, np.float32)
        inputs[f"{prefix}values"][inside] = encoded.values
    if encoded.ngrams is not None:
        inputs |= padded(encoded.ngrams, prefix="ngram_")
    return inputs


def main() -> None:
    texts = sys.argv[1:]
    if not texts:
        sys.exit("give one or more texts, as in: python predict.py 很好")
    model = Model()
    for text, row in zip(texts, model.probabilities(texts), strict=True):
        sure = row.max() >= model.threshold
        print(f"{row.max():.4f}\t{model.labels[row.argmax()] if sure else '?'}\t{text}")


if __name__ == "__main__":
    main()
