"""One checked `X-Request-ID` a request, whoever else on the way adds his own."""

import re
import uuid

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CHECKED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_RAYS_OWN = {  # Ray Serve would obey these, whoever sends them
    b"x_request_timeout_seconds",
    b"x_request_disconnect_disabled",
    b"serve_multiplexed_model_id",
    b"x_session_id",
}


class RequestId:
    """Middleware: a good id of the client's is kept, anything else replaced, in both directions.

    It stands in Ray Serve's proxy, outside Serve's own middleware, which echoes what it reads and
    appends it to the id that an app sets; and around the app, for whoever runs it without Serve.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = [value for name, value in scope["headers"] if name == b"x-request-id"]
        good = len(found) == 1 and _CHECKED.fullmatch(found[0])
        request_id = found[0] if good else uuid.uuid4().hex.encode()
        kept = [header for header in scope["headers"] if not _is_replaced(header[0])]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id.decode()
            await send(message)

        headers = [*kept, (b"x-request-id", request_id)]
        await self._app({**scope, "headers": headers}, receive, send_with_id)


def proxy_middlewares() -> list[Middleware]:
    """What `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names."""
    return [Middleware(RequestId)]


def _is_replaced(name: bytes) -> bool:
    return name == b"x-request-id" or name.replace(b"-", b"_") in _RAYS_OWN
