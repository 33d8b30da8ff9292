"""The Open Inference Protocol: what its clients send, what they get, and what is refused."""

import json
from typing import Any

import pytest
from small_endpoint import CANARY, Endpoint, Lengths, check, check_problem, served

from serve.models import Models

ask = Endpoint().infer
get = Endpoint().get


def tensor(*texts: Any, **changed: Any) -> dict[str, Any]:
    given = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    return given | changed


def test_texts_in_labels_and_scores_out() -> None:
    response = ask(
        {
            "id": "42",
            "inputs": [tensor("手机电池不耐用", "好")],
            "parameters": {"top_k": 2},
        }
    )
    assert response.status_code == 200
    assert response.json() == {
        "model_name": "reviews",
        "model_version": "7",
        "id": "42",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["正面", "正面"]},
            {
                "name": "score",
                "shape": [2, 2],
                "datatype": "FP32",
                "data": [0.07, 0.07, 0.01, 0.01],
            },
        ],
    }
    check(response.json(), "InferResponse")
    assert response.headers["x-model-version"] == "7"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Content-Type": "application/json"}, 200),
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Inference-Header-Content-Length": "70"}, 415),
    ],
)
def test_a_client_that_says_no_type_sends_json(headers: dict[str, str], status: int) -> None:
    content = json.dumps({"inputs": [tensor("好")]}).encode()
    response = Endpoint().send("POST", "/v2/models/reviews/infer", content=content, headers=headers)
    assert response.status_code == status


@pytest.mark.parametrize("names", [["score"], ["label"], ["score", "label"]])
def test_only_what_is_asked_for_comes_back_in_that_order(names: list[str]) -> None:
    outputs = [{"name": name, "parameters": {"binary_data": False}} for name in names]
    found = ask({"inputs": [tensor("好")], "outputs": outputs}).json()["outputs"]
    assert [each["name"] for each in found] == names


def test_without_an_id_the_requests_own_comes_back() -> None:
    response = ask({"inputs": [tensor("好")]})
    assert response.json()["id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "kind", "loc"),
    [
        ([CANARY], "wrong-type", ""),
        ({}, "missing-inputs", "/inputs"),
        ({"inputs": []}, "wrong-type", "/inputs"),
        ({"inputs": [CANARY]}, "wrong-type", "/inputs"),
        ({"inputs": [tensor("好"), tensor("好")]}, "wrong-type", "/inputs"),
        ({"inputs": [tensor("好", name=CANARY)]}, "unknown-tensor", "/inputs/0/name"),
        ({"inputs": [tensor("好", datatype="FP32")]}, "unknown-tensor", "/inputs/0/datatype"),
        ({"inputs": [tensor("好", shape=[2])]}, "wrong-shape", "/inputs/0/shape"),
        ({"inputs": [tensor("好", shape=[1, 1])]}, "wrong-shape", "/inputs/0/shape"),
        ({"inputs": [tensor("好", shape=[True])]}, "wrong-shape", "/inputs/0/shape"),
        ({"inputs": [tensor("好", shape=[1.5])]}, "wrong-shape", "/inputs/0/shape"),
        ({"inputs": [tensor("好", shape=1)]}, "wrong-shape", "/inputs/0/shape"),
        ({"inputs": [tensor("好", data="好")]}, "wrong-type", "/inputs/0/data"),
        ({"inputs": [tensor("好", parameters={"x": 1})]}, "unknown-key", "/inputs/0/parameters"),
        ({"inputs": [tensor("好") | {CANARY: 1}]}, "unknown-key", "/inputs/0"),
        ({"inputs": [tensor()]}, "too-few-items", "/inputs/0/data"),
        ({"inputs": [tensor(*"一二三四五")]}, "too-many-items", "/inputs/0/data"),
        ({"inputs": [tensor(5)]}, "wrong-type", "/inputs/0/data/0"),
        ({"inputs": [tensor("好", " ")]}, "blank-item", "/inputs/0/data/1"),
        ({"inputs": [tensor(CANARY * 4)]}, "item-too-long", "/inputs/0/data/0"),
        ({"inputs": [tensor("好")], "id": 5}, "wrong-type", "/id"),
        ({"inputs": [tensor("好")], "id": "好" * 257}, "item-too-long", "/id"),
        ({"inputs": [tensor("好")], CANARY: 1}, "unknown-key", ""),
        ({"inputs": [tensor("好")], "outputs": "label"}, "wrong-type", "/outputs"),
        ({"inputs": [tensor("好")], "outputs": []}, "unknown-tensor", "/outputs"),
        ({"inputs": [tensor("好")], "outputs": [{"name": CANARY}]}, "unknown-tensor", "/outputs"),
        ({"inputs": [tensor("好")], "outputs": [{"name": []}]}, "unknown-tensor", "/outputs"),
        (
            {"inputs": [tensor("好")], "outputs": [{"name": "label"}] * 3},
            "unknown-tensor",
            "/outputs",
        ),
        (
            {"inputs": [tensor("好")], "outputs": [{"name": "label", "x": 1}]},
            "unknown-key",
            "/outputs/0",
        ),
        (
            {"inputs": [tensor("好")], "outputs": [{"name": "label", "parameters": 1}]},
            "wrong-type",
            "/outputs/0/parameters",
        ),
        ({"inputs": [tensor("好")], "parameters": None}, "wrong-type", "/parameters"),
        ({"inputs": [tensor("好")], "parameters": {"x": 1}}, "unknown-key", "/parameters"),
        (
            {"inputs": [tensor("好")], "parameters": {"top_k": 4}},
            "top-k-out-of-range",
            "/parameters/top_k",
        ),
        (
            {"inputs": [tensor("好")], "parameters": {"binary_data_output": 1}},
            "wrong-type",
            "/parameters/binary_data_output",
        ),
    ],
)
def test_a_bad_body_is_a_problem_that_says_where(body: Any, kind: str, loc: str) -> None:
    response = ask(body)
    check_problem(response, 422, kind)
    assert response.json()["errors"][0]["loc"] == loc


