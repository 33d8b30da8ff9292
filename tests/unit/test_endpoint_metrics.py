"""What is counted: sums, labels that stay few, and nothing without somebody to tell."""

import asyncio
from collections import Counter
from collections.abc import Iterable

import httpx
import pytest
from small_endpoint import CANARY, Endpoint, Lengths, Prediction, served

from serve.access import Admission
from serve.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics
from serve.models import Models


class Kept:
    """An exporter that keeps what it is told."""

    def __init__(self) -> None:
        self.counters: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[tuple[str, ...], float] = {}
        self.observed: list[tuple[str, ...]] = []

    def add(self, name: str, value: float, tags: tuple[str, ...]) -> None:
        assert len(tags) == len(COUNTERS[name][1])
        self.counters[name, *tags] += int(value)

    def set(self, name: str, value: float, tags: tuple[str, ...]) -> None:
        assert len(tags) == len(GAUGES[name][1])
        self.gauges[name, *tags] = value

    def observe(self, name: str, values: Iterable[float], tags: tuple[str, ...]) -> None:
        assert len(tags) == len(HISTOGRAMS[name][1])
        self.observed += [(name, *tags)] * len(list(values))


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.metrics.EVERY_S", 0)


def asked(endpoint: Endpoint, *bodies: object) -> None:
    async def all_of_them() -> None:
        app = endpoint.app
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as http:
            for body in bodies:
                await http.post("/v1/classify", json=body)
            await http.post(f"/v2/models/{CANARY}/infer", json={})
            await http.get(f"/{CANARY}")
        async with asyncio.timeout(10):
            while app._metrics._soon:
                await asyncio.sleep(0)

    asyncio.run(all_of_them())


def test_requests_texts_and_refusals_are_counted() -> None:
    kept = Kept()
    models = Models([served()])
    asked(Endpoint(models=models, exporter=kept), {"inputs": ["好", "差"]}, {"inputs": " "})
    assert kept.counters == {
        ("bigmodel_requests_total", "/v1/classify", "reviews", "7", "200"): 1,
        ("bigmodel_requests_total", "/v1/classify", "", "", "422"): 1,
        ("bigmodel_requests_total", "/v2/models/{model}/infer", "", "", "404"): 1,
        ("bigmodel_requests_total", "unknown", "", "", "404"): 1,
        ("bigmodel_rejected_total", "blank-item"): 1,
        ("bigmodel_rejected_total", "unknown-model"): 1,
        ("bigmodel_rejected_total", "not-found"): 1,
        ("bigmodel_predictions_total", "reviews", "7", "正面"): 2,
    }
    assert kept.gauges == {
        ("bigmodel_inflight",): 0,
        ("bigmodel_model_info", "reviews", "7", "ab12"): 1,
    }
    assert sorted(kept.observed) == sorted(
        [
            ("bigmodel_batch_size", "reviews"),
            ("bigmodel_request_seconds", "/v1/classify"),
            ("bigmodel_request_seconds", "/v1/classify"),
            ("bigmodel_request_seconds", "/v2/models/{model}/infer"),
            ("bigmodel_request_seconds", "unknown"),
        ]
    )


class Unsure(Lengths):
    def predict(self, texts: Iterable[str], *, top_k: int = 1) -> list[Prediction]:
        return [Prediction((("负面", 0.4),), abstained=True) for _ in texts]


def test_abstentions_and_an_exchanged_model_are_told() -> None:
    kept = Kept()
    models = Models([served()])
    endpoint = Endpoint(models=models, exporter=kept)
    app = endpoint.app

    async def exchange() -> None:
        metrics: Metrics = app._metrics
        metrics.request("/v2", 0.1, status=200)
        metrics.tell()
        models.put(served(Unsure(), version="8"))
        metrics.predicted(models.default, Unsure().predict(["好"]))
        metrics.tell()

    asyncio.run(exchange())
    assert kept.gauges["bigmodel_model_info", "reviews", "7", "ab12"] == 0
    assert kept.gauges["bigmodel_model_info", "reviews", "8", "ab12"] == 1
    assert kept.counters["bigmodel_abstained_total", "reviews", "8"] == 1


def test_without_anybody_to_tell_nothing_is_kept() -> None:
    metrics = Metrics(Models([served()]), Admission(1), None)
    metrics.request("/v2", 0.1, status=200)
    metrics.predicted(served(), [Prediction((("正面", 0.9),))])
    metrics.tell()
    assert not metrics._counts and not metrics._seconds
