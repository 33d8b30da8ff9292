"""The model versions that one replica answers with, by name; each can be exchanged at any time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve.batching import MicroBatch

if TYPE_CHECKING:
    from bigmodel.predictor import Predictor

IN_THE_LOOP = ("linear", "bag")
"""Kinds so light that a batch may hold up the event loop; the others have a thread, and so has a
GPU, which is waited for."""


@dataclass(frozen=True, eq=False)
class Served:
    """One version of a model that answers. Whoever holds it has one version: of its batches, of
    its labels, and in its answer."""

    name: str
    version: str
    digest: str
    predictor: "Predictor"
    batch: MicroBatch

    @classmethod
    def of(
        cls, predictor: "Predictor", *, name: str, version: str, digest: str, on_gpu: bool = False
    ) -> "Served":
        """With batches that suit the model's kind and place; may be made in any thread."""
        threaded = on_gpu or predictor.artifact.recipe.model.kind not in IN_THE_LOOP
        batch = MicroBatch(predictor, threaded=threaded)
        return cls(name, version, digest, predictor, batch)


class Models:
    """What is served, by name; the first model that ever came is the default."""

    def __init__(self, served: Iterable[Served] = ()) -> None:
        self._served = {each.name: each for each in served}

    @property
    def default(self) -> Served | None:
        """What `/v1/classify` answers with; None before any model came."""
        return next(iter(self._served.values()), None)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._served)

    def get(self, name: str) -> Served | None:
        return self._served.get(name)

    def put(self, served: Served) -> None:
        """Exchange one reference, from any thread; requests that hold the old one end with it."""
        self._served = {**self._served, served.name: served}

    def remove(self, name: str) -> None:
        """Answer no more to that name; nothing happens where it is unknown."""
        self._served = {key: value for key, value in self._served.items() if key != name}
