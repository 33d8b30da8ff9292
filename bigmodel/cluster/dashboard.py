"""The way to a cluster's dashboard: which addresses, which token, and a client for its jobs."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from bigmodel.cluster import private
from bigmodel.cluster.asking import ask
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

TOKEN_PLACES = "RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"

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
    """The address as a URL; RecipeError for what is none, or holds a password, and where a token
    would cross a network in the clear."""
    if "@" in address:
        raise RecipeError(
            "--cluster has a user's name or password in it, which no cluster asks for and logs "
            f"would keep; take out what stands before the @, and put the token in {TOKEN_PLACES}"
        )
    url = address.rstrip("/") if "://" in address else f"http://{address.rstrip('/')}"
    parts = _parts(url)
    if parts is None:
        raise RecipeError(f"--cluster {address}: expected the dashboard, as in http://HOST:8265")
    if parts.scheme == "http" and not insecure and not is_loopback(str(parts.hostname)):
        raise RecipeError(
            f"--cluster {address}: plain HTTP would show the token to the network; open a tunnel "
            "(ssh -L 8265:localhost:8265 HOST) and use http://localhost:8265, use https, or "
            "accept it with --insecure"
        )
    return url


def _parts(url: str) -> SplitResult | None:
    """None of what can be no dashboard's URL."""
    with suppress(ValueError):  # of brackets without an end, say
        parts = urlsplit(url)
        web = parts.scheme in ("http", "https") and parts.port != 0  # which raises for 82x65
        if web and parts.hostname and not re.search(r"\s", url):
            return parts
    return None


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
    """The token where Ray looks for it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    ClusterError for a file that others can read, as Ray itself writes it.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return _plain(token.strip(), "RAY_AUTH_TOKEN")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named or Path.home() / ".ray" / "auth_token")
    if not named and not file.exists():
        return None
    try:
        private.check(file, "600")
        return _plain(file.read_text(errors="replace").strip(), str(file)) or None
    except OSError as error:
        raise ClusterError(f"{file}: can't read the cluster's token ({error.strerror})") from None


def _plain(token: str, source: str) -> str:
    """A token that fits into a header, which the error about another one would repeat."""
    if re.fullmatch(r"[!-~]*", token):
        return token
    raise ClusterError(
        f"{source}: expected a token in one line of letters and digits, and what is there has "
        "blanks, lines or other characters; put the cluster's own there"
    )


def _version(address: str, token: str | None) -> dict[str, str]:
    """What a Ray dashboard says of itself to whoever has its token; ClusterError otherwise."""
    answer = ask(f"{address}/api/version", token, within_s=SECONDS_TO_ANSWER)
    if answer.status not in (0, 200):
        raise ClusterError(_refusal(address, answer.status, token))
    said = {name: answer.value(name) for name in ("ray_version", "session_name")}
    if not all(isinstance(value, str) for value in said.values()):
        reason = answer.reason or "what answers says no version of Ray"
        raise ClusterError(
            f"{address}: no Ray cluster answers there ({reason}); expected its dashboard, as in "
            "http://HOST:8265"
        )
    return said


def _refusal(address: str, status: int, token: str | None) -> str:
    if status not in (401, 403):
        return f"{address}: answers with status {status}, which a Ray cluster's dashboard doesn't"
    if token:
        return f"{address}: the cluster refuses our token; put the cluster's own in {TOKEN_PLACES}"
    return f"{address}: the cluster wants a token and none is set; put it in {TOKEN_PLACES}"


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

    for name in ("ray", "ray.dashboard.modules.dashboard_sdk"):  # the one says of each upload so
        logging.getLogger(name).setLevel(logging.ERROR)
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