def several() -> Endpoint:
    """Two models; the second has other labels."""
    desks = Lengths()
    desks.labels = ("体育", "财经", "科技")
    return Endpoint(models=Models([served(), served(desks, name="desks", version="3")]))


def test_each_model_answers_under_its_name_and_the_first_without_one() -> None:
    found = several().infer({"inputs": [tensor("好")]}, "/v2/models/desks/infer")
    assert found.json()["outputs"][0]["data"] == ["体育"]
    assert several().classify({"inputs": "好"}).json()["model"] == "reviews"


@pytest.mark.parametrize("ending", ["/infer", "", "/ready"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"/v2/models/{CANARY}", "unknown-model"),
        ("/v2/models/reviews/versions/8", "unknown-version"),
        (f"/v2/models/reviews/versions/{CANARY}", "unknown-version"),
        ("/v2/models/desks/versions/3", "unknown-model"),
    ],
)
def test_what_is_not_served_is_a_404(path: str, ending: str, kind: str) -> None:
    method = "POST" if ending == "/infer" else "GET"
    check_problem(Endpoint().send(method, path + ending), 404, kind)


@pytest.mark.parametrize("version", ["", "/versions/7"])
def test_a_model_says_what_it_is_and_what_it_takes(version: str) -> None:
    response = get(f"/v2/models/reviews{version}")
    found = response.json()
    check(found, "ModelMetadata")
    assert (found["versions"], found["labels"]) == (["7"], ["正面", "负面", "中性"])
    assert found["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert found["limits"]["items"] == 4
    assert get(f"/v2/models/reviews{version}/ready").json() == {"name": "reviews", "ready": True}
    check(get(f"/v2/models/reviews{version}/ready").json(), "ModelReady")


def test_the_server_says_which_models_it_has() -> None:
    found = several().get("/v2").json()
    check(found, "ServerMetadata")
    assert (found["name"], found["models"]) == ("bigmodel", ["reviews", "desks"])
    assert found["limits"]["body_bytes"] == 4_096


def test_another_version_takes_the_name_over() -> None:
    models = Models([served()])
    models.put(served(version="8"))
    endpoint = Endpoint(models=models)
    assert endpoint.classify({"inputs": "好"}).headers["x-model-version"] == "8"
    check_problem(endpoint.get("/v2/models/reviews/versions/7"), 404, "unknown-version")
    models.remove("reviews")
    check_problem(endpoint.classify({"inputs": "好"}), 503, "not-ready")
    check_problem(endpoint.get("/v2/health/ready"), 503, "not-ready")
