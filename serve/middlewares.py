"""What stands around Ray Serve itself in every proxy and replica: request ids and the way out."""

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.access import Draining
from serve.request_id import RequestId

OF_THIS_PROCESS = Draining()
"""The replica's own; Serve has a middleware made from a name, and offers no other way to it."""


class HealthCheck:
    """Middleware: a draining replica fails HAProxy's check, which then sends it nothing new.

    Serve's controller doesn't ask here, so it starts no other replica in this one's place.
    """

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app, self._draining = app, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        checked = scope["type"] == "http" and scope["path"] == "/-/healthz"
        if checked and self._draining.begun:
            await PlainTextResponse("draining", 503)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def proxy_middlewares() -> list[Middleware]:
    """What `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names."""
    return [Middleware(HealthCheck, draining=OF_THIS_PROCESS), Middleware(RequestId)]
