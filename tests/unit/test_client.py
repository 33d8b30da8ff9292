"""The client: what it sends, when it asks again, what it makes of each answer."""

import asyncio
import json
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.client import (
    Answer,
    AsyncClient,
    Client,
    ClientError,
    Denied,
    Failed,
    Label,
    Limits,
    Model,
    NoAnswer,
    Refused,
    Unavailable,
    Word,
)
from bigmodel.client.conversation import Ask, Conversation, Pause, parts
from bigmodel.client.faults import Reply, Silence, retry_after_s
from bigmodel.config import LimitsConfig
from bigmodel.errors import BigModelError, RecipeError
from serve.problems import Problem

URL = "http://127.0.0.1:8000"
KEY = "bmk_0123abcd_AbCdEfGhIjKlMnOpQrStUvWxYz012345"
CANARY = "金丝雀在歌唱"


def answer(texts: list[str], **more: Any) -> dict[str, Any]:
    """The body of a 200: a text's label is the text itself."""
    prediction = {"abstained": False, "truncated": False, **more}
    return {
        "model": "reviews",
        "version": "7",
        "request_id": "9f3c",
        "predictions": [{"labels": [{"label": t, "score": 0.97}], **prediction} for t in texts],
        "usage": {"items": len(texts), "characters": sum(map(len, texts))},
    }


class Endpoint:
    """Replies as `reply` says, or as a good endpoint; keeps what it was asked."""

    def __init__(self, *replies: httpx.Response | Exception, limits: Any = None) -> None:
        self.asked: list[httpx.Request] = []
        self._replies, self._limits = list(replies), limits

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self._replies:
            reply = self._replies.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply
        if request.url.path == "/v2":
            return httpx.Response(200, json={"models": ["评论", "b"], "limits": self._limits})
        if request.url.path.startswith("/v2/models/"):
            name = request.url.path.rpartition("/")[2]
            labels = ["负面", "正面"]
            return httpx.Response(200, json={"name": name, "versions": ["7"], "labels": labels})
        return httpx.Response(200, json=answer(self.texts[-1]))

    @property
    def texts(self) -> list[list[str]]:
        """Those of each request to classify."""
        posts = [request for request in self.asked if request.method == "POST"]
        return [json.loads(request.content)["inputs"] for request in posts]

    def client(self, **options: Any) -> Client:
        return Client(URL, KEY, transport=httpx.MockTransport(self), **options)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have slept."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def problem(kind: str, detail: str, **options: Any) -> httpx.Response:
    """As the endpoint itself makes it."""
    made = Problem(kind, detail, **options).answer("7b1d")
    return httpx.Response(made.status, headers=made.headers, content=made.body)


# ---- answers


def test_a_text_gets_an_answer():
    endpoint = Endpoint()
    with endpoint.client() as client:
        assert client.classify("手机电池不耐用") == [
            Answer(
                labels=(Label("手机电池不耐用", 0.97),),
                abstained=False,
                truncated=False,
                words=None,
                model="reviews",
                version="7",
                request_id="9f3c",
            )
        ]
    (request,) = endpoint.asked
    assert (request.method, request.url) == ("POST", f"{URL}/v1/classify")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.content) == {
        "inputs": ["手机电池不耐用"],
        "parameters": {"top_k": 1, "explain": False, "truncate": False},
    }


def test_what_is_asked_for_is_sent_and_words_come_back():
    word = {"text": "不耐用", "start": 4, "end": 7, "weight": -1.5}
    endpoint = Endpoint(httpx.Response(200, json=answer(["负面"], words=[word], truncated=True)))
    found = endpoint.client().classify("手机电池不耐用", top_k=2, explain=True, truncate=True)
    assert found[0].words == (Word("不耐用", 4, 7, -1.5),)
    assert (found[0].label, found[0].score, found[0].truncated) == ("负面", 0.97, True)
    parameters = json.loads(endpoint.asked[0].content)["parameters"]
    assert parameters == {"top_k": 2, "explain": True, "truncate": True}
    with pytest.raises(FrozenInstanceError):
        found[0].version = "8"  # type: ignore[misc]


