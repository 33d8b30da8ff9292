"""What a client says, hears and says again, without a socket or a clock of its own.

Each method is a generator of steps; whoever runs it sends back what came of each. So the client
that blocks and the one that doesn't say the same.
"""

import json
import random
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from bigmodel.client.answers import Answer, Limits, Model, answers_of, model_of
from bigmodel.client.faults import (
    ClientError,
    Denied,
    Refused,
    Reply,
    Silence,
    fault_of,
    unreadable,
)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class Ask:
    """Send this, and send back the `Reply`, or `Silence` after `timeout_s`."""

    method: str
    path: str
    body: bytes | None
    request_id: str
    timeout_s: float

    @property
    def headers(self) -> dict[str, str]:
        """All but the key's; the endpoint needn't work on what nobody waits for any more."""
        milliseconds = min(max(1, int(self.timeout_s * 1000)), 999_999_999)
        headers = {"X-Request-ID": self.request_id, "X-Request-Timeout-Ms": str(milliseconds)}
        return headers | ({"Content-Type": "application/json"} if self.body else {})


@dataclass(frozen=True)
class Pause:
    """Wait; nothing is sent back."""

    seconds: float


T = TypeVar("T")
Steps = Generator[Ask | Pause, Reply | Silence | None, T]


@dataclass
class Conversation:
    """With the endpoint at `url`; `timeout_s` bounds one request with all its repetitions."""

    url: str
    timeout_s: float
    retries: int
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[float, float], float] = random.uniform
    limits: Limits | None = None
    """Those that the endpoint published, once it was asked."""

    def classify(
        self, texts: Sequence[str], *, top_k: int, explain: bool, truncate: bool
    ) -> Steps[list[Answer]]:
        """An answer a text, in order, in as many requests as the endpoint's limits ask for."""
        written = [_written(text, position) for position, text in enumerate(texts)]
        parameters = json.dumps({"top_k": top_k, "explain": explain, "truncate": truncate})
        limits = (yield from self._limits()) if len(texts) > 1 else Limits()
        answers: list[Answer] = []
        for part in parts(texts, written, limits):
            inputs = b",".join(written[part.start : part.stop])
            body = b'{"inputs":[%s],"parameters":%s}' % (inputs, parameters.encode())
            try:
                read = partial(answers_of, num_texts=len(part))
                answers += yield from self._read("POST", "/v1/classify", read, body)
            except ClientError as error:
                if len(part) < len(texts):
                    error.args = (f"texts {part.start} to {part.stop - 1}: {error}",)
                raise
        return answers

    def models(self) -> Steps[tuple[Model, ...]]:
        """All that is served, first what `classify` asks."""
        found = []
        for name in (yield from self._server()).get("models", ()):
            path = f"/v2/models/{quote(str(name), safe='')}"
            found.append((yield from self._read("GET", path, model_of)))
        return tuple(found)

    def ready(self) -> Steps[bool]:
        """Whether the endpoint says so now; asked once."""
        outcome = yield Ask("GET", "/v2/health/ready", None, uuid.uuid4().hex, self.timeout_s)
        return isinstance(outcome, Reply) and outcome.status == 200

    def _server(self) -> Steps[dict[str, Any]]:
        return self._read("GET", "/v2", dict)

    def _read(
        self, method: str, path: str, read: Callable[[Any], T], body: bytes | None = None
    ) -> Steps[T]:
        """What `read` makes of the reply's JSON."""
        reply, request_id = yield from self._exchange(method, path, body)
        try:
            return read(json.loads(reply.body))
        except _UNREADABLE:
            raise unreadable(self.url + path, request_id) from None

    def _limits(self) -> Steps[Limits]:
        """A key without the scope to read them has the defaults to go by."""
        if self.limits is None:
            try:
                published = (yield from self._server()).get("limits")
            except (Denied, Refused):
                published = None
            self.limits = Limits.of(published if isinstance(published, dict) else {})
        return self.limits

    def _exchange(self, method: str, path: str, body: bytes | None) -> Steps[tuple[Reply, str]]:
        """The reply with status 200, and the request's id; asked again while that may help.

        All that is ever asked may be asked twice: an answer changes nothing there.
        """
        request_id = uuid.uuid4().hex
        ends = self.clock() + self.timeout_s
        attempt = 0
        while True:
            outcome = yield Ask(method, path, body, request_id, ends - self.clock())
            assert outcome is not None
            if isinstance(outcome, Reply) and outcome.status == 200:
                return outcome, request_id
            error = fault_of(outcome, self.url + path, request_id)
            pause_s = self._pause_s(attempt, error.retry_after_s)
            if not error.again or attempt == self.retries or self.clock() + pause_s >= ends:
                raise error
            yield Pause(pause_s)
            attempt += 1

    def _pause_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Somewhere up to a bound that doubles, so that many clients don't come back together; and
        not before the endpoint asked for."""
        bound = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)
        return (retry_after_s or 0.0) + self.draw(0.0, bound)


def parts(texts: Sequence[str], written: Sequence[bytes], limits: Limits) -> Iterator[range]:
    """The positions of all texts in order, as few requests as the limits allow; a text that no
    request may hold stands alone, for the endpoint to refuse."""
    room = limits.body_bytes - 200  # for what stands around the texts
    start = characters = size = 0
    for position, text in enumerate(texts):
        characters += len(text)
        size += len(written[position]) + 1
        full = position - start >= limits.items
        if position > start and (full or characters > limits.total_characters or size > room):
            yield range(start, position)
            start, characters, size = position, len(text), len(written[position]) + 1
    if texts:
        yield range(start, len(texts))


def _written(text: str, position: int) -> bytes:
    try:
        return json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused(
            f"texts {position}: it has half of a surrogate pair; give whole characters",
            kind="lone-surrogate",
        ) from None
