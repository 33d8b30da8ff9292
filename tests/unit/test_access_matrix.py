"""Every route of the contract, asked with each kind of key there is."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from small_endpoint import LIMITS, served

from bigmodel.client import AsyncClient, Denied, Unavailable
from bigmodel.config import LimitsConfig, ServeConfig
from serve.endpoint import endpoint
from serve.keyfile import add_key, revoke_key
from serve.keys import KeyRing
from serve.models import Models
from serve.openapi import document

MODELS = Models([served(name="reviews", version="7")])
CONTRACT = document(MODELS, LIMITS, secured=True)
METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
OPERATIONS = [
    (method, path.replace("{model}", "reviews").replace("{version}", "7"), operation)
    for path, item in CONTRACT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
]
SECURED = [(method, path) for method, path, operation in OPERATIONS if operation["security"]]
OPEN = [(method, path) for method, path, operation in OPERATIONS if not operation["security"]]
NOBODYS = [
    "/nope",
    "/v1",
    "/v1/classify/",
    "/v2/models",
    "/metrics",
    "/docs",
    "/",
]
BODIES = {
    "/v1/classify": {"inputs": "手机很好用"},
    "/infer": {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["好"]}]},
}
Ask = Callable[..., Awaitable[httpx.Response]]


class Keys:
    """One of each kind, and what time it is."""

    def __init__(self, storage: str) -> None:
        self.at = 0.0
        made = {
            "all": add_key(storage, "全部", scopes=["predict", "metadata"]),
            "predict": add_key(storage, "预测", scopes=["predict"]),
            "metadata": add_key(storage, "看板", scopes=["metadata"]),
            "expired": add_key(storage, "过期", scopes=["predict", "metadata"], days=1),
            "revoked": add_key(storage, "收回", scopes=["predict", "metadata"]),
            "slow": add_key(storage, "慢", scopes=["predict", "metadata"], rate=1),
        }
        revoke_key(storage, made["revoked"].id)
        later = made["expired"].key.created.timestamp() + 86_400
        self.ring = KeyRing(storage, clock=lambda: self.at, now=lambda: later)
        self.written = {kind: key.written for kind, key in made.items()}
        self.written["wrong"] = self.written["all"][:-1] + "-"
        self.written["unknown"] = f"bmk_00000000_{'a' * 32}"

    def headers(self, kind: str) -> dict[str, str]:
        return {} if kind == "none" else {"Authorization": f"Bearer {self.written[kind]}"}


@pytest.fixture
def keys(tmp_path) -> Keys:
    return Keys(str(tmp_path / "存储"))


def asking(keys: Keys, scenario: Callable[[Ask], Awaitable[None]]) -> None:
    """Runs a scenario that asks `(method, path, kind of key)`."""

    async def run() -> None:
        app = endpoint(MODELS, ServeConfig(limits=LIMITS), keys=keys.ring)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:

            async def ask(method: str, path: str, kind: str) -> httpx.Response:
                body = next((body for end, body in BODIES.items() if path.endswith(end)), None)
                return await http.request(
                    method.upper(),
                    path,
                    json=body if method == "post" else None,
                    headers=keys.headers(kind),
                )

            await scenario(ask)

    asyncio.run(run())


def status_of(response: httpx.Response) -> tuple[int, str]:
    """The status and the kind of problem, "" for none; no answer without its headers."""
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    if response.status_code == 429:
        assert response.headers["Retry-After"] == "1"
    body = json.loads(response.content or b"{}")
    kind = str(body.get("type", "")).removeprefix("urn:bigmodel:error:")
    assert (response.status_code == 200) == (kind == ""), response.content
    return response.status_code, kind


def expected(scope: str) -> dict[str, tuple[int, str]]:
    """By kind of key, at a path that needs this scope."""
    other = {"predict": "metadata", "metadata": "predict"}[scope]
    return {
        "none": (401, "no-key"),
        "wrong": (401, "wrong-key"),
        "unknown": (401, "wrong-key"),
        "revoked": (401, "wrong-key"),
        "expired": (401, "expired-key"),
        other: (403, "missing-scope"),
        scope: (200, ""),
        "all": (200, ""),
    }


def test_the_open_paths_are_those_of_health_alone():
    assert sorted(OPEN) == [("get", "/v2/health/live"), ("get", "/v2/health/ready")]
    assert len(SECURED) == 9


@pytest.mark.parametrize(("method", "path"), SECURED)
def test_a_route_lets_in_who_has_its_scope_and_nobody_else(keys, method, path):
    scope = "predict" if method == "post" else "metadata"

    async def scenario(ask: Ask) -> None:
        for kind, wanted in expected(scope).items():
            assert status_of(await ask(method, path, kind)) == wanted, kind
        assert status_of(await ask(method, path, "slow")) == (200, "")
        assert status_of(await ask(method, path, "slow")) == (429, "rate")
        keys.at += 1.0
        assert status_of(await ask(method, path, "slow")) == (200, "")

    asking(keys, scenario)


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_health_is_everybodys_whatever_they_send(keys, method, path):
    async def scenario(ask: Ask) -> None:
        for kind in ("none", *keys.written):
            assert status_of(await ask(method, path, kind)) == (200, ""), kind

    asking(keys, scenario)


@pytest.mark.parametrize("path", NOBODYS)
def test_who_has_no_key_does_not_hear_what_there_is_not(keys, path):
    async def scenario(ask: Ask) -> None:
        for method in ("get", "post", "delete"):
            for kind in ("none", "wrong", "unknown", "revoked", "expired"):
                assert (await ask(method, path, kind)).status_code == 401, (method, kind)
            assert status_of(await ask(method, path, "all")) == (404, "not-found"), method
        for method, mine, other in (
            ("get", "metadata", "predict"),
            ("post", "predict", "metadata"),
        ):
            assert (await ask(method, path, mine)).status_code == 404
            assert (await ask(method, path, other)).status_code == 403

    asking(keys, scenario)


@pytest.mark.parametrize(
    ("method", "path", "mine"),
    [
        ("get", "/v2/models/none", "metadata"),
        ("get", "/v2/models/reviews/versions/8/ready", "metadata"),
        ("post", "/v2/models/none/infer", "predict"),
    ],
)
def test_only_who_has_the_scope_hears_which_models_there_are_not(keys, method, path, mine):
    async def scenario(ask: Ask) -> None:
        for kind, (status, problem) in expected(mine).items():
            found = await ask(method, path, kind)
            assert found.status_code == (404 if status == 200 else status), (kind, problem)

    asking(keys, scenario)


@pytest.mark.parametrize("path", sorted({path for _, path in SECURED}))
def test_no_other_method_is_a_way_around_a_key(keys, path):
    known = {method for method, one in SECURED if one == path}

    async def scenario(ask: Ask) -> None:
        for method in (*METHODS, "purge", "connect"):
            for kind in ("none", "wrong", "expired"):
                assert (await ask(method, path, kind)).status_code == 401, (method, kind)
            if method not in known | ({"head"} if "get" in known else set()):
                assert (await ask(method, path, "all")).status_code == 405, method

    asking(keys, scenario)


@pytest.mark.parametrize("path", ["//v1/classify", "/v2/health/live/../../v1/classify", "/V2"])
def test_no_other_spelling_of_a_path_is_a_way_around_a_key(keys, path):
    async def run() -> int:
        app = endpoint(MODELS, ServeConfig(limits=LIMITS), keys=keys.ring)
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}"}

        scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
        await app({**scope, "headers": [(b"host", b"localhost")]}, receive, send)
        return int(sent[0]["status"])

    assert asyncio.run(run()) == 401


def test_the_client_works_with_what_each_key_may_do(keys):
    """A key without the scope to read the limits still classifies long lists."""

    async def run() -> None:
        app = endpoint(MODELS, ServeConfig(limits=LimitsConfig(items=70)), keys=keys.ring)
        transport = httpx.ASGITransport(app)

        def client(kind: str) -> AsyncClient:
            key = keys.written[kind]
            return AsyncClient("http://localhost", key, retries=0, transport=transport)

        texts = [f"第{number}条" for number in range(150)]
        for kind in ("all", "predict"):
            answers = await client(kind).classify(texts, top_k=2)
            assert len(answers) == 150 and answers[0].version == "7"
            assert [one.label for one in answers[0].labels] == ["正面", "负面"]
        (model,) = await client("metadata").models()
        assert (model.name, model.version, len(model.labels)) == ("reviews", "7", 3)
        for kind in ("metadata", "wrong", "expired", "revoked"):
            with pytest.raises(Denied) as caught:
                await client(kind).classify("好")
            assert caught.value.kind and keys.written[kind] not in str(caught.value)
        await client("slow").classify("好")
        with pytest.raises(Unavailable) as late:
            await client("slow").classify("好")
        assert (late.value.status, late.value.retry_after_s) == (429, 1.0)
        assert await client("wrong").ready()

    asyncio.run(run())
