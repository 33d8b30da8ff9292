"""Who gets in: keys, scopes, hosts and origins, on every path and with every method."""

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from small_endpoint import CANARY, JSON, Endpoint, OneOfEach, check_problem, contract

from serve.access import Draining

SECURED = Endpoint(keys=OneOfEach())
ROUTES = [
    (method.upper(), path.replace("{model}", "reviews").replace("{version}", "7"), operation)
    for path, item in contract()["paths"].items()
    for method, operation in item.items()
    if method in ("get", "post")
]
OPEN = [(method, path) for method, path, operation in ROUTES if operation["security"] == []]
CLOSED = [(method, path) for method, path, operation in ROUTES if operation["security"] != []]
BODIES: dict[str, Any] = {
    "/v1/classify": {"inputs": "好"},
    "/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["好"]}]},
}


def request(method: str, path: str, key: str | None = None) -> httpx.Response:
    bodies = [body for ending, body in BODIES.items() if path.endswith(ending)]
    headers = JSON | ({} if key is None else {"Authorization": f"Bearer {key}"})
    content = json.dumps(bodies[0]).encode() if bodies else b""
    return SECURED.send(method, path, headers=headers, content=content)


def test_only_health_is_open() -> None:
    assert sorted(OPEN) == [("GET", "/v2/health/live"), ("GET", "/v2/health/ready")]
    assert len(CLOSED) == 9


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_health_asks_for_no_key(method: str, path: str) -> None:
    assert request(method, path).status_code == 200


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize(
    ("key", "status", "kind"),
    [
        (None, 401, "no-key"),
        (CANARY.encode().hex(), 401, "wrong-key"),
        ("expired", 401, "expired-key"),
        ("busy", 429, "rate"),
    ],
)
def test_a_key_that_is_not_good_opens_nothing(
    method: str, path: str, key: str | None, status: int, kind: str
) -> None:
    response = request(method, path, key)
    check_problem(response, status, kind)
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert ("retry-after" in response.headers) == (status == 429)


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_a_key_opens_what_its_scope_says(method: str, path: str) -> None:
    right, wrong = ("predict", "metadata") if method == "POST" else ("metadata", "predict")
    assert request(method, path, right).status_code == 200
    assert request(method, path, "all").status_code == 200
    check_problem(request(method, path, wrong), 403, "missing-scope")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", f"/{CANARY}"),
        ("GET", "//v2"),
        ("GET", "/v2/"),
        ("GET", "/v2/health/live/"),
        ("POST", "/v1/classify/"),
        ("GET", "/v2/models/"),
        ("GET", "/v2/models/reviews/versions/"),
        ("GET", "/v2/models/reviews/versions/7/config"),
        ("POST", "/v2/models/a/b/infer"),
        ("GET", "/metrics"),
    ],
)
def test_who_has_no_key_does_not_learn_what_is_there(method: str, path: str) -> None:
    check_problem(request(method, path), 401, "no-key")
    check_problem(request(method, path, "all"), 404, "not-found")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PURGE", "DELETE", "PUT", "PATCH", "QUERY"])
@pytest.mark.parametrize(("right", "path"), [route[:2] for route in ROUTES])
def test_another_method_is_told_the_right_ones(method: str, right: str, path: str) -> None:
    response = request(method, path, "all")
    check_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == ("POST" if right == "POST" else "GET, HEAD")


