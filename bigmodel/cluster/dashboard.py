"""The way to a cluster's dashboard: which addresses, which token, and a client for its jobs."""

import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bigmodel.cluster import private
from bigmodel.cluster.asking import direct
from bigmodel.cluster.head import living_head
from bigmodel.cluster.session import environment
from bigmodel.errors import ClusterError, RecipeError
from bigmodel.loopback import is_loopback

SECONDS_TO_ANSWER = 10.0
SECONDS_TO_TAKE = {"POST": 30.0, "PUT": 120.0}
"""A submission, for which the head needs an agent; an upload, which it first keeps."""

SECONDS_OF_PATIENCE = 30.0
"""With a cluster that doesn't answer: a head that is started anew is back by then."""

SECONDS_BETWEEN_TRIES = 0.5

NOT_READY = "please try again later"
"""What a head says that has only just begun."""

Answer = TypeVar("Answer")

ELSEWHERE = {"RAY_ADDRESS": None, "RAY_API_SERVER_ADDRESS": None}
"""Where Ray's client would rather go than to its argument."""


class NoSuchJob(ClusterError):
    """The cluster knows no job of that id."""


class Away(ClusterError):
    """The cluster doesn't answer, isn't ready, or the connection broke: it may have heard us."""


@dataclass(frozen=True)
class Dashboard:
    """A cluster that answered and took our token.

    `client` is Ray's JobSubmissionClient, except that it uses no proxy, doesn't wait for ever, and
    raises a ClusterError for whatever goes wrong: NoSuchJob for an id that nobody has, Away where
    there is no answer.
    """

    address: str
    client: Any
    ray_version: str
    session: str
    """The name that Ray gave it when it was started: another one after it was started anew."""


def connect(address: str, *, insecure: bool = False) -> Dashboard:
    """The dashboard at `address`, as a user writes it.

    RecipeError for an address that we don't send a token to, ClusterError where none answers or
    the token is refused.
    """
    address = checked_address(address, insecure=insecure)
    token = token_for(address)
    said = _version(address, token)
    return Dashboard(address, _client(address, token), said["ray_version"], said["session_name"])


def checked_address(address: str, *, insecure: bool) -> str:
    """The address as a URL; RecipeError where a token would cross a network in the clear."""
    url = address.rstrip("/") if "://" in address else f"http://{address.rstrip('/')}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RecipeError(f"--cluster {address}: expected the dashboard, as in http://HOST:8265")
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise RecipeError(
            f"--cluster {address}: plain HTTP would show the token to the network; open a tunnel "
            "(ssh -L 8265:localhost:8265 HOST) and use http://localhost:8265, use https, or "
            "accept it with --insecure"
        )
    return url


def token_for(address: str) -> str | None:
    """The token of the head that `bigmodel up` started on this machine, where it is that one's
    address; else the one that `read_token` finds. RAY_AUTH_TOKEN goes before both."""
    url = urlsplit(address)
    if not os.environ.get("RAY_AUTH_TOKEN") and is_loopback(url.hostname or ""):
        found = living_head() if private.place().is_dir() else None
        if found and found[0].dashboard == url.port:
            return found[1]
    return read_token()


def read_token() -> str | None:
    """The token where Ray looks for it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named or Path.home() / ".ray" / "auth_token")
    if not named and not file.exists():
        return None
    try:
        return file.read_text().strip() or None
    except OSError as error:
        raise ClusterError(f"{file}: can't read the cluster's token ({error.strerror})") from None


def _version(address: str, token: str | None) -> dict[str, str]:
    """What a Ray dashboard says of itself to whoever has its token; ClusterError otherwise."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{address}/api/version", headers=headers)
    try:
        with direct().open(request, timeout=SECONDS_TO_ANSWER) as answer:
            said = json.load(answer)
            return {name: str(said[name]) for name in ("ray_version", "session_name")}
    except urllib.error.HTTPError as error:
        error.close()
        raise ClusterError(_refusal(address, error.code, token)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", error)
        raise ClusterError(
            f"{address}: no Ray cluster answers there ({reason}); expected its dashboard, as in "
            "http://HOST:8265"
        ) from None


def _refusal(address: str, status: int, token: str | None) -> str:
    if status not in (401, 403):
        return f"{address}: answers with status {status}, which a Ray cluster's dashboard doesn't"
    where = "RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
    if token:
        return f"{address}: the cluster refuses our token; put the cluster's own in {where}"
    return f"{address}: the cluster wants a token and none is set; put it in {where}"


def _client(address: str, token: str | None) -> Any:
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
            seconds = SECONDS_TO_TAKE.get(method, SECONDS_TO_ANSWER)
            with talking_to(address):
                return super()._do_request(method, endpoint, timeout=seconds, **more)

        def get_job_logs(self, job_id: str) -> str:
            """The whole log; bytes that are no text in it are replaced, over which Ray fails."""
            try:
                return str(super().get_job_logs(job_id))
            except (Away, NoSuchJob):
                raise
            except ClusterError as refusal:
                node = self.get_job_info(job_id).driver_node_id
                whole = f"node_id={node}&submission_id={job_id}&lines=-1"
                r = self._do_request("GET", f"/api/v0/logs/file?{whole}")
                if r.status_code != 200:
                    raise refusal from None
                return str(r.content.decode(errors="replace"))

        def _raise_error(self, r: Any) -> None:
            lines = [line.strip() for line in r.text.split("\n") if re.search(r"\w", line)]
            said = lines[-1].rstrip(".") if lines else "no reason"  # below a trace, if it is one
            if r.status_code == 404:
                raise NoSuchJob(f"{address}: {said}; see which there are with: bigmodel jobs list")
            kind = Away if NOT_READY in said else ClusterError
            raise kind(f"{address}: the cluster refused (status {r.status_code}: {said})")

    logging.getLogger("ray").setLevel(logging.ERROR)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    with environment(ELSEWHERE), talking_to(address):
        return Client(address, headers=headers)


@contextmanager
def talking_to(address: str) -> Iterator[None]:
    """Without a proxy, which would read the token; what requests raise, as one sentence."""
    from ray.exceptions import AuthenticationError

    try:
        with environment({"no_proxy": "*"}):
            yield
    except AuthenticationError:
        raise ClusterError(f"{address}: the cluster refuses our token") from None
    except OSError as error:  # requests' own errors are OSErrors
        said = str(error).rpartition(": ")[2].strip("'\"()")
        raise Away(f"{address}: connection lost ({said})") from error


def patiently(ask: Callable[[], Answer], *, seconds: float | None = None) -> Answer:
    """What `ask` says; while the cluster is away it is asked again, for so many seconds (30)."""
    deadline = time.monotonic() + (SECONDS_OF_PATIENCE if seconds is None else seconds)
    while True:
        try:
            return ask()
        except ClusterError as error:
            if isinstance(error, NoSuchJob) or time.monotonic() > deadline:
                raise
        time.sleep(SECONDS_BETWEEN_TRIES)
