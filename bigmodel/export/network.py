"""An artefact as an ONNX network with its labels and encoder, compared with torch before it is
written.
"""

import hashlib
import importlib.metadata
import importlib.resources
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import bigmodel
from bigmodel.artifact import Artifact
from bigmodel.data.batches import Batch, pad
from bigmodel.errors import ModelError, RecipeError
from bigmodel.export.plain import Network
from bigmodel.golden import GOLDEN_TEXTS
from bigmodel.metrics import softmax
from bigmodel.storage import MANIFEST, Folder, folder

TOLERANCE = 1e-5
"""How far a probability may be off, and a score in parts of itself where it is above 1."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MOST_BYTES = 2**31 - 2**20  # a file of protocol buffers ends at 2 GiB, and the graph needs some
_SIZES = ((1, 1), (1, 40), (2, 7), (7, 1), (33, 120), (64, 300))  # texts, most ids of one


@dataclass(frozen=True)
class Exported:
    """What `export` wrote and where; `gap` is the largest difference from torch, over `texts`."""

    uri: str
    files: dict[str, int]
    texts: int
    gap: float


def export(artifact: Artifact, uri: str, *, model: str) -> Exported:
    """Write the folder whole or not at all; `model` is what it is called there.

    RecipeError where the packages aren't installed or the folder holds something, ModelError where
    the network can't be written in ONNX or says something else there.
    """
    check_packages("--format onnx")
    place = folder(uri)
    _check_empty(place)
    network = to_onnx(artifact)
    texts, gap = compare(artifact, network)
    files = {
        "model.onnx": network,
        "labels.json": _json(artifact.labels.names),
        "predict.py": importlib.resources.files(__package__).joinpath("example.py").read_bytes(),
    }
    files |= {f"encoder/{name}": data for name, data in artifact.encoder.files().items()}
    about = {
        "format": "onnx",
        "model": model,
        "sha256": artifact.digest,
        "temperature": artifact.temperature,
        "threshold": artifact.threshold,
        "compared": {"texts": texts, "largest_difference": gap},
        "versions": {"bigmodel": bigmodel.__version__, **_versions("torch", *PACKAGES)},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    with place.fresh() as target:
        for name, data in files.items():
            target.write(name, data)
        target.write(MANIFEST, _json(about))
    return Exported(place.uri, {name: len(data) for name, data in files.items()}, texts, gap)


def to_onnx(artifact: Artifact) -> bytes:
    """The network as one ONNX file: any number of texts, any length; the labels in its metadata."""
    kind = artifact.recipe.model.kind
    weights = sum(value.nbytes for value in artifact.model.state_dict().values())
    if weights > MOST_BYTES:
        raise ModelError(
            f"the weights have {weights / 1e9:.1f} GB and an ONNX file holds 2; train with a "
            f"higher model.{kind}.min_count, or serve the model with: bigmodel serve"
        )
    network = Network(artifact.model.eval(), artifact.temperature).eval()
    batch = next(_random_batches(artifact, sizes=((3, 5),)))
    texts, length, ngrams = map(torch.export.Dim, ("texts", "length", "ngrams"))
    inputs = inputs_of(batch)
    sizes = {name: (texts, ngrams if name.startswith("ngram") else length) for name in inputs}
    with _quiet():
        try:
            program: Any = torch.onnx.export(
                network,
                kwargs=inputs,
                dynamo=True,
                dynamic_shapes=sizes,
                input_names=list(inputs),
                output_names=["scores", "probabilities"],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise _refused(kind, _first_line(error)) from error
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where its code stood on this machine
    labels = json.dumps(artifact.labels.names, ensure_ascii=False)
    program.model.metadata_props["labels"] = labels
    return bytes(program.model_proto.SerializeToString())


def compare(artifact: Artifact, network: bytes) -> tuple[int, float]:
    """How many texts were answered by both, and the largest difference; ModelError above 1e-5.

    The golden texts, alone and together, and random ids in batches of several sizes.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    texts, largest = 0, 0.0
    for batch in (*_golden_batches(artifact), *_random_batches(artifact)):
        inputs = {name: value.numpy() for name, value in inputs_of(batch).items()}
        scores, probabilities = session.run(["scores", "probabilities"], inputs)
        with torch.inference_mode():
            expected = artifact.model(batch).numpy()
        off = np.abs(scores - expected) / np.maximum(1, np.abs(expected))
        off = np.maximum(off, np.abs(probabilities - softmax(expected, artifact.temperature)))
        if not off.max() <= TOLERANCE:
            raise _refused(
                artifact.recipe.model.kind,
                f"{batch.ids.shape[0]} texts of {batch.ids.shape[1]} ids score {off.max():.2g} "
                f"away from torch, at most {TOLERANCE:g} is allowed",
            )
        texts, largest = texts + len(expected), max(largest, float(off.max()))
    return texts, largest


