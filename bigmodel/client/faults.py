"""What can go wrong between a client and an endpoint; the texts stand in none of it."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from bigmodel.errors import ClusterError


@dataclass(frozen=True)
class Reply:
    """What came back; header names are lower-case, or the mapping doesn't care."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Silence:
    """Nothing whole came back, and why."""

    reason: str


class ClientError(ClusterError):
    """No answer of the wanted kind.

    `status`: of HTTP, None without a reply; `kind`: the problem's name as in `too-many-items`, ""
    where something between here and the endpoint replied; `request_id`: as in the endpoint's logs.
    """

    again: ClassVar[bool] = False
    """Whether the same request may do better a little later."""

    def __init__(
        self,
        sentence: str,
        *,
        status: int | None = None,
        kind: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status, self.kind, self.request_id = status, kind, request_id
        self.retry_after_s = retry_after_s


class NoAnswer(ClientError):
    """Nobody there, a connection cut, or too slow."""

    again = True


class Unavailable(ClientError):
    """Not now: busy, starting or ending, or the key's rate is used up (429, 502 to 504)."""

    again = True


class Denied(ClientError):
    """No key, a wrong or expired one, or one without the scope (401, 403)."""


class Refused(ClientError):
    """The request is wrong (other 4xx)."""


class Failed(ClientError):
    """The endpoint failed on this request, or what replied is no endpoint of ours."""


_NOT_NOW = {429, 502, 503, 504}
_OURS = "urn:bigmodel:error:"


def fault_of(outcome: Reply | Silence, url: str, request_id: str) -> ClientError:
    """The error that a reply other than 200 is, or none at all.

    Ray Serve and HAProxy reply in plain text, and HAProxy says 500 where it means 502 to 504. What
    isn't a problem of ours may quote the request, so nothing of it is repeated.
    """
    if isinstance(outcome, Silence):
        return NoAnswer(
            f"{url}: no answer ({outcome.reason}); check the URL, and that the endpoint runs",
            request_id=request_id,
        )
    problem = _problem(outcome)
    kind = str(problem.get("type", "")).removeprefix(_OURS)
    said = problem.get("detail") or _unsaid(outcome.status)
    return _class(outcome.status, ours=bool(problem))(
        f"{url}: {outcome.status}, {said}",
        status=outcome.status,
        kind=kind,
        request_id=str(problem.get("request_id") or request_id),
        retry_after_s=retry_after_s(outcome.headers),
    )


def unreadable(url: str, request_id: str) -> Failed:
    """For a 200 that holds something else."""
    return Failed(
        f"{url}: an answer that this client can't read; check that a bigmodel endpoint of about "
        "this release is there",
        status=200,
        request_id=request_id,
    )


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """The `Retry-After` of a reply, seconds or a date; None where there is none to read."""
    written = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", written):
        return float(written)
    try:
        at = parsedate_to_datetime(written).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at - (time.time() if now is None else now))


def _class(status: int, *, ours: bool) -> type[ClientError]:
    if status in _NOT_NOW or (status == 500 and not ours):
        return Unavailable
    if status in (401, 403):
        return Denied
    return Refused if 400 <= status < 500 else Failed


def _problem(reply: Reply) -> dict[str, Any]:
    """The problem of ours that a reply holds; empty for anything else."""
    if reply.headers.get("content-type", "").partition(";")[0] != "application/problem+json":
        return {}
    try:
        found = json.loads(reply.body)
    except ValueError:
        return {}
    ours = isinstance(found, dict) and str(found.get("type")).startswith(_OURS)
    return found if ours else {}


def _unsaid(status: int) -> str:
    if status in (401, 403):
        return "access is denied; give the right key"
    if status < 400:
        return "no answer of an endpoint; check the URL"
    return "without a reason of the endpoint's; look at what stands between, and at its logs"
