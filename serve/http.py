"""One request as the endpoint sees it, and one answer: what of HTTP every route needs."""

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

_CHECKED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
JSON = b"application/json"


class Request:
    """`headers`: lower-case names -> values; of a name that came twice the last is kept, and the
    name stands in `repeated`. `id`: the client's `X-Request-ID` if it is a good one, else new."""

    __slots__ = ("headers", "id", "method", "path", "raw_headers", "receive", "repeated")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.receive = receive
        self.raw_headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self.headers: dict[bytes, bytes] = dict(self.raw_headers)
        self.repeated: frozenset[bytes] = frozenset()
        if len(self.headers) < len(self.raw_headers):
            names = [name for name, _ in self.raw_headers]
            self.repeated = frozenset(name for name in names if names.count(name) > 1)
        self.id = checked_id(self.headers.get(b"x-request-id"), b"x-request-id" in self.repeated)


def checked_id(found: bytes | None, repeated: bool = False) -> bytes:
    """What came, where it is one id that is safe in a header, a log and a page; else a new one."""
    if found is None or repeated or not _CHECKED.fullmatch(found):
        return os.urandom(16).hex().encode()
    return found


class Answer:
    """A status, headers and a body; `model` and `version` are of what answered, "" for none, and
    `timing` is what stands in `Server-Timing`, "" for the time in all."""

    __slots__ = ("body", "headers", "model", "reason", "status", "timing", "version")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        media_type: bytes = JSON,
        headers: Mapping[str, str] | None = None,
        model: str = "",
        version: str = "",
        timing: str = "",
        reason: str = "",
    ) -> None:
        self.body, self.status = body, status
        self.model, self.version, self.reason = model, version, reason
        self.timing = timing
        self.headers: list[tuple[bytes, bytes]] = [
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(body)),
        ]
        if version:
            self.headers.append((b"x-model-version", version.encode()))
        if headers:
            self.headers += [(n.lower().encode(), v.encode("latin-1")) for n, v in headers.items()]

    @classmethod
    def json(cls, value: Any, **options: Any) -> "Answer":
        return cls(to_json(value), **options)

    async def send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})
