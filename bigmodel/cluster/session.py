"""Connecting to Ray: the only place of `ray.init` outside the tests."""

import json
import logging
import os
import secrets
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from bigmodel.cluster.floors import check_floors
from bigmodel.errors import ClusterError

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_RAISE_ORIGINAL_MAP_EXCEPTION": "1",  # else our errors come back without their class
    "RAY_AIR_NEW_OUTPUT": "0",  # else Tune prints its tables, whatever its `verbose`
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning with every session
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: it ends the session, and the command
}
"""No reports to anyone and no noise; read when Ray and MLflow are imported, so set before."""

LOCAL: dict[str, str | None] = {
    "RAY_AUTH_MODE": None,  # not "disabled"; Ray then sets "token", also where it is imported
    "RAY_worker_niceness": "0",  # 15 by default: workers would lose to everything else
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less; nothing preempts this machine
}

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Where Ray is told the loopback's address it would else take the machine's own, for all to reach;
read when Ray is imported. The head and who joins it must agree."""

LOGGERS = ("ray", "ray.data", "ray.train", "ray.tune", "ray.serve")

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray's job supervisor, and by nothing else, in the driver's environment."""

RESULT_MARK = "BIGMODEL_RESULT_MARK"
"""Set for a job that we submit: what the line with its result must begin with."""


def run_mark(mark: str) -> str:
    """What a line begins with that says the run which can be gone on with; no result begins so."""
    return f"{mark}run:"


def in_submitted_job() -> bool:
    """Was this process started by a cluster's job supervisor?"""
    return JOB_CONFIG in os.environ


def prepare_environment() -> None:
    """Our settings for this process and those it starts; a variable that is set stays."""
    settings = SETTINGS if in_submitted_job() else {**SETTINGS, **LOOPBACK}
    for name, value in settings.items():
        os.environ.setdefault(name, value)


@contextmanager
def ray_session(
    *, num_cpus: int | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Ray for the duration of the block, and nothing of it left running after.

    Inside an initialised Ray: that one, which stays. In a submitted job: its cluster. Otherwise a
    Ray of its own with `num_cpus` CPUs (default: the machine's) and with `variables` in all its
    processes, never another one that happens to run on this machine.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():
        yield
        return
    with _session(_joined() if in_submitted_job() else _started(num_cpus, variables or {})):
        yield


@contextmanager
def attached(port: int, token: str) -> Iterator[None]:
    """The Ray head on this machine whose GCS listens on `port`; it lives on after the block."""
    prepare_environment()
    variables = {
        **LOOPBACK,
        "RAY_ADDRESS": f"127.0.0.1:{port}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
    }
    with environment(variables), _session(_at(variables["RAY_ADDRESS"])):
        yield


@contextmanager
def _session(connected: AbstractContextManager[None]) -> Iterator[None]:
    check_floors()
    import ray

    ending = signal.getsignal(signal.SIGTERM)
    with connected:
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ending)  # Ray's would exit with 15, come what may
            _quiet_loggers()
            yield
        finally:
            ray.shutdown()


@contextmanager
def _joined() -> Iterator[None]:
    """The cluster that started this job; its workers must find it among several on a machine."""
    import ray

    address = os.environ["RAY_ADDRESS"]
    given = json.loads(os.environ[JOB_CONFIG]).get("runtime_env", {}).get("env_vars", {})
    wanted = {**SETTINGS, "RAY_ADDRESS": address}
    env_vars = {name: value for name, value in wanted.items() if name not in given}
    ray.init(
        address, runtime_env={"env_vars": env_vars}, log_to_driver=False, logging_level="ERROR"
    )
    yield


@contextmanager
def _at(address: str) -> Iterator[None]:
    import ray

    ray.init(address, log_to_driver=False, logging_level="ERROR")
    yield


@contextmanager
def _started(num_cpus: int | None, variables: Mapping[str, str]) -> Iterator[None]:
    """A Ray on this machine, for this process alone: on the loopback, behind a token that nobody
    else has.

    Ray Train's clean-up asks `RAY_ADDRESS` for its cluster, and a wrong one where several run
    and none is named. Workers inherit the variable, so the port is chosen before they start.
    """
    import ray

    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # kept: Ray caches the first one
    port = str(_free_port())
    own = {"RAY_GCS_SERVER_PORT": port, "RAY_ADDRESS": f"127.0.0.1:{port}"}
    with environment({**LOCAL, **variables, **own}):
        try:
            ray.init(
                "local",
                num_cpus=num_cpus,
                log_to_driver=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
            )
        except Exception as error:  # Ray raises bare ones
            said = str(error).strip().partition("\n")[0].rstrip(".")
            raise ClusterError(
                f"Ray doesn't start on this machine ({said}); see that it has memory left and "
                "isn't too busy, and try again"
            ) from error
        yield


def _quiet_loggers() -> None:
    """What fails is raised and said once. After the imports, which would set the levels back."""
    import ray.data
    import ray.train  # noqa: F401

    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"ray\.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Some variables set, or unset by None, for the block; after it everything is as it was."""
    before = {name: os.environ.get(name) for name in values}
    _set_variables(values)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
