"""One checked `X-Request-ID` a request, whoever else on the way adds his own."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.http import checked_id

_NAME = b"x-request-id"
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
        found = [value for name, value in scope["headers"] if name == _NAME]
        request_id = checked_id(found[0] if len(found) == 1 else None)
        kept = [header for header in scope["headers"] if not _is_replaced(header[0])]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [each for each in message.get("headers", ()) if each[0].lower() != _NAME]
                message = {**message, "headers": [*others, (_NAME, request_id)]}
            await send(message)

        headers = [*kept, (_NAME, request_id)]
        await self._app({**scope, "headers": headers}, receive, send_with_id)


def _is_replaced(name: bytes) -> bool:
    return name == _NAME or name.replace(b"-", b"_") in _RAYS_OWN
