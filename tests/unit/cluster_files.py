"""What the files for clusters must agree on with our code and with constraints.txt."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from serve.ingress import COMMON, HAPROXY

ROOT = Path(__file__).parents[2]
TOKEN_SINCE = (2, 52, 0)
"""The first Ray that KubeRay gives a token."""

WITH_EACH_DEPLOY = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""It names a module of ours, which a proxy that nobody deployed to wouldn't find."""

HAPROXY_ITSELF = {
    "RAY_SERVE_HAPROXY_BINARY_PATH": "/home/ray/haproxy",
    "RAY_SERVE_HAPROXY_MAXCONN": "4096",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
}
"""What `serve.ingress` works out for the machine that it runs on."""


def settings_of_the_way_in() -> dict[str, str]:
    """What each node of a cluster must have in its environment before Ray starts."""
    ours = {name: value for name, value in (COMMON | HAPROXY).items() if name != WITH_EACH_DEPLOY}
    return ours | HAPROXY_ITSELF


def mlflow_answers_to(host: str, allowed: Sequence[str] = ()) -> bool:
    """MLflow's own word; its server's package would take seconds to import."""
    package = importlib.util.find_spec("mlflow")
    assert package and package.origin
    file = Path(package.origin).parent / "server" / "security_utils.py"
    spec = importlib.util.spec_from_file_location("security_utils", file)
    assert spec and spec.loader
    rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rules)
    return bool(rules.is_allowed_host_header(allowed or rules.get_default_allowed_hosts(), host))


def pinned(package: str) -> str:
    """Its version in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return dict(line.split("==") for line in lines)[package]
