"""The contract as OpenAPI 3.1: made from the types of the answers and from the limits in force."""

from collections.abc import Iterable

import bigmodel
from bigmodel.config import LimitsConfig
from serve import openapi_examples as examples
from serve.access import TIMEOUT_MS
from serve.models import Models
from serve.openapi_schemas import Schema, schemas

REFUSED = {"metadata": (404, 405), "predict": (400, 404, 405, 408, 413, 415, 422, 503, 504)}
"""Statuses of problems by what a key needs for the route, besides those of every route."""
SAID = {
    400: "Not JSON in UTF-8, or JSON that parsers read differently",
    401: "No key, or a wrong one",
    403: "The key lacks the scope, or a page of another site asks",
    404: "No such path, model or version",
    405: "The path has other methods",
    408: "The body came too slowly; the connection is closed",
    413: "The body is too large; the connection is closed",
    415: "Not JSON, or encoded",
    421: "The Host header is no name of this endpoint",
    422: "JSON, but not what is asked for: every fault is named",
    429: "The key's rate is used up",
    500: "A fault of the endpoint",
    503: "Busy, draining or not ready",
    504: "No answer within the deadline",
}


def document(models: Models, limits: LimitsConfig, *, secured: bool) -> Schema:
    """For what is served now; `secured`: every route but those of health asks for a key."""
    served = [each for name in models.names if (each := models.get(name))]
    most_labels = max((len(each.predictor.labels) for each in served), default=1)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bigmodel",
            "version": bigmodel.__version__,
            "description": "Classifies Chinese text. Texts never come back in an error.",
        },
        "paths": _paths(secured),
        "components": {
            "schemas": schemas(limits, most_labels=most_labels),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key as `bigmodel keys add` prints it: `bmk_<id>_<secret>`.",
                }
            },
        },
    }


def _paths(secured: bool) -> Schema:
    paths: Schema = {
        "/v1/classify": {
            "post": _operation(
                "classify",
                "Labels of one text or several, by the default model",
                answer="ClassifyResponse",
                asked="ClassifyRequest",
                secured=secured,
            )
        },
        "/v2": {
            "get": _operation("server", "Its metadata", answer="ServerMetadata", secured=secured)
        },
        "/openapi.json": {"get": _operation("contract", "This document", secured=secured)},
        "/v2/health/live": {"get": _health("live", "The process answers")},
        "/v2/health/ready": {"get": _health("ready", "It answers requests", refused=(503,))},
    }
    for version in ("", "/versions/{version}"):
        path, suffix = f"/v2/models/{{model}}{version}", "OfVersion" if version else ""
        parameters = [_path_parameter(n) for n in ("model", "version") if f"{{{n}}}" in path]
        paths[path] = {
            "parameters": parameters,
            "get": _operation(
                f"model{suffix}", "A model's metadata", answer="ModelMetadata", secured=secured
            ),
        }
        paths[f"{path}/ready"] = {
            "parameters": parameters,
            "get": _operation(
                f"modelReady{suffix}",
                "Whether a model answers",
                answer="ModelReady",
                secured=secured,
                refused=(503,),
            ),
        }
        paths[f"{path}/infer"] = {
            "parameters": parameters,
            "post": _operation(
                f"infer{suffix}",
                "The Open Inference Protocol, in JSON",
                answer="InferResponse",
                asked="InferRequest",
                secured=secured,
            ),
        }
    return paths


def _operation(
    name: str,
    says: str,
    *,
    secured: bool,
    answer: str = "",
    asked: str = "",
    refused: tuple[int, ...] = (),
) -> Schema:
    statuses = {403, 421, 500, *REFUSED["predict" if asked else "metadata"], *refused}
    operation: Schema = {
        "operationId": name,
        "summary": says,
        "parameters": [_request_id()],
        "responses": _responses(statuses | ({401, 429} if secured else set()), answer),
    }
    if secured:
        operation["security"] = [{"key": []}]
    if asked:
        operation["parameters"].append(_timeout())
        content = {"schema": _ref(asked), "examples": examples.OF[asked]}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _health(name: str, says: str, *, refused: tuple[int, ...] = ()) -> Schema:
    return {
        "operationId": name,
        "summary": says,
        "parameters": [_request_id()],
        "responses": _responses({403, 405, 421, 500, *refused}, "Health"),
        "security": [],
    }


def _responses(statuses: Iterable[int], answer: str) -> Schema:
    content: Schema = {"schema": _ref(answer) if answer else {"type": "object"}}
    if answer in examples.OF:
        content["examples"] = examples.OF[answer]
    responses: Schema = {
        "200": {"description": "The answer", "content": {"application/json": content}}
    }
    for status in sorted(statuses):
        problem = {"application/problem+json": {"schema": _ref("ProblemBody")}}
        responses[str(status)] = {"description": SAID[status], "content": problem}
    for response in responses.values():
        response["headers"] = {"X-Request-ID": {"schema": {"type": "string"}, "required": True}}
    for status, name in ((401, "WWW-Authenticate"), (405, "Allow"), (429, "Retry-After")):
        if str(status) in responses:
            responses[str(status)]["headers"][name] = {
                "schema": {"type": "string"},
                "required": True,
            }
    return responses


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _request_id() -> Schema:
    says = "Comes back; one that isn't made of 1 to 64 of A-Z a-z 0-9 . _ - is replaced."
    return _header("X-Request-ID", says, {"type": "string"})


def _timeout() -> Schema:
    schema = {"type": "string", "pattern": f"^{TIMEOUT_MS}$"}
    return _header("X-Request-Timeout-Ms", "Lowers the deadline of the answer.", schema)


def _header(name: str, says: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "required": False, "description": says, "schema": schema}


def _path_parameter(name: str) -> Schema:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}
