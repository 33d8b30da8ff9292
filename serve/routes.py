"""Which path is answered by whom: exact paths, each with its methods and the key's scope."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from starlette.types import ASGIApp, Message

import bigmodel
from serve.classify import Classify, default_of
from serve.http import Answer, Request
from serve.inference import Infer, ModelReady, find, model_metadata, server_metadata
from serve.keyfile import Scope
from serve.models import Models
from serve.work import Work

Handler = Callable[..., Awaitable[Answer]]
"""Of a request, and of the model's name and version where the path has them."""
GET = ("GET", "HEAD")
POST = ("POST",)
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/infer|/ready)?")


@dataclass(frozen=True, eq=False)
class Route:
    """`template` is the path as documented; no scope: open to everybody."""

    template: str
    methods: tuple[str, ...]
    scope: Scope | None
    handler: Handler

    @property
    def is_open(self) -> bool:
        return self.scope is None

    def scope_of(self, method: str) -> Scope:
        """What a key needs; at a path that isn't there, what its method needs elsewhere."""
        if self is UNKNOWN:
            return "predict" if method == "POST" else "metadata"
        assert self.scope is not None
        return self.scope


class Match(NamedTuple):
    route: Route
    names: tuple[str | None, ...] = ()


async def _nobody(request: Request) -> Answer:
    raise AssertionError("no route has this path")


UNKNOWN = Route("unknown", (), "metadata", _nobody)


class Routes:
    """Of one endpoint. `secured`: it has keys, which is what the contract then says."""

    def __init__(self, models: Models, work: Work, *, page: bool, secured: bool) -> None:
        self._models, self._work, self._secured = models, work, secured
        routes = [
            Route("/v1/classify", POST, "predict", Classify(models, work)),
            Route("/v2", GET, "metadata", self._server),
            Route("/v2/health/live", GET, None, _live),
            Route("/v2/health/ready", GET, None, self._ready),
            Route("/openapi.json", GET, "metadata", self._openapi),
        ]
        if page:
            from serve.page.page import page_app

            routes.append(Route("/", GET, None, _once(page_app())))
        self._exact = {route.template: Match(route) for route in routes}
        self._of_a_model = {
            version + ending.template: replace(
                ending, template=f"/v2/models/{{model}}{version}{ending.template}"
            )
            for version in ("", "/versions/{version}")
            for ending in (
                Route("", GET, "metadata", self._model),
                Route("/ready", GET, "metadata", self._model_ready),
                Route("/infer", POST, "predict", Infer(models, work)),
            )
        }

    def match(self, path: str) -> Match:
        """The route of UNKNOWN where there is none."""
        if (exact := self._exact.get(path)) is not None:
            return exact
        if (found := _MODEL.fullmatch(path)) is None:
            return Match(UNKNOWN)
        model, version, suffix = found.groups()
        versions = "" if version is None else "/versions/{version}"
        return Match(self._of_a_model[f"{versions}{suffix or ''}"], (model, version))

    async def _ready(self, request: Request) -> Answer:
        """A model comes only once it is verified and its golden texts replayed."""
        self._work.draining.check()
        default_of(self._models)
        return Answer.json({"ready": True})

    async def _server(self, request: Request) -> Answer:
        limits = self._work.limits
        return Answer.json(server_metadata(self._models, limits, bigmodel.__version__))

    async def _model(self, request: Request, model: str, version: str | None) -> Answer:
        served = find(self._models, model, version)
        body = model_metadata(served, self._work.limits)
        return Answer.json(body, model=served.name, version=served.version)

    async def _model_ready(self, request: Request, model: str, version: str | None) -> Answer:
        self._work.draining.check()
        served = find(self._models, model, version)
        body: ModelReady = {"name": served.name, "ready": True}
        return Answer.json(body, model=served.name, version=served.version)

    async def _openapi(self, request: Request) -> Answer:
        from serve.openapi import document

        limits = self._work.limits
        found = await asyncio.to_thread(document, self._models, limits, secured=self._secured)
        return Answer.json(found)


async def _live(request: Request) -> Answer:
    return Answer.json({"live": True})


def _once(app: ASGIApp) -> Handler:
    """What an ASGI app says to GET /, as an answer of ours."""

    async def handler(request: Request) -> Answer:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "query_string": b"",
            "headers": request.raw_headers,
        }
        await app(scope, request.receive, keep)
        body = b"".join(message.get("body", b"") for message in messages[1:])
        answer = Answer(body, status=messages[0]["status"])
        answer.headers = list(messages[0]["headers"])
        return answer

    return handler
