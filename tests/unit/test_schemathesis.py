"""Fuzzed from its own contract: good requests are answered, bad ones refused, none fails."""

import copy
import os
from typing import Any

import pytest
import schemathesis
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    NotAServerErrorConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from small_endpoint import Endpoint, Lengths, OneOfEach, served

from bigmodel.artifact import Artifact
from bigmodel.config import LimitsConfig
from bigmodel.predictor import Predictor
from serve.models import Models, Served
from serve.openapi import document

CASES = os.environ.get("BIGMODEL_FUZZ_CASES", "")
"""Random requests a route, besides those at the edges of each value; few and the same where it
isn't said."""
NAMES = {"model": ["reviews"], "version": ["7"]}
LIMITS = LimitsConfig(items=4, item_characters=200, total_characters=800)


MODELS = Models()
"""Empty while tests are collected; the tiny model comes when they run."""


def contract() -> dict[str, Any]:
    """With the names and the labels of what will be served: a good request reaches it."""
    two: Any = Lengths()
    two.labels = ("正面", "负面")
    found = copy.deepcopy(document(Models([served(two)]), LIMITS, secured=True))
    for item in found["paths"].values():
        for parameter in item.get("parameters", []):
            parameter["schema"] = {"enum": NAMES[parameter["name"]]}
    return found


def configuration() -> SchemathesisConfig:
    checks = ChecksConfig(
        # a deadline of a millisecond is a good request, and may not be met
        not_a_server_error=NotAServerErrorConfig(expected_statuses=["2xx", "4xx", "504"]),
    )
    generation = GenerationConfig(
        max_examples=int(CASES or 10), deterministic=not CASES, database="none"
    )
    project = ProjectConfig(checks=checks, generation=generation)
    return SchemathesisConfig(projects=ProjectsConfig(default=project))


schema = schemathesis.openapi.from_dict(contract(), config=configuration())
schema.app = Endpoint(LIMITS, MODELS, keys=OneOfEach(), hosts=("testserver",)).app


@schema.auth()
class Key:
    """The one that opens everything."""

    def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
        return "all"

    def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@pytest.fixture(scope="module", autouse=True)
def tiny_model(tiny: Artifact) -> None:
    MODELS.put(Served.of(Predictor(tiny), name="reviews", version="7", digest=tiny.digest))


@schema.parametrize()
def test_every_route_keeps_its_contract(case: schemathesis.Case) -> None:
    case.call_and_validate()
