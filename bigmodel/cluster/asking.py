"""One question to a dashboard over HTTP: straight there, with a token or without, and no error."""

import http.client
import json
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where nothing did, for this `reason`."""

    status: int
    body: bytes = b""
    date: str = ""
    """As the header has it; "" without one."""
    reason: str = ""

    def value(self, *names: str) -> Any:
        """What stands at a path of names in the JSON; None where there is no such."""
        try:
            found = json.loads(self.body)
            for name in names:
                found = found[name]
        except (ValueError, LookupError, TypeError):
            return None
        return found


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """Takes an answer for an answer, whatever its status: a redirect, followed, would take the
    token elsewhere."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


def ask(
    url: str, token: str | None, *, within_s: float, wanted: dict[str, Any] | None = None
) -> Answer:
    """A GET, or a PUT of what is `wanted`; no proxy reads the token on the way."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if wanted is None else json.dumps(wanted).encode()
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}), _AsItIs)
    try:
        request = urllib.request.Request(url, data, headers, method="PUT" if data else "GET")
        with straight.open(request, timeout=within_s) as answer:
            return Answer(answer.status, answer.read(), answer.headers.get("Date", ""))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Answer(0, reason=str(getattr(error, "reason", error)).strip())
