"""Jobs on a cluster, through Ray's job API and its token; the only place that knows either."""

import json
import logging
import os
import secrets
import shlex
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bigmodel
from bigmodel.cluster.packing import Luggage, stage
from bigmodel.cluster.session import RESULT_MARK, environment
from bigmodel.errors import ClusterError, RecipeError
from bigmodel.loopback import is_loopback

OUR_EXIT_CODES = (0, 1, 2, 3, 4, 5, 130)
SECONDS_TO_ANSWER = 10.0
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_WITHOUT_A_LOOK = 30.0


@dataclass(frozen=True)
class Submission:
    """A job on a cluster."""

    id: str
    address: str
    mark: str
    client: Any


def submit(verb: str, luggage: Luggage, address: str, *, insecure: bool = False) -> Submission:
    """Start `python -m jobs.<verb>` with `luggage` on the cluster at `address`.

    RecipeError for an address that we don't send a token to, ClusterError where none answers or
    the token is refused.
    """
    address = checked_address(address, insecure=insecure)
    token = read_token()
    _check_cluster(address, token)
    client = _client(address, token)
    name = f"bigmodel-{verb}-{luggage.name}-{secrets.token_hex(4)}"
    mark = f"{name}-{secrets.token_hex(16)}:"
    with tempfile.TemporaryDirectory(prefix="bigmodel-") as folder, _talking_to(address):
        stage(luggage, Path(folder))
        client.submit_job(
            entrypoint=shlex.join(["python", "-m", f"jobs.{verb}", *luggage.arguments]),
            submission_id=name,
            entrypoint_num_cpus=1,  # else the driver would sit on the head, however full it is
            metadata={"verb": verb, "name": luggage.name, "bigmodel": bigmodel.__version__},
            runtime_env={"working_dir": folder, "env_vars": {RESULT_MARK: mark}},
        )
    return Submission(name, address, mark, client)


def follow(submission: Submission, say: Callable[[str], None]) -> tuple[int, Any]:
    """Pass on the job's log line by line until it ended; its exit code and its result.

    The whole log is fetched each time: Ray's own way of following one loses the last lines.
    """
    said, ended, result = 0, False, None
    while not ended:
        info, log = _look_at(submission)
        ended = info.status.is_terminal()
        lines = _own_lines(log, submission.id)
        if not (ended and lines[-1]):
            lines.pop()  # what follows the last line's end: nothing, or a line half-written
        for line in lines[said:]:
            if line.startswith(submission.mark):
                result = json.loads(line.removeprefix(submission.mark))
            else:
                say(line)
        said = len(lines)
        if not ended:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    code = info.driver_exit_code
    if code not in OUR_EXIT_CODES or (code == 0 and result is None):
        why = (info.message or "no reason given").partition("\n")[0]
        raise ClusterError(f"the job {submission.id} was lost on {submission.address}: {why}")
    return code, result


def _look_at(submission: Submission) -> tuple[Any, str]:
    """The job's state and its log; ClusterError where the cluster is away for more than a while."""
    deadline = time.monotonic() + SECONDS_WITHOUT_A_LOOK
    while True:
        try:
            with _talking_to(submission.address, f"; the job {submission.id} goes on there"):
                info = submission.client.get_job_info(submission.id)
                return info, submission.client.get_job_logs(submission.id)
        except ClusterError:
            if time.monotonic() > deadline:
                raise
        time.sleep(SECONDS_BETWEEN_LOOKS)


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


class _Stay(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect a status like any other; followed, it would take the token elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _check_cluster(address: str, token: str | None) -> None:
    """ClusterError unless a Ray dashboard answers soon and accepts the token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{address}/api/jobs/", headers=headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
    try:
        with direct.open(request, timeout=SECONDS_TO_ANSWER) as answer:
            json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise ClusterError(_refusal(address, error.code, token)) from None
    except (OSError, ValueError) as error:
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
    """Ray's client, which would rather go where these variables point than to its argument."""
    from ray.job_submission import JobSubmissionClient

    for handler in logging.getLogger("ray").handlers:
        handler.setLevel(logging.ERROR)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    with environment({"RAY_ADDRESS": None, "RAY_API_SERVER_ADDRESS": None}), _talking_to(address):
        return JobSubmissionClient(address, headers=headers)


@contextmanager
def _talking_to(address: str, and_now: str = "") -> Iterator[None]:
    """Without a proxy, which would read the token; what Ray's client raises, as one sentence."""
    from ray.exceptions import AuthenticationError

    try:
        with environment({"no_proxy": "*"}):
            yield
    except AuthenticationError:
        raise ClusterError(f"{address}: the cluster refuses our token{and_now}") from None
    except OSError as error:  # requests' own errors are OSErrors
        raise ClusterError(f"{address}: connection lost ({error}){and_now}") from error
    except RuntimeError as error:
        said = str(error).strip().partition("\n")[0]
        raise ClusterError(f"{address}: the cluster refused ({said}){and_now}") from error


def _own_lines(log: str, job: str) -> list[str]:
    """What the job itself wrote, after Ray's announcement of it; never empty."""
    _, _, after = log.partition(f"Running entrypoint for job {job}:")
    return after.partition("\n")[2].split("\n")
