"""Every answer but the wanted one: RFC 9457 problems, without a word of the caller's text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from serve.http import Answer

KINDS = {
    "not-json": (400, "Not JSON"),
    "not-utf-8": (400, "Not UTF-8"),
    "lone-surrogate": (400, "Half of a surrogate pair"),
    "not-finite": (400, "Not a finite number"),
    "duplicate-key": (400, "A key stands twice"),
    "too-deep": (400, "Nested too deeply"),
    "bad-timeout": (400, "Not a time limit"),
    "repeated-header": (400, "A header came twice"),
    "no-key": (401, "No key"),
    "wrong-key": (401, "Not a valid key"),
    "expired-key": (401, "The key has expired"),
    "missing-scope": (403, "The key doesn't reach that far"),
    "foreign-origin": (403, "Not a page of this endpoint"),
    "not-found": (404, "No such path"),
    "unknown-model": (404, "No such model"),
    "unknown-version": (404, "No such version"),
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
    "wrong-shape": (422, "The shape doesn't fit the data"),
    "unknown-tensor": (422, "No such tensor"),
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


class FaultBody(TypedDict):
    loc: str
    code: str


class ProblemBody(TypedDict):
    """RFC 9457, with the detail again, the request's id, and every fault of a body."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    request_id: str
    errors: list[FaultBody]


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

    def answer(self, request_id: str) -> Answer:
        """The problem as `application/problem+json`; `error` repeats the detail, for Open
        Inference clients."""
        body: ProblemBody = {
            "type": f"urn:bigmodel:error:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "error": self.detail,
            "request_id": request_id,
            "errors": [{"loc": fault.loc, "code": fault.code} for fault in self.faults],
        }
        return Answer.json(
            body,
            status=self.status,
            media_type=b"application/problem+json",
            headers=self.headers,
            reason=self.kind,
        )