def _golden_batches(artifact: Artifact) -> Iterator[Batch]:
    texts = [*GOLDEN_TEXTS, *artifact.encoder.segmenter.own_words()]
    encoded = artifact.encoder.encode(texts)
    yield pad(encoded, np.arange(len(texts)))
    for row in range(len(texts)):
        yield pad(encoded, np.array([row]))


def _random_batches(
    artifact: Artifact, *, sizes: tuple[tuple[int, int], ...] = _SIZES
) -> Iterator[Batch]:
    """Texts of random ids and lengths, of several the first empty; the values of one have length
    1, as those of the encoder.
    """
    draw = np.random.default_rng(0)
    encoder, model = artifact.encoder, artifact.recipe.model
    for rows, longest in sizes:
        ids, values = _random_ids(draw, rows, longest, num_ids=encoder.num_ids)
        if model.of_words:
            values = None
        ngrams = None
        if encoder.num_ngrams:
            ngrams = Batch(*_random_ids(draw, rows, longest + 3, num_ids=encoder.num_ngrams))
        yield Batch(ids, values, ngrams)


def _random_ids(
    draw: np.random.Generator, rows: int, longest: int, *, num_ids: int
) -> tuple[Tensor, Tensor | None]:
    last = num_ids - 1  # 0 where no n-gram was frequent enough
    lengths = draw.integers(1, longest, rows, endpoint=True)
    lengths[-1], lengths[0] = longest, 0 if rows > 1 else longest
    inside = np.arange(longest) < lengths[:, None]
    ids = np.where(inside, draw.integers(min(1, last), last, inside.shape, endpoint=True), 0)
    values = np.where(inside, draw.random(inside.shape), 0)
    values /= np.maximum(np.sqrt((values**2).sum(1, keepdims=True)), 1e-9)
    return torch.from_numpy(ids), torch.from_numpy(values.astype(np.float32))


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """By the names they have in the network."""
    found = {"ids": batch.ids, "values": batch.values}
    if batch.ngrams is not None:
        found |= {"ngram_ids": batch.ngrams.ids, "ngram_values": batch.ngrams.values}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def check_packages(asked: str) -> None:
    """RecipeError for what isn't installed; `asked` is who needs it, as the user wrote it."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"{asked} needs {' and '.join(missing)}, which isn't installed; "
            "install it with: pip install 'bigmodel[onnx]'"
        )


def _check_empty(place: Folder) -> None:
    if place.local and place.local.exists() and not place.local.is_dir():
        raise RecipeError(f"{place.uri}: is a file; name a new or an empty folder")
    if found := place.names():
        raise RecipeError(f"{place.uri}: holds {found[0]} already; name a new or an empty folder")


def _refused(kind: str, why: str) -> ModelError:
    return ModelError(
        f"a model of kind {kind} can't be exported to ONNX: {why}; serve it with: bigmodel serve"
    )


def _first_line(error: Exception) -> str:
    said: BaseException = error.__cause__ or error
    return str(said).strip().partition("\n")[0].rstrip(".") or type(said).__name__


def _versions(*packages: str) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says about itself."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch's own use of its trees; and that both inputs have the same sizes
            warnings.filterwarnings("ignore", r"`isinstance\(treespec", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name", UserWarning)
            yield
    finally:
        log.setLevel(level)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