def test_what_is_new_in_an_answer_is_left_alone():
    body = answer(["正面"], certainty="high") | {"region": "cn"}
    assert Endpoint(httpx.Response(200, json=body)).client().classify("好")[0].label == "正面"


def test_no_texts_are_no_request():
    endpoint = Endpoint()
    assert endpoint.client().classify([]) == [] and endpoint.asked == []


def test_models_come_with_their_labels():
    endpoint = Endpoint()
    assert endpoint.client().models() == (
        Model("评论", "7", ("负面", "正面")),
        Model("b", "7", ("负面", "正面")),
    )
    assert [request.method for request in endpoint.asked] == ["GET"] * 3


@pytest.mark.parametrize(
    ("reply", "ready"),
    [
        (httpx.Response(200, json={"ready": True}), True),
        (httpx.Response(503, text="draining"), False),
        (httpx.ConnectError("refused"), False),
    ],
)
def test_ready_is_asked_once(reply, ready):
    endpoint = Endpoint(reply)
    assert endpoint.client().ready() is ready
    assert [request.url.path for request in endpoint.asked] == ["/v2/health/ready"]


# ---- long lists


def test_a_long_list_comes_back_in_order_within_the_published_limits():
    endpoint = Endpoint(limits={"items": 10, "total_characters": 1000, "new_one": 3, "ratio": 0.5})
    texts = [f"第{number}条" for number in range(95)]
    client = endpoint.client()
    assert [one.label for one in client.classify(texts)] == texts
    assert [len(part) for part in endpoint.texts] == [10] * 9 + [5]
    client.classify(texts)
    assert [request.url.path for request in endpoint.asked].count("/v2") == 1


def test_a_generator_of_texts_is_as_good():
    assert len(Endpoint().client().classify(f"第{number}条" for number in range(70))) == 70


@pytest.mark.parametrize(
    "reply", [problem("missing-scope", "the key doesn't have the scope metadata"), None]
)
def test_without_published_limits_the_defaults_hold(reply):
    endpoint = Endpoint(*[reply] if reply else [])
    endpoint.client().classify(["好"] * 130)
    assert [len(part) for part in endpoint.texts] == [64, 64, 2]


def test_the_defaults_are_the_endpoints():
    assert asdict(Limits()).items() <= LimitsConfig().model_dump().items()


@given(
    texts=st.lists(st.text(max_size=40), max_size=40),
    items=st.integers(1, 8),
    characters=st.integers(1, 60),
    room=st.integers(1, 200),
)
def test_parts_hold_all_texts_in_order_and_keep_the_limits(texts, items, characters, room):
    limits = Limits(items=items, total_characters=characters, body_bytes=200 + room)
    written = [json.dumps(text).encode() for text in texts]
    found = list(parts(texts, written, limits))
    assert [position for part in found for position in part] == list(range(len(texts)))
    for part in found:
        inside = sum(len(texts[i]) for i in part), sum(len(written[i]) + 1 for i in part)
        assert len(part) == 1 or (
            len(part) <= items and inside[0] <= characters and inside[1] <= room
        )


def test_what_stands_around_the_texts_fits_in_the_room_left_for_it():
    endpoint = Endpoint()
    endpoint.client().classify("", top_k=10**9, explain=True, truncate=True)
    assert len(endpoint.asked[0].content) <= 200


def test_a_refused_part_says_which_texts_it_had():
    good = httpx.Response(200, json=answer(["好"] * 64))
    limits = httpx.Response(200, json={})
    endpoint = Endpoint(limits, good, problem("blank-item", "inputs/3 is empty or blank"))
    with pytest.raises(Refused, match=r"^texts 64 to 69: .*inputs/3 is empty or blank$"):
        endpoint.client().classify(["好"] * 70)


