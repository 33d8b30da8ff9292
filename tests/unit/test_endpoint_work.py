"""What happens between a body and its answer: cutting, explaining, batches, and giving up."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_endpoint import CANARY, Endpoint, Lengths, Prediction, check, check_problem

from bigmodel.artifact import Artifact
from bigmodel.config import LimitsConfig
from bigmodel.predictor import Predictor
from serve.batching import MicroBatch
from serve.models import Models, Served
from serve.schemas import is_blank
from serve.work import EXPLAINING_S

CUT = {"truncate": True}


def test_a_text_too_long_is_cut_where_that_is_asked_for() -> None:
    found = Endpoint().classify({"inputs": ["好" * 90, "差"], "parameters": CUT})
    assert found.status_code == 200
    check(found.json(), "ClassifyResponse")
    cut, whole = found.json()["predictions"]
    assert (cut["truncated"], cut["labels"][0]["score"]) == (True, 0.2)
    assert (whole["truncated"], whole["labels"][0]["score"]) == (False, 0.01)
    assert found.json()["usage"] == {"items": 2, "characters": 21}


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        (" " * 20 + CANARY, "blank-item"),
        (["好" * 90] * 4, "too-many-characters"),
        (["好" * 90] * 5, "too-many-items"),
    ],
)
def test_what_is_left_of_a_cut_text_is_judged(inputs: Any, kind: str) -> None:
    check_problem(Endpoint().classify({"inputs": inputs, "parameters": CUT}), 422, kind)


def test_a_text_that_the_model_cut_is_said_to_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Prediction((("正面", 0.9),), truncated=True)]
    monkeypatch.setattr(Lengths, "predict", lambda *_, **__: answers)
    assert Endpoint().classify({"inputs": "好"}).json()["predictions"][0]["truncated"] is True


def of(predictor: Any, *, threaded: bool = False) -> Endpoint:
    batch = MicroBatch(predictor, threaded=threaded)
    models = Models([Served("reviews", "7", "ab12", predictor, batch)])
    return Endpoint(LimitsConfig(deadline_s=60), models)


@pytest.fixture(scope="module")
def tiny_endpoint(tiny: Artifact) -> Endpoint:
    return of(Predictor(tiny))


def test_the_words_that_moved_the_label_stand_where_they_were_sent(
    tiny_endpoint: Endpoint,
) -> None:
    sent = ["😀 手机很卡，\n电池不耐用", "好" * 5 + "，房间很脏"]
    body = {"inputs": sent, "parameters": {"explain": True, "top_k": 2}}
    found = tiny_endpoint.classify(body)
    assert found.status_code == 200
    check(found.json(), "ClassifyResponse")
    for text, prediction in zip(sent, found.json()["predictions"], strict=True):
        assert prediction["words"]
        for word in prediction["words"]:
            assert text[word["start"] : word["end"]] == word["text"]
    plain = tiny_endpoint.classify({"inputs": sent}).json()["predictions"]
    assert all("words" not in prediction for prediction in plain)


def test_explaining_ends_with_the_deadline(
    tiny_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, budgets = threading.Event(), []

    def slow(*_: Any, budget_s: float, **__: Any) -> tuple[()]:
        budgets.append(budget_s)
        over.wait(10)
        return ()

    monkeypatch.setattr("bigmodel.explanation.explain", slow)
    body = {"inputs": ["好", "差"], "parameters": {"explain": True}}
    response = tiny_endpoint.classify(body, {"X-Request-Timeout-Ms": "300"})
    over.set()
    check_problem(response, 504, "deadline")
    assert len(budgets) == 1 and 0 <= budgets[0] <= 0.12


def test_no_text_keeps_the_one_who_explains_for_long(
    tiny_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = []

    def note(*_: Any, budget_s: float, **__: Any) -> tuple[()]:
        budgets.append(budget_s)
        return ()

    monkeypatch.setattr("bigmodel.explanation.explain", note)
    body = {"inputs": ["好", "差"], "parameters": {"explain": True}}
    assert tiny_endpoint.classify(body).status_code == 200  # its deadline is a minute
    assert budgets == [EXPLAINING_S, EXPLAINING_S]


TEXTS = st.text(min_size=1, max_size=60).filter(lambda text: not is_blank(text))


@given(text=TEXTS, others=st.lists(TEXTS, max_size=5))
def test_a_text_gets_the_same_answer_alone_and_among_others(
    tiny_endpoint: Endpoint, text: str, others: list[str]
) -> None:
    def scores(inputs: Sequence[str]) -> dict[str, float]:
        body = {"inputs": inputs, "parameters": {"top_k": 2}}
        found = tiny_endpoint.classify(body).json()["predictions"][0]["labels"]
        return {each["label"]: each["score"] for each in found}

    alone, among = scores([text]), scores([text, *others])
    assert np.allclose([alone[label] for label in among], list(among.values()), atol=1e-5)


@given(text=st.text(max_size=40))
def test_any_text_is_answered_or_refused_as_blank(tiny_endpoint: Endpoint, text: str) -> None:
    response = tiny_endpoint.classify({"inputs": text})
    assert response.status_code == (422 if is_blank(text) else 200)


@pytest.mark.parametrize("odd", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\u2028"])
def test_control_characters_are_blanks(tiny_endpoint: Endpoint, odd: str) -> None:
    def labels(text: str) -> Any:
        return tiny_endpoint.classify({"inputs": text}).json()["predictions"]

    assert labels(f"房间{odd}很脏") == labels("房间 很脏")


@dataclass
class Gate:
    """A predictor that waits until it is let through; for a thread."""

    open: threading.Event
    reached: threading.Event
    labels = ("正面",)

    def __post_init__(self) -> None:
        self.calls: list[list[str]] = []

    def predict(self, texts: Sequence[str], *, top_k: int = 1) -> list[Prediction]:
        self.calls.append(list(texts))
        self.reached.set()
        assert self.open.wait(10)
        return [Prediction((("正面", len(text) / 100),)) for text in texts]


@pytest.fixture
def gate() -> Iterator[Gate]:
    found = Gate(threading.Event(), threading.Event())
    yield found
    found.open.set()


async def until(event: threading.Event) -> None:
    await asyncio.to_thread(event.wait, 10)


def test_a_heavier_model_predicts_beside_the_loop_one_batch_at_a_time(gate: Gate) -> None:
    async def ask() -> list[httpx.Response]:
        async with of(gate, threaded=True).client() as http:

            async def post(text: str) -> httpx.Response:
                return await http.post("/v1/classify", json={"inputs": text})

            first = asyncio.create_task(post("一"))
            await until(gate.reached)
            rest = [asyncio.create_task(post("一" * n)) for n in (2, 3, 4)]
            assert (await http.get("/v2/health/live")).status_code == 200
            gate.open.set()
            return await asyncio.gather(first, *rest)

    found = [answer.json()["predictions"][0]["labels"] for answer in asyncio.run(ask())]
    assert [labels[0]["score"] for labels in found] == [0.01, 0.02, 0.03, 0.04]
    assert gate.calls[0] == ["一"]
    assert sorted(sum(gate.calls[1:], []), key=len) == ["一" * 2, "一" * 3, "一" * 4]


def test_a_version_that_is_replaced_answers_what_it_was_asked(gate: Gate) -> None:
    async def ask() -> list[httpx.Response]:
        endpoint = of(gate, threaded=True)
        async with endpoint.client() as http:
            old = asyncio.create_task(http.post("/v1/classify", json={"inputs": "一"}))
            await until(gate.reached)
            predictor: Any = Lengths()
            endpoint.models.put(Served("reviews", "8", "", predictor, MicroBatch(predictor)))
            new = await http.post("/v1/classify", json={"inputs": "一"})
            gate.open.set()
            return [await old, new]

    assert [answer.headers["x-model-version"] for answer in asyncio.run(ask())] == ["7", "8"]


@pytest.mark.parametrize("threaded", [False, True])
def test_a_failed_batch_fails_its_requests_and_no_others(threaded: bool) -> None:
    async def ask() -> list[int]:
        async with of(Lengths(), threaded=threaded).client() as http:

            async def post(text: str) -> int:
                return (await http.post("/v1/classify", json={"inputs": text})).status_code

            return [*await asyncio.gather(post("崩溃"), post("崩溃")), await post("好")]

    assert asyncio.run(ask()) == [500, 500, 200]


def test_who_gives_up_leaves_the_queue_and_nothing_stays_in_flight(gate: Gate) -> None:
    async def ask() -> int:
        app = of(gate, threaded=True).app
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:

            async def post(text: str) -> httpx.Response:
                return await http.post("/v1/classify", json={"inputs": text})

            first = asyncio.create_task(post("一"))
            await until(gate.reached)
            given_up = [asyncio.create_task(post("差" * 9)) for _ in range(100)]
            async with asyncio.timeout(10):
                while app._metrics._admitted.in_flight < 101:
                    await asyncio.sleep(0)
            for task in given_up:
                task.cancel()
            last = asyncio.create_task(post("二"))
            await asyncio.gather(*given_up, return_exceptions=True)
            gate.open.set()
            await asyncio.gather(first, last)
            return int(app._metrics._admitted.in_flight)

    assert asyncio.run(ask()) == 0
    assert gate.calls == [["一"], ["二"]]


def test_an_answer_that_is_no_number_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Prediction((("正面", float("nan")),))]
    monkeypatch.setattr(Lengths, "predict", lambda *_, **__: answers)
    check_problem(Endpoint().classify({"inputs": "好"}), 500, "internal")
