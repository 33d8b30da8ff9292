"""What is counted of requests: added up here, and told to Ray a few times a second."""

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from serve.access import Admission
from serve.models import Models, Served

if TYPE_CHECKING:
    from bigmodel.predictor import Prediction

EVERY_S = 0.25  # what has added up holds up the loop while it is told: 3 µs a request
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
COUNTERS = {
    "bigmodel_requests_total": ("Requests answered.", ("route", "model", "version", "status")),
    "bigmodel_rejected_total": ("Requests answered with a problem.", ("reason",)),
    "bigmodel_predictions_total": ("Texts by their first label.", ("model", "version", "label")),
    "bigmodel_abstained_total": ("Texts that the model isn't sure of.", ("model", "version")),
}
GAUGES = {
    "bigmodel_inflight": ("Requests being answered.", ()),
    "bigmodel_model_info": ("1 for what is served.", ("model", "version", "sha256")),
}
HISTOGRAMS = {
    "bigmodel_request_seconds": ("From the head of a request to its answer.", ("route",), SECONDS),
    "bigmodel_batch_size": ("Texts predicted together.", ("model",), SIZES),
}
"""Name -> what it says, its tags, and bounds of its buckets. Tags have few values: routes, labels
and what is served, never anything that a client wrote."""

Tags = tuple[str, ...]


class Exporter(Protocol):
    """Takes the sums; `tags` are values, in the order of the tables above."""

    def add(self, name: str, value: float, tags: Tags) -> None: ...
    def set(self, name: str, value: float, tags: Tags) -> None: ...
    def observe(self, name: str, values: Iterable[float], tags: Tags) -> None: ...


class Metrics:
    """Adds up on one event loop; without an exporter it does nothing."""

    def __init__(self, models: Models, admitted: Admission, exporter: Exporter | None) -> None:
        self._models, self._admitted, self._exporter = models, admitted, exporter
        self._counts: Counter[tuple[str, Tags]] = Counter()
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._told: set[Tags] = set()
        self._soon = False

    def request(
        self,
        route: str,
        seconds: float,
        *,
        status: int,
        model: str = "",
        version: str = "",
        reason: str = "",
    ) -> None:
        """One answer; `reason` is the kind of problem where it is one."""
        if self._exporter is None:
            return
        self._counts["bigmodel_requests_total", (route, model, version, str(status))] += 1
        self._seconds[route].append(seconds)
        if reason:
            self._counts["bigmodel_rejected_total", (reason,)] += 1
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_later(EVERY_S, self.tell)

    def predicted(self, served: Served, answers: "Sequence[Prediction]") -> None:
        """The answers to one request's texts."""
        if self._exporter is None:
            return
        of = (served.name, served.version)
        for answer in answers:
            self._counts["bigmodel_predictions_total", (*of, answer.labels[0][0])] += 1
            if answer.abstained:
                self._counts["bigmodel_abstained_total", of] += 1

    def tell(self) -> None:
        """Hand everything to the exporter and begin anew."""
        self._soon = False
        if self._exporter is None:
            return
        counts, self._counts = self._counts, Counter()
        seconds, self._seconds = self._seconds, defaultdict(list)
        for (name, tags), value in counts.items():
            self._exporter.add(name, value, tags)
        for route, values in seconds.items():
            self._exporter.observe("bigmodel_request_seconds", values, (route,))
        self._exporter.set("bigmodel_inflight", self._admitted.in_flight, ())
        self._tell_models(self._exporter)

    def _tell_models(self, exporter: Exporter) -> None:
        served = [each for name in self._models.names if (each := self._models.get(name))]
        present: set[Tags] = {(each.name, each.version, each.digest) for each in served}
        for gone in self._told - present:
            exporter.set("bigmodel_model_info", 0, gone)
        for new in present - self._told:
            exporter.set("bigmodel_model_info", 1, new)
        self._told = present
        for each in served:
            exporter.observe("bigmodel_batch_size", each.batch.sizes.elements(), (each.name,))
            each.batch.sizes.clear()


def ray_exporter() -> Exporter | None:
    """Ray's own metrics, where this process belongs to a cluster."""
    ray: Any = sys.modules.get("ray")
    return RayExporter() if ray is not None and ray.is_initialized() else None


class RayExporter:
    """Into `ray.util.metrics`, which every node's agent shows to Prometheus as `ray_bigmodel_…`."""

    def __init__(self) -> None:
        from ray.util import metrics

        self._tags = {n: each[1] for n, each in (COUNTERS | GAUGES | HISTOGRAMS).items()}
        self._metrics: dict[str, Any] = {}
        for name, (says, tags) in COUNTERS.items():
            self._metrics[name] = metrics.Counter(name, says, tags)
        for name, (says, tags) in GAUGES.items():
            self._metrics[name] = metrics.Gauge(name, says, tags)
        for name, (says, tags, bounds) in HISTOGRAMS.items():
            self._metrics[name] = metrics.Histogram(name, says, list(bounds), tags)

    def add(self, name: str, value: float, tags: Tags) -> None:
        self._metrics[name].inc(value, self._named(name, tags))

    def set(self, name: str, value: float, tags: Tags) -> None:
        self._metrics[name].set(value, self._named(name, tags))

    def observe(self, name: str, values: Iterable[float], tags: Tags) -> None:
        observe, named = self._metrics[name].observe, self._named(name, tags)
        for value in values:
            observe(value, named)

    def _named(self, name: str, tags: Tags) -> dict[str, str]:
        return {tag: _Utf8(value) for tag, value in zip(self._tags[name], tags, strict=True)}


class _Utf8(str):
    """A tag's value. Ray 2.60 encodes them as ASCII, and 正面 is none; what it makes of them is
    read as UTF-8 all the way to Prometheus."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", errors)