def test_a_head_is_a_get_without_its_body() -> None:
    head, get = request("HEAD", "/v2", "all"), request("GET", "/v2", "all")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    refused = request("HEAD", "/v1/classify", "all")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("hosts", "host", "status"),
    [
        ((), "localhost", 200),
        ((), "127.0.0.1:8000", 200),
        ((), "[::1]:8000", 200),
        ((), "reviews.example.com", 421),
        ((), "10.1.2.3:8000", 421),
        ((), "", 421),
        (("reviews.example.com",), "Reviews.Example.com:443", 200),
        (("reviews.example.com",), "reviews.example.com.evil.com", 421),
        (("reviews.example.com",), "localhost:8000", 200),
        (("10.1.2.3",), "10.1.2.3:8000", 200),
        (("10.1.2.3",), "10.1.2.4:8000", 421),
        (("::",), "[fd00::7]:8000", 200),
        (("0.0.0.0",), "10.1.2.4:8000", 200),
        (("0.0.0.0",), "evil.example.com", 421),
    ],
)
def test_it_answers_under_its_own_names(hosts: tuple[str, ...], host: str, status: int) -> None:
    response = Endpoint(hosts=hosts).get("/v2/health/live", Host=host)
    assert response.status_code == status
    if status == 421:
        check_problem(response, 421, "foreign-host")


def test_a_foreign_host_is_refused_even_with_a_key() -> None:
    headers = {"Host": "evil.example.com", "Authorization": "Bearer all"}
    check_problem(SECURED.get("/v2", **headers), 421, "foreign-host")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8000", 200),
        ("http://127.0.0.1:8000", 200),
        ("https://reviews.example.com", 200),
        ("https://evil.example.com", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_other_sites_are_refused(origin: str, status: int) -> None:
    endpoint = Endpoint(hosts=("reviews.example.com",))
    response = endpoint.classify({"inputs": "好"}, {"Origin": origin})
    assert response.status_code == status
    if status == 403:
        check_problem(response, 403, "foreign-origin")


def test_a_header_that_must_not_come_twice_is_refused() -> None:
    headers = [("Host", "localhost"), ("Host", "evil.example.com")]
    check_problem(Endpoint().send("GET", "/v2", headers=headers), 400, "repeated-header")


def test_while_draining_new_work_goes_elsewhere() -> None:
    draining = Draining()
    endpoint = Endpoint(draining=draining)
    assert endpoint.get("/v2/health/ready").status_code == 200
    draining.begin()
    for response in (
        endpoint.classify({"inputs": "好"}),
        endpoint.infer(BODIES["/infer"]),
        endpoint.get("/v2/health/ready"),
        endpoint.get("/v2/models/reviews/ready"),
    ):
        check_problem(response, 503, "draining")
        assert response.headers["retry-after"] == "1"
    assert endpoint.get("/v2/health/live").status_code == 200


def test_neither_key_nor_text_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for key in ("all", CANARY.encode().hex()):
            request("POST", "/v1/classify", key)
            SECURED.post(
                "/v1/classify", {"inputs": f"{CANARY}崩溃"}, {"Authorization": f"Bearer {key}"}
            )
    ours = [record for record in caplog.records if record.name.startswith("serve")]
    assert [record.levelname for record in ours] == ["ERROR"]
    assert CANARY not in caplog.text and CANARY.encode().hex() not in caplog.text


def test_lifespan_and_websockets_end_well() -> None:
    async def talk(scope: dict[str, Any], messages: list[dict[str, Any]]) -> list[str]:
        waiting, said = iter(messages), []

        async def receive() -> dict[str, Any]:
            return next(waiting)

        async def send(message: dict[str, Any]) -> None:
            said.append(message["type"])

        await Endpoint().app(scope, receive, send)
        return said

    lifespan = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert asyncio.run(talk({"type": "lifespan"}, lifespan)) == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    websocket = {"type": "websocket", "path": "/v1/classify", "headers": []}
    assert asyncio.run(talk(websocket, [{"type": "websocket.connect"}])) == ["websocket.close"]


def test_the_page_is_there_only_where_it_is_wanted() -> None:
    page = Endpoint(page=True, keys=OneOfEach()).get("/")
    assert (page.status_code, page.headers["content-type"][:9]) == (200, "text/html")
    assert "content-security-policy" in page.headers and "x-request-id" in page.headers
    check_problem(Endpoint(page=False).get("/"), 404, "not-found")
