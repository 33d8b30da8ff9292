"""The ASGI app of one replica: a few exact paths, and nothing of the caller's text in an error."""

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bigmodel.config import LimitsConfig, ServeConfig
from serve.access import (
    Admission,
    Draining,
    Keys,
    check_content,
    check_host,
    deadline_s,
    read_body,
)
from serve.models import Models
from serve.problems import Problem
from serve.request_id import RequestId
from serve.schemas import classify_response, read_request

logger = logging.getLogger(__name__)


def endpoint(
    models: Models,
    config: ServeConfig,
    *,
    keys: Keys | None = None,
    hosts: Iterable[str] = (),
    draining: Draining | None = None,
) -> ASGIApp:
    """The app for what `models` holds at each moment; it answers on one event loop.

    Without `keys` everybody on this machine may ask, and nobody else. `hosts` are names in the
    Host header that pass besides those of the loopback. `draining` is how the caller ends it.
    """
    limits = config.limits
    routes = Router(
        [
            Route("/v1/classify", Classify(models, limits), methods=["POST"]),
            Route("/v2/health/live", _live),
            Route("/v2/health/ready", _ready),
        ],
        redirect_slashes=False,
    )
    return RequestId(Guard(routes))


class Guard:
    """Around the routes: no foreign host gets in, no exception gets out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Server-Timing", _timing(total=time.perf_counter() - start))
            await send(message)

        headers = Headers(scope=scope)
        try:
            check_host(headers)
            # with an app in scope, the router raises where it would answer in plain text
            await self._app({**scope, "app": self}, receive, send_with_headers)
        except ClientDisconnect:
            return
        except Exception as error:
            response = _problem(error).response(headers["x-request-id"])
            await response(scope, receive, send_with_headers)


class Classify:
    """`POST /v1/classify`."""

    def __init__(self, models: Models, limits: LimitsConfig) -> None:
        self._models, self._limits = models, limits
        self._admission = Admission(limits.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        start = time.perf_counter()
        with self._admission.admitted():
            check_content(headers)
            deadline = deadline_s(headers, self._limits)
            body = await read_body(receive, headers, self._limits)
            served = self._models.default
            if served is None:
                raise Problem(
                    "not-ready", "no model is loaded yet; try again", headers={"Retry-After": "1"}
                )
            labels = len(served.predictor.labels)
            request = read_request(body, self._limits, num_labels=labels)
            read = time.perf_counter()
            try:
                async with asyncio.timeout(deadline):
                    predictions = await served.batch.predict(request.texts, top_k=request.top_k)
            except TimeoutError:
                raise Problem("deadline", f"no answer within {deadline:g} s") from None
        answer = classify_response(
            predictions,
            request,
            model=served.name,
            version=served.version,
            request_id=headers["x-request-id"],
        )
        timing = _timing(read=read - start, predict=time.perf_counter() - read)
        response = _json(answer, {"Server-Timing": timing, "X-Model-Version": served.version})
        await response(scope, receive, send)


async def _live(_: Request) -> Response:
    return _json({"live": True})


async def _ready(_: Request) -> Response:
    """A replica exists only once its artefact is verified and its golden texts replayed."""
    return _json({"ready": True})


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Response(body, headers=headers, media_type="application/json")


def _timing(**seconds: float) -> str:
    return ", ".join(f"{name};dur={value * 1000:.2f}" for name, value in seconds.items())


def _problem(error: Exception) -> Problem:
    """Messages of unknown exceptions may quote a text: only the type and the place are logged."""
    match error:
        case Problem():
            return error
        case HTTPException(status_code=405):
            return Problem(
                "method-not-allowed", "this path has other methods", headers=error.headers
            )
        case HTTPException(status_code=404):
            return Problem("not-found", "there is nothing at this path")
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request failed: %s\n%s", type(error).__name__, place)
    return Problem("internal", "the endpoint failed; its log has the place of the failure")
