"""Every answer but the wanted one: RFC 9457 problems, without a word of the caller's text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from starlette.responses import Response

KINDS = {
    "not-json": (400, "Not JSON"),
    "not-utf-8": (400, "Not UTF-8"),
    "lone-surrogate": (400, "Half of a surrogate pair"),
    "not-finite": (400, "Not a finite number"),
    "duplicate-key": (400, "A key stands twice"),
    "too-deep": (400, "Nested too deeply"),
    "bad-timeout": (400, "Not a time limit"),
    "no-key": (401, "No key"),
    "wrong-key": (401, "Not a valid key"),
    "expired-key": (401, "The key has expired"),
    "missing-scope": (403, "The key doesn't reach that far"),
    "not-found": (404, "No such path"),
    "method-not-allowed": (405, "Method not allowed"),
    "body-timeout": (408, "The body came too slowly"),
    "body-too-large": (413, "The body is too large"),
    "content-type": (415, "Unsupported content type"),
    "content-encoding": (415, "Unsupported content encoding"),
    "foreign-host": (421, "Not a host of this endpoint"),
    "wrong-type": (422, "A value of the wrong type"),
    "unknown-key": (422, "An unknown key"),
    "missing-inputs": (422, "No inputs"),
    "too-few-items": (422, "Too few items"),
    "too-many-items": (422, "Too many items"),
    "blank-item": (422, "An item without text"),
    "item-too-long": (422, "An item is too long"),
    "too-many-characters": (422, "Too many characters"),
    "top-k-out-of-range": (422, "top_k is out of range"),
    "not-supported": (422, "Not supported by this release"),
    "rate": (429, "Too many requests for this key"),
    "internal": (500, "Our fault"),
    "busy": (503, "Busy"),
    "draining": (503, "About to end"),
    "not-ready": (503, "Not ready"),
    "deadline": (504, "Too late"),
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with one value: where it stands (a JSON pointer) and a word for programs."""

    loc: str
    code: str


class Problem(Exception):
    """Ends a request with a problem of one of `KINDS`; `detail` is a sentence for people."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.faults, self.headers = kind, detail, faults, headers
        self.status, self.title = KINDS[kind]

    def response(self, request_id: str) -> Response:
        """The problem as `application/problem+json`; `error` repeats the detail, for Open
        Inference clients."""
        body = {
            "type": f"urn:bigmodel:error:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "error": self.detail,
            "request_id": request_id,
            "errors": [asdict(fault) for fault in self.faults],
        }
        return Response(
            json.dumps(body), self.status, self.headers, media_type="application/problem+json"
        )
