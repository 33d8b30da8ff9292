"""The endpoint without Ray: a model that answers by a text's length, and ways to ask it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import jsonschema
from starlette.datastructures import Headers

from bigmodel.config import LimitsConfig, ServeConfig
from serve.access import Draining
from serve.batching import MicroBatch
from serve.endpoint import endpoint
from serve.models import Models, Served
from serve.openapi import document
from serve.problems import Problem

CANARY = "金丝雀在歌唱"
LIMITS = LimitsConfig(
    body_bytes=4_096,
    body_timeout_s=0.05,
    items=4,
    item_characters=20,
    total_characters=60,
    deadline_s=0.2,
    in_flight=2,
)
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Prediction:
    labels: tuple[tuple[str, float], ...]
    abstained: bool = False
    truncated: bool = False


class Lengths:
    """Answers by the length of a text, and remembers with how many texts it was called."""

    labels = ("正面", "负面", "中性")

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, texts: Sequence[str], *, top_k: int = 1) -> list[Prediction]:
        self.calls.append(len(texts))
        if any("崩溃" in text for text in texts):
            raise ValueError(f"can't read {texts}")
        return [
            Prediction(tuple((label, len(text) / 100) for label in self.labels[:top_k]))
            for text in texts
        ]


class OneOfEach:
    """Keys called after what they may do."""

    def check(self, headers: Headers, scope: str) -> str:
        key = headers.get("authorization", "").removeprefix("Bearer ")
        if not key:
            raise Problem("no-key", "no key", headers={"WWW-Authenticate": "Bearer"})
        if key == "expired":
            raise Problem("expired-key", "too old", headers={"WWW-Authenticate": "Bearer"})
        if key == "busy":
            raise Problem("rate", "too many", headers={"Retry-After": "1"})
        if key not in ("all", "predict", "metadata"):
            raise Problem("wrong-key", "wrong", headers={"WWW-Authenticate": "Bearer"})
        if key not in ("all", scope):
            raise Problem("missing-scope", f"the key lacks {scope}")
        return key


def served(predictor: Any = None, *, name: str = "reviews", version: str = "7") -> Served:
    predictor = predictor or Lengths()
    return Served(name, version, "ab12", predictor, MicroBatch(predictor))


@dataclass
class Endpoint:
    """An endpoint that isn't asked over a network; one event loop a request."""

    limits: LimitsConfig = LIMITS
    models: Models = field(default_factory=lambda: Models([served()]))
    keys: OneOfEach | None = None
    page: bool = False
    hosts: tuple[str, ...] = ()
    draining: Draining = field(default_factory=Draining)
    exporter: Any = None

    @property
    def app(self) -> Any:
        return endpoint(
            self.models,
            ServeConfig(limits=self.limits, page=self.page),
            keys=self.keys,
            hosts=self.hosts,
            draining=self.draining,
            exporter=self.exporter,
        )

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8000")

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with self.client() as http:
                return await http.request(method, path, **options)

        return asyncio.run(once())

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, content=content, headers=JSON | (headers or {}))

    def classify(self, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.post("/v1/classify", body, headers)

    def infer(self, body: Any, path: str = "/v2/models/reviews/infer") -> httpx.Response:
        return self.post(path, body)


@cache
def contract() -> dict[str, Any]:
    return document(Models([served()]), LIMITS, secured=True)


def check(value: Any, schema: str) -> None:
    """`value` is what the contract calls `schema`."""
    whole = contract() | {"$ref": f"#/components/schemas/{schema}"}
    jsonschema.validate(value, whole, jsonschema.Draft202012Validator)


def check_problem(response: httpx.Response, status: int, kind: str) -> None:
    """A problem as the contract has it, without a word of the caller's."""
    problem = response.json()
    assert (response.status_code, problem["type"]) == (status, f"urn:bigmodel:error:{kind}")
    assert response.headers["content-type"] == "application/problem+json"
    check(problem, "ProblemBody")
    assert problem["status"] == status
    assert problem["error"] == problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert (status == 422) == bool(problem["errors"])
    assert CANARY not in response.text and CANARY not in json.dumps(problem, ensure_ascii=False)
