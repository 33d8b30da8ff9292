"""How a replica comes to what is wanted of it: one thread loads, checks and exchanges models."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from bigmodel.config import ServeConfig
from bigmodel.errors import BigModelError, ModelError
from serve.models import Models, Served
from serve.wanted import Outcome, Pinned, Wanted, Wish

logger = logging.getLogger(__name__)

WARM_UP = ("我喜欢读书", "")
_ON_A_CPU = ServeConfig()


class Loader:
    """Makes `models` what the newest wish says, and reports. A model that answers is only ever
    taken away for a better one; nothing raises."""

    def __init__(
        self,
        models: Models,
        *,
        default: str,
        report: Callable[[Outcome], None] = lambda _: None,
        config: ServeConfig = _ON_A_CPU,
    ) -> None:
        self._models, self._default, self._report = models, default, report
        self._config = config
        self._thread = ThreadPoolExecutor(1, "loader")
        self._newest: Wish | None = None

    def begin(self, wish: Wish) -> "Future[Outcome | None]":
        """Record the wish and return; None becomes of one that a newer one has overtaken."""
        self._newest = wish
        return self._thread.submit(self._fulfil, wish)

    def _fulfil(self, wish: Wish) -> Outcome | None:
        if wish is not self._newest:
            return None
        start = time.perf_counter()
        refused = []
        # the first that comes is the default
        for name in sorted(wish.models, key=lambda name: name != self._default):
            try:
                self._put(name, wish.models[name])
            except Exception as error:
                refused.append(_reason(error))
        for name in set(self._models.names) - set(wish.models):
            self._models.remove(name)
        outcome = Outcome(
            generation=wish.generation,
            wanted={name: wanted.version for name, wanted in wish.models.items()},
            serving={n: s.version for n in self._models.names if (s := self._models.get(n))},
            refused="; ".join(refused),
            took_s=time.perf_counter() - start,
        )
        self._report(outcome)
        return outcome

    def _put(self, name: str, wanted: Wanted) -> None:
        """What is wanted, or an error; where nothing answers to the name yet, its fallback too."""
        present = self._models.get(name)
        if present and (present.digest, present.version) == (wanted.digest, wanted.version):
            return
        try:
            served = load(name, wanted, self._config)
            if present and not wanted.other_labels:
                _check_labels(served, present)
        except Exception:
            if present is None and wanted.fallback is not None:
                self._models.put(load(name, wanted.fallback, self._config))
            raise
        self._models.put(served)


def load(name: str, version: Pinned, config: ServeConfig = _ON_A_CPU) -> Served:
    """Verified, its golden texts replayed by what `config` has scores computed by, and warm;
    ModelError otherwise."""
    import numpy as np  # here, so that what only tells replicas to load doesn't wait for torch
    import torch

    from bigmodel.artifact import Artifact
    from bigmodel.engines import network_for
    from bigmodel.predictor import Predictor

    artifact = Artifact.load(version.uri, digest=version.digest)
    network = network_for(artifact, engine=config.engine, gpus=config.replica_gpus)
    predictor = Predictor(artifact, network=network)
    weights = artifact.model.state_dict().values()
    finite = all(bool(torch.isfinite(each).all()) for each in weights)
    if not (finite and np.isfinite(predictor.probabilities(WARM_UP)).all()):
        raise ModelError(
            f"{version.uri}: has weights that are no finite numbers (NaN or infinite), so its "
            "scores are none; train the model again"
        )
    return Served.of(
        predictor,
        name=name,
        version=version.version,
        digest=version.digest,
        on_gpu=config.replica_gpus > 0,
    )


def _check_labels(served: Served, present: Served) -> None:
    new, old = served.predictor.labels, present.predictor.labels
    if new != old:
        more = ", ".join(sorted(set(new) - set(old))) or "none"
        fewer = ", ".join(sorted(set(old) - set(new))) or "none"
        raise ModelError(
            f"{served.name}@{served.version} has other labels than {present.name}@"
            f"{present.version}, which it would replace (added: {more}; gone: {fewer}); if those "
            "who ask it know, deploy it with --other-labels"
        )


def _reason(error: Exception) -> str:
    """Of an error that isn't ours, only the type: its message may hold anything."""
    if isinstance(error, BigModelError):
        return str(error)
    logger.error("loading failed", exc_info=error)
    return f"loading it failed ({type(error).__name__}); a replica's log has the place"
