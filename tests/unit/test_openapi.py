"""The contract: valid, of the limits and models in force, and true of what the endpoint does."""

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate
from small_endpoint import (
    CANARY,
    LIMITS,
    Endpoint,
    Lengths,
    OneOfEach,
    check,
    contract,
    served,
)

from bigmodel.config import LimitsConfig
from serve.models import Models
from serve.openapi import SAID, document
from serve.openapi_schemas import ANSWERS, visible
from serve.problems import KINDS
from serve.schemas import is_blank

SCHEMAS = contract()["components"]["schemas"]
OPERATIONS = {
    (path, method): operation
    for path, item in contract()["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
EXAMPLES = [
    (content["schema"]["$ref"].rpartition("/")[2], example["value"])
    for operation in OPERATIONS.values()
    for part in (operation.get("requestBody", {}), operation["responses"]["200"])
    for content in part.get("content", {}).values()
    for example in content.get("examples", {}).values()
]


@pytest.mark.parametrize("secured", [True, False])
def test_it_is_openapi(secured: bool) -> None:
    validate(document(Models([served()]), LIMITS, secured=secured))


def test_it_is_served_to_who_may_read_it() -> None:
    assert Endpoint(keys=OneOfEach()).get("/openapi.json").status_code == 401
    found = Endpoint(keys=OneOfEach()).get("/openapi.json", Authorization="Bearer metadata")
    assert found.json() == json.loads(json.dumps(contract()))


def test_it_asks_for_a_key_only_where_there_are_keys() -> None:
    open_to_all = document(Models([served()]), LIMITS, secured=False)["paths"]["/v1/classify"]
    assert "security" not in open_to_all["post"] and "401" not in open_to_all["post"]["responses"]
    assert OPERATIONS["/v1/classify", "post"]["security"] == [{"key": []}]


def test_it_has_the_limits_in_force() -> None:
    inputs = SCHEMAS["ClassifyRequest"]["properties"]["inputs"]["oneOf"]
    assert inputs[0]["maxLength"] == inputs[1]["items"]["maxLength"] == LIMITS.item_characters
    assert inputs[1]["maxItems"] == LIMITS.items
    other = LimitsConfig(items=7, item_characters=9)
    changed = document(Models([served()]), other, secured=True)["components"]["schemas"]
    assert changed["ClassifyRequest"]["properties"]["inputs"]["oneOf"][1]["maxItems"] == 7
    tensor = changed["InferRequest"]["properties"]["inputs"]["items"]["properties"]
    assert (tensor["data"]["maxItems"], tensor["data"]["items"]["maxLength"]) == (7, 9)


def test_it_knows_how_many_labels_there_are() -> None:
    many: Any = Lengths()
    many.labels = tuple(map(str, range(50)))
    models = Models([served(), served(many, name="desks")])
    schemas = document(models, LIMITS, secured=True)["components"]["schemas"]
    parameters = schemas["ClassifyRequest"]["properties"]["parameters"]["properties"]
    assert parameters["top_k"]["maximum"] == 50


def test_answers_have_the_keys_of_their_types() -> None:
    for answer in ANSWERS:
        assert SCHEMAS[answer.__name__]["properties"].keys() == answer.__annotations__.keys()
        assert SCHEMAS[answer.__name__]["additionalProperties"] is False


def test_every_kind_of_problem_has_a_status_that_is_explained() -> None:
    assert {status for status, _ in KINDS.values()} == SAID.keys()
    declared = {int(s) for operation in OPERATIONS.values() for s in operation["responses"]}
    assert declared == {200, *SAID}


@pytest.mark.parametrize(("schema", "value"), EXAMPLES)
def test_examples_are_what_they_are_examples_of(schema: str, value: Any) -> None:
    check(value, schema)
    assert re.search("[\u4e00-\u9fff]", json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/v1/classify" if schema == "ClassifyRequest" else "/v2/models/reviews/infer", value)
        for schema, value in EXAMPLES
        if schema.endswith("Request") and "explain" not in str(value)
    ],
)
def test_examples_are_answered(path: str, value: Any) -> None:
    assert Endpoint().post(path, value).status_code == 200


def test_answers_are_as_it_says() -> None:
    check(Endpoint().classify({"inputs": "好"}).json(), "ClassifyResponse")
    check(Endpoint().get("/v2/health/ready").json(), "Health")


@given(text=st.text(max_size=20))
def test_its_pattern_of_a_text_refuses_what_is_blank_and_nothing_else(text: str) -> None:
    assert (re.search(visible(), text) is None) == is_blank(text)


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": 5},
        {"inputs": []},
        {"inputs": ["好"] * 5},
        {"inputs": " "},
        {"inputs": CANARY * 4},
        {"inputs": "好", "x": 1},
        {"inputs": "好", "parameters": {"top_k": 4}},
        {"inputs": "好", "parameters": {"explain": 1}},
        {},
    ],
)
def test_it_refuses_what_the_endpoint_refuses(body: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(body, "ClassifyRequest")
    assert Endpoint().classify(body).status_code == 422
