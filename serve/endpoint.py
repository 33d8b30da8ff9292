"""The ASGI app of one replica: a few exact paths, and nothing of the caller's text in an error."""

import asyncio
import logging
import time
import traceback
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from bigmodel.config import ServeConfig
from serve.access import Admission, Draining, Hosts, Keys
from serve.http import Answer, Request
from serve.metrics import Exporter, Metrics, ray_exporter
from serve.models import Models
from serve.problems import Problem
from serve.routes import UNKNOWN, Match, Routes
from serve.work import Work

CLIENT_GONE = 499
"""The status under which requests are counted that nobody waits for any more."""

logger = logging.getLogger(__name__)


def endpoint(
    models: Models,
    config: ServeConfig,
    *,
    keys: Keys | None = None,
    hosts: Iterable[str] = (),
    draining: Draining | None = None,
    exporter: Exporter | None = None,
) -> ASGIApp:
    """The app for what `models` holds at each moment; it belongs to one event loop.

    Without `keys` whoever reaches it may ask, so it must listen on the loopback alone. `hosts` are
    names and addresses it goes by, besides those of the loopback and of `serve.hosts`. `draining`
    is how the caller ends it. Metrics go to `exporter`, or else to Ray where there is one.
    """
    admitted = Admission(config.limits.in_flight)
    metrics = Metrics(models, admitted, exporter or ray_exporter())
    work = Work(config.limits, admitted, draining or Draining(), metrics)
    routes = Routes(models, work, page=config.page, secured=keys is not None)
    return Endpoint(routes, metrics, keys=keys, hosts=Hosts((*config.hosts, *hosts)))


class Endpoint:
    """Lets requests in, finds who answers them, and counts them. No exception gets out."""

    def __init__(
        self, routes: Routes, metrics: Metrics, *, keys: Keys | None, hosts: Hosts
    ) -> None:
        self._routes, self._metrics, self._keys, self._hosts = routes, metrics, keys, hosts
        self._not_http = Router()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._not_http(scope, receive, send)
            return
        start = time.perf_counter()
        request = Request(scope, receive)
        match = self._routes.match(request.path)
        try:
            answer = await self._answer(request, match)
        except (ClientDisconnect, asyncio.CancelledError) as gone:
            seconds = time.perf_counter() - start
            self._metrics.request(match.route.template, seconds, status=CLIENT_GONE)
            if isinstance(gone, asyncio.CancelledError):
                raise
            return
        except Exception as error:
            answer = _problem(error).answer(request.id.decode())
        seconds = time.perf_counter() - start
        self._metrics.request(
            match.route.template,
            seconds,
            status=answer.status,
            model=answer.model,
            version=answer.version,
            reason=answer.reason,
        )
        timing = answer.timing or f"total;dur={seconds * 1e3:.2f}"
        answer.headers += ((b"x-request-id", request.id), (b"server-timing", timing.encode()))
        if request.method == "HEAD":
            answer.body = b""
        await answer.send(send)

    async def _answer(self, request: Request, match: Match) -> Answer:
        """Who doesn't get in hears nothing of what there is: access comes before 404 and 405."""
        self._hosts.check(request)
        route = match.route
        if self._keys is not None and not route.is_open:
            scope = route.scope_of(request.method)
            self._keys.check(Headers(raw=request.raw_headers), scope)
        if route is UNKNOWN:
            raise Problem("not-found", "there is nothing at this path")
        if request.method not in route.methods:
            raise Problem(
                "method-not-allowed",
                f"this path takes {' and '.join(route.methods)}",
                headers={"Allow": ", ".join(route.methods)},
            )
        return await route.handler(request, *match.names)


def _problem(error: Exception) -> Problem:
    """Messages of unknown exceptions may quote a text: only the type and the place are logged."""
    if isinstance(error, Problem):
        return error
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request failed: %s\n%s", type(error).__name__, place)
    return Problem("internal", "the endpoint failed; its log has the place of the failure")
