"""One artefact's answers to very many texts, over all cores and machines."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel import progress
from bigmodel.artifact import Artifact
from bigmodel.data.ahead import ahead
from bigmodel.data.read import Piece
from bigmodel.evaluation.labelling import Labeller, Labelling, Numbered, Part
from bigmodel.metrics import Scores
from bigmodel.predictor import Predictor

MANY = 100_000
"""Texts from which on the start of Ray and of its processes pays for itself."""
_BATCH = 4096


def answer_everywhere(uri: str, digest: str, texts: Sequence[str]) -> Scores:
    """Probabilities [N, L] as of `Predictor.probabilities`, in the order of the texts.

    Each CPU of the Ray session that is open loads the artefact once.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    DataContext.get_current().enable_progress_bars = False
    table = pa.table({"place": np.arange(len(texts)), "text": pa.array(texts, pa.string())})
    blocks = [table.slice(start, _BATCH) for start in range(0, len(table), _BATCH)]
    size = min(len(blocks), max(1, int(ray.cluster_resources().get("CPU", 1))))
    answered = ray.data.from_arrow(blocks).map_batches(
        _Answering,
        fn_constructor_args=(uri, digest),
        batch_size=None,
        compute=ActorPoolStrategy(size=size),
        num_cpus=1,
    )
    parts, places = [], []
    with progress.stage("evaluate", total=len(texts)) as stage:
        done = 0
        for batch in answered.iter_batches(batch_size=None, batch_format="numpy"):
            parts.append(batch["probabilities"])
            places.append(batch["place"])
            done += len(batch["place"])
            stage.update(done=done)
    return np.asarray(np.concatenate(parts)[np.argsort(np.concatenate(places))])


def label_everywhere(uri: str, digest: str) -> Labeller:
    """For `label_file`: the pieces on all CPUs of the open session, each in a task of its own.

    Plain tasks, not Ray Data: the parts come back in order, a few at a time, and those of a run
    that was stopped needn't be made again.
    """
    import ray

    def part_of(labelling: Labelling, piece: Piece) -> Part:
        return labelling.part(_loaded(uri, digest), piece)

    def label(labelling: Labelling, pieces: Iterable[Numbered]) -> Iterator[tuple[int, Part]]:
        task = ray.remote(num_cpus=1)(part_of)
        tasks = ((number, task.remote(labelling, piece)) for number, piece in pieces)
        for number, part in ahead(tasks):
            yield number, ray.get(part)

    return label


@lru_cache(maxsize=1)
def _loaded(uri: str, digest: str) -> Predictor:
    """Once a process."""
    import torch

    torch.set_num_threads(1)
    return Predictor(Artifact.load(uri, digest=digest))


class _Answering:
    """What one process does: the artefact, loaded once, and batch after batch."""

    def __init__(self, uri: str, digest: str) -> None:
        self._predictor = _loaded(uri, digest)

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        probabilities = self._predictor.probabilities(batch["text"].tolist())
        return {"place": batch["place"], "probabilities": probabilities}