def test_half_a_surrogate_pair_is_refused_before_it_is_sent():
    endpoint = Endpoint()
    with pytest.raises(Refused, match="texts 1: it has half of a surrogate pair") as caught:
        endpoint.client().classify(["好", CANARY + "\ud83d"])
    assert caught.value.kind == "lone-surrogate" and endpoint.asked == []
    assert CANARY not in str(caught.value)


# ---- asked again


@pytest.mark.parametrize(
    "reply",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ReadError(""),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.Response(500, text="Internal Server Error"),
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(503, text="Request dropped due to backpressure"),
        problem("busy", "256 requests are in flight", headers={"Retry-After": "1"}),
        problem("rate", "the key's rate is used up", headers={"Retry-After": "1"}),
        problem("deadline", "no answer within 5 s"),
    ],
)
def test_what_may_do_better_is_asked_again_as_the_same_request(reply, pauses):
    endpoint = Endpoint(reply)
    assert endpoint.client().classify("手机很好用")[0].label == "手机很好用"
    first, second = endpoint.asked
    assert first.content == second.content and len(pauses) == 1
    assert first.headers["X-Request-ID"] == second.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem("no-key", "the request has no key"), Denied),
        (problem("wrong-key", "the key is wrong"), Denied),
        (problem("missing-scope", "the key doesn't have the scope predict"), Denied),
        (problem("not-found", "there is nothing at this path"), Refused),
        (problem("body-timeout", "the body wasn't complete after 10 s"), Refused),
        (problem("too-many-items", "inputs has 65 items; the limit is 64"), Refused),
        (problem("internal", "the endpoint failed"), Failed),
        (httpx.Response(400, text="Bad request"), Refused),
        (httpx.Response(404, text="Path '/' not found"), Refused),
        (httpx.Response(301, headers={"Location": "https://elsewhere"}), Failed),
        (httpx.Response(200, text="<html>hello</html>"), Failed),
        (httpx.Response(200, json=["正面"]), Failed),
        (httpx.Response(200, json=answer(["正面"] * 2)), Failed),
        (httpx.Response(200, json={"predictions": [{"labels": []}]}), Failed),
    ],
)
def test_all_else_is_asked_once(reply, kind, pauses):
    endpoint = Endpoint(reply)
    with pytest.raises(kind) as caught:
        endpoint.client().classify("手机很好用")
    assert len(endpoint.asked) == 1 and pauses == []
    assert isinstance(caught.value, BigModelError) and caught.value.exit_code == 5
    assert caught.value.status == reply.status_code and caught.value.request_id


def test_after_the_last_retry_the_last_error_is_told(pauses):
    endpoint = Endpoint(*[problem("busy", "256 requests are in flight", headers={})] * 3)
    with pytest.raises(Unavailable) as caught:
        endpoint.client(retries=2).classify("手机很好用")
    error = caught.value
    assert str(error) == f"{URL}/v1/classify: 503, 256 requests are in flight"
    assert (error.status, error.kind, error.request_id) == (503, "busy", "7b1d")
    assert len(endpoint.asked) == 3 and len(pauses) == 2
    assert 0 <= pauses[0] <= 0.1 and 0 <= pauses[1] <= 0.2


def test_without_retries_it_is_asked_once():
    endpoint = Endpoint(httpx.ConnectError("refused"))
    with pytest.raises(NoAnswer, match="no answer .refused.") as caught:
        endpoint.client(retries=0).classify("手机很好用")
    assert caught.value.status is None
    assert caught.value.request_id == endpoint.asked[0].headers["X-Request-ID"]


def conversation(*outcomes: Any, timeout_s: float, draw: float = 0.5) -> list[Any]:
    """What is said to an endpoint whose outcomes are (seconds, outcome), and how that ended."""
    now = 0.0
    talk = Conversation(
        URL, timeout_s, retries=10, clock=lambda: now, draw=lambda low, high: high * draw
    )
    steps = talk.classify(["好"], top_k=1, explain=False, truncate=False)
    said: list[Any] = []
    outcome, waiting = None, list(outcomes)
    while True:
        try:
            step = steps.send(outcome)
        except (ClientError, StopIteration) as end:
            return [*said, type(end)]
        outcome = None
        if isinstance(step, Pause):
            said.append(round(step.seconds, 3))
            now += step.seconds
        else:
            assert isinstance(step, Ask)
            said.append(("asked", round(step.timeout_s, 3)))
            seconds, outcome = waiting.pop(0)
            now += seconds


