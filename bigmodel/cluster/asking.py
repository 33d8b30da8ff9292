"""One question to a dashboard over HTTP: straight there, with a token or without, and no error."""

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where nothing did."""

    status: int
    body: bytes = b""
    date: str = ""
    """As the header has it; "" without one."""

    def value(self, *names: str) -> Any:
        """What stands at a path of names in the JSON; None where there is no such."""
        try:
            found = json.loads(self.body)
            for name in names:
                found = found[name]
        except (ValueError, LookupError, TypeError):
            return None
        return found


class _Stay(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect a status like any other; followed, it would take the token elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def direct() -> urllib.request.OpenerDirector:
    """What goes straight there: no proxy, and no redirect, takes the token anywhere else."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)


def ask(
    url: str, token: str | None, *, within_s: float, wanted: dict[str, Any] | None = None
) -> Answer:
    """A GET, or a PUT of what is `wanted`; no proxy reads the token on the way."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if wanted is None else json.dumps(wanted).encode()
    method = "PUT" if data else "GET"
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with direct().open(request, timeout=within_s) as answer:
            return Answer(answer.status, answer.read(), _date(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), _date(error.headers))
    except (OSError, ValueError, http.client.HTTPException):
        return Answer(0)


def _date(headers: Message) -> str:
    return headers.get("Date", "")
