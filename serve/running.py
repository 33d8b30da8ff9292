"""Start, ask and stop the endpoint on the Ray that is already connected.

The endpoint listens on the loopback of Ray's head node, so whatever touches its port runs there.
"""

import json
import logging
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.schema import ApplicationStatus

from bigmodel.errors import ClusterError
from serve import outcomes
from serve.access import require_loopback
from serve.declared import APPLICATION, Declared, address, declare, declared, living
from serve.loading import load
from serve.probe import behind_haproxy, exchange, obstacle, unreached
from serve.wanted import Pinned, ServeArgs, first_wish

SECONDS_TO_END = 60.0
_QUIET = {"log_level": "WARNING", "enable_access_log": False}
_ENVIRONMENT = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.middlewares:proxy_middlewares"}


def start(
    args: ServeArgs,
    version: Pinned,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    timeout_s: float = 180.0,
) -> str:
    """Start the endpoint with one version, and wait until it answers; returns its URL.

    What is wrong with the address or the artefact is found before anything is started; an endpoint
    that doesn't come up is taken away.
    """
    if not args.keys:
        require_loopback(host)
    _check_address(host, port)
    load(args.name, version)
    _start_serve(args, host, port)
    deadline = time.monotonic() + timeout_s
    url = _url(host, port)
    declare(Declared.new(args, first_wish(args.name, version)))
    try:
        _wait_until_running(deadline)
        _wait_until_ready(url, deadline)
        wait_until_reached(deadline)
    except BaseException:
        delete()
        raise
    return url


def ask(url: str, text: str) -> dict[str, Any]:
    """What the endpoint says to one text: the body of its answer; ClusterError otherwise."""
    status, body = _on_head(exchange, f"{url}/v1/classify", json.dumps({"inputs": text}).encode())
    if status == 200:
        answer: dict[str, Any] = json.loads(body)
        return answer
    try:
        reason = f"{status}, {json.loads(body)['detail']}"
    except (ValueError, KeyError, TypeError):  # Ray Serve's own errors are plain text
        reason = f"status {status}" if status else "no connection"
    raise ClusterError(
        f"{url} gave no answer ({reason}); send another text, or look at the replicas' logs"
    )


def stop(*, drain_s: float = 0.0) -> None:
    """End the endpoint: it says so for `drain_s` and takes no new work; what is in flight is
    answered. Ray Serve itself stays on its port."""
    if drain_s and (now := declared()):
        declare(now.next(now.wish.drained()))
        if behind_haproxy():  # then a replica that ends stays reachable for two seconds by itself
            with suppress(ClusterError):
                _wait_until_running(time.monotonic() + drain_s)
        else:
            time.sleep(drain_s)
    delete()


def delete() -> None:
    """Take the application away, answering what is in flight."""
    serve.delete(APPLICATION, _blocking=False)
    deadline = time.monotonic() + SECONDS_TO_END
    while APPLICATION in serve.status().applications:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the endpoint didn't end within {SECONDS_TO_END:g} s; look at the replicas' logs"
            )
        time.sleep(0.1)
    outcomes.forget()


def wait_until_reached(deadline: float) -> None:
    """Until the way in sends requests to each living replica; ClusterError where it doesn't."""
    while left := _on_head(unreached, sorted(living())):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"HAProxy sends no requests to {', '.join(left)}; look at the logs of Ray Serve's "
                "proxy and of these replicas"
            )
        time.sleep(0.1)


def url_of_running() -> str:
    """Where Ray Serve listens."""
    return _url(*address())


def raise_if_failed() -> None:
    """ClusterError where Ray Serve has given up on the application."""
    application = serve.status().applications.get(APPLICATION)
    if application and application.status == ApplicationStatus.DEPLOY_FAILED:
        raise ClusterError(f"the endpoint didn't start: {_reason(application)}")


def free_port() -> int:
    """A port of this machine's loopback that nobody listens on, for an endpoint soon stopped."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start_serve(args: ServeArgs, host: str, port: int) -> None:
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)  # what fails is raised
    limits = args.serve.limits
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={
                "host": host,
                "port": port,
                # the endpoint's own limits answer first
                "request_timeout_s": limits.body_timeout_s + limits.deadline_s + 5,
            },
            logging_config=_QUIET,
            controller_options={"runtime_env": {"env_vars": _ENVIRONMENT}},
        )
    except (RayError, TimeoutError) as error:
        said = str(error).strip().partition("\n")[0].rstrip(".:")
        raise ClusterError(
            f"Ray Serve doesn't start on this cluster ({type(error).__name__}: {said}); see that "
            "its head has memory left, look at its logs, and try again"
        ) from error


def _check_address(host: str, port: int) -> None:
    if serve.status().proxies:
        status, _ = _on_head(exchange, f"{_url(host, port)}/-/healthz", None)
        if status not in (200, 503):  # 503: it has no application
            raise ClusterError(
                f"Ray Serve runs on this cluster, but not on {host}:{port}; give the address that "
                "it was started with, or shut it down first"
            )
    elif reason := _on_head(obstacle, host, port):
        raise ClusterError(
            f"the endpoint can't listen on {host}:{port} ({reason}); choose another --port"
        )


def _wait_until_running(deadline: float) -> None:
    while True:
        application = serve.status().applications[APPLICATION]
        if application.status == ApplicationStatus.RUNNING:
            return
        raise_if_failed()
        reason = _reason(application)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the endpoint isn't up yet ({reason}); see that the cluster has free CPUs for "
                "serve.min_replicas, or look at the replicas' logs"
            )
        time.sleep(0.1)


def _reason(application: Any) -> str:
    """The last line of what Serve says, which is where a replica's own exception stands."""
    messages = [application.message, *(d.message for d in application.deployments.values())]
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    last = lines[-1] if lines else "Ray Serve gives no reason"
    return re.sub(r"^bigmodel\.errors\.\w+: ", "", last)


def _wait_until_ready(url: str, deadline: float) -> None:
    while True:
        status, _ = _on_head(exchange, f"{url}/v2/health/ready", None)
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{url}/v2/health/ready doesn't answer ({status or 'no connection'}); look at the "
                "logs of Ray Serve's proxy"
            )
        time.sleep(0.1)


def _on_head(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it on the head node, wherever the driver is. It must not raise: Ray would wrap it."""
    options = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
    return ray.get(ray.remote(**options)(function).remote(*arguments))


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