SILENCE = (1.0, Silence("cut"))


def later(seconds: str) -> tuple[float, Reply]:
    return (0.0, Reply(503, {"retry-after": seconds}, b"busy"))


def test_all_repetitions_and_pauses_end_within_the_time():
    assert conversation(SILENCE, SILENCE, SILENCE, timeout_s=2.1) == [
        ("asked", 2.1), 0.05, ("asked", 1.05), NoAnswer,  # the next pause would end too late
    ]  # fmt: skip


def test_pauses_grow_to_two_seconds():
    said = conversation(*[(0.0, Silence("cut"))] * 11, timeout_s=100, draw=1.0)
    assert [one for one in said if isinstance(one, float)] == [
        0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0,
    ]  # fmt: skip


def test_nobody_comes_back_before_the_endpoint_said_and_not_all_at_once():
    good = (0.0, Reply(200, {}, json.dumps(answer(["好"])).encode()))
    assert conversation(later("3"), good, timeout_s=10) == [
        ("asked", 10.0), 3.05, ("asked", 6.95), StopIteration,
    ]  # fmt: skip


def test_who_would_have_to_wait_too_long_is_told_at_once():
    assert conversation(later("60"), timeout_s=10) == [("asked", 10.0), Unavailable]


NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        (format_datetime(NOW.replace(second=7), usegmt=True), 7.0),
        (format_datetime(NOW.replace(hour=11), usegmt=True), 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 40, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(written, seconds):
    assert retry_after_s({"retry-after": written}, NOW.timestamp()) == seconds


# ---- told


def test_the_texts_and_the_key_stand_in_no_error_and_no_repr():
    echo = httpx.Response(400, text=f"can't read {CANARY} of {KEY}")
    alien = {"type": "about:blank", "detail": CANARY}
    other = httpx.Response(
        422, content=json.dumps(alien), headers={"Content-Type": "application/problem+json"}
    )
    for reply in (echo, other, httpx.Response(200, text=CANARY), httpx.ReadError("")):
        client = Endpoint(reply).client(retries=0)
        with pytest.raises(ClientError) as caught:
            client.classify(CANARY)
        for said in (str(caught.value), repr(caught.value), repr(client), repr(vars(client))):
            assert CANARY not in said and KEY not in said


def test_an_error_travels_between_processes_whole():
    error = Unavailable("busy", status=503, kind="busy", request_id="7b1d", retry_after_s=1.0)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is Unavailable and str(back) == "busy" and vars(back) == vars(error)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://a", "http://", "http://u:secret@a", "http://a/?key=secret"]
)
def test_a_url_of_no_endpoint_is_refused_without_being_repeated(url):
    with pytest.raises(RecipeError, match="the URL is none of an endpoint") as caught:
        Client(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", f"{KEY}\n", f"Bearer {KEY}", "钥匙"])
def test_a_key_that_is_none_is_refused_without_being_repeated(key):
    with pytest.raises(RecipeError, match="the key is none") as caught:
        Client(URL, key)
    assert not key.strip() or key.strip() not in str(caught.value)


def test_a_key_crosses_a_network_only_encrypted():
    for url in ("http://10.0.0.7:8000", "http://head:8000", "http://localhost.example"):
        with pytest.raises(RecipeError, match="would show the key to the network"):
            Client(url, KEY)
        Client(url).close()
        Client(url, KEY, insecure=True).close()
    for url in ("https://head", "http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000"):
        Client(url, KEY).close()


def test_a_prefix_of_a_gateway_stays():
    endpoint = Endpoint()
    with Client("https://gate/评论/", KEY, transport=httpx.MockTransport(endpoint)) as client:
        client.classify("好")
    assert str(endpoint.asked[0].url) == "https://gate/%E8%AF%84%E8%AE%BA/v1/classify"


def test_a_proxy_of_the_environment_is_not_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with replying(http(200, answer(["好"]))) as url, Client(url, retries=0) as client:
        assert client.classify("好")[0].label == "好"


def test_the_client_needs_nothing_heavy():
    program = (
        "import sys, bigmodel.client;"
        "heavy = 'torch ray mlflow numpy pyarrow pydantic starlette pandas'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


# ---- without blocking


def test_the_client_for_asyncio_says_the_same(monkeypatch):
    async def no_time(_: float) -> None:
        return None

    monkeypatch.setattr("bigmodel.client.http.asyncio.sleep", no_time)
    endpoint = Endpoint(httpx.ConnectError("refused"), limits={"items": 2})

    async def use() -> tuple[Any, ...]:
        async with AsyncClient(URL, KEY, transport=httpx.MockTransport(endpoint)) as client:
            return (
                await client.classify(["甲", "乙", "丙"]),
                await client.classify("丁"),
                await client.models(),
                await client.ready(),
            )

    three, one, models, ready = asyncio.run(use())
    assert [answer.label for answer in [*three, *one]] == ["甲", "乙", "丙", "丁"]
    assert endpoint.texts == [["甲", "乙"], ["丙"], ["丁"]]
    assert models[0].name == "评论" and ready
    assert endpoint.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_the_client_for_asyncio_ends_in_time_and_can_be_cancelled():
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def use() -> None:
        transport = httpx.MockTransport(hang)
        async with AsyncClient(URL, timeout_s=0.05, transport=transport) as client:
            with pytest.raises(NoAnswer, match="not within 0.05 s"):
                await client.classify("好")
        async with AsyncClient(URL, transport=transport) as client:
            task = asyncio.create_task(client.classify("好"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(use())


# ---- over a real connection


def http(status: int, body: Any, *headers: str) -> bytes:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(data)}", "", ""]
    return "\r\n".join(lines).encode() + data


@contextmanager
def replying(*replies: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that gives each connection the next reply, and ends it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for reply in replies:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                received, more = b"", b"?"
                while more and b'"parameters"' not in received:
                    received += (more := connection.recv(65_536))
                connection.sendall(reply) if isinstance(reply, bytes) else reply(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=20)


CLOSE = "Connection: close"
GOOD = http(200, answer(["好"]), CLOSE)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        GOOD[: len(GOOD) // 2],
        GOOD[:20],
        http(503, "Request dropped due to backpressure", CLOSE, "Retry-After: 1"),
        http(500, "Internal Server Error", "Content-Type: text/plain", CLOSE),
        b"\x00garbage\r\n\r\n",
    ],
    ids=["cut", "cut in the body", "cut in the head", "503", "plain 500", "garbage"],
)
def test_a_real_server_that_fails_once_is_asked_again(first):
    with replying(first, GOOD) as url, Client(url, KEY) as client:
        assert client.classify("好")[0].label == "好"

    async def use(url: str) -> list[Answer]:
        async with AsyncClient(url, KEY, timeout_s=10) as client:
            return await client.classify("好")

    with replying(first, GOOD) as url:
        assert asyncio.run(use(url))[0].label == "好"


def trickle(connection: socket.socket) -> None:
    """An answer whose end never comes, though something always does."""
    try:
        connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            connection.sendall(b" " * 1000)
    except OSError:
        return


def test_an_answer_that_never_ends_is_given_up_in_time():
    with replying(trickle) as url, Client(url, KEY, timeout_s=0.3, retries=0) as client:
        with pytest.raises(NoAnswer, match="not within 0.3 s"):
            client.classify("好")


def test_nobody_there_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Client(url, KEY, retries=1) as client:
        with pytest.raises(NoAnswer, match="Connection refused.*; check the URL"):
            client.classify("好")
        assert client.ready() is False
