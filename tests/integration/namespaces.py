"""A program in network, process and mount namespaces of its own, where the machine allows that."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

UNSHARE = "unshare --net --pid --mount --fork --kill-child --mount-proc".split()
INSIDE = "mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray && ip link set lo up"
PAIR = "ip tuntap add dev near mode tun"


@cache
def obstacle(first: str) -> str:
    """Why there can be none in which `first` works, or ""."""
    try:
        done = subprocess.run([*UNSHARE, "sh", "-c", first], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def say(program: str, *arguments: object, within_s: float, pair: bool = False) -> Any:
    """What a program of this folder prints as JSON at its end. All that it started ends with it.

    Skips the test where namespaces, or with `pair` their network devices, aren't allowed.
    """
    if reason := obstacle(f"{INSIDE} && {PAIR}" if pair else INSIDE):
        pytest.skip(f"no namespaces here: {reason}")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "BIGMODEL_"))}
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent)])
    script = here / f"{program}.py"
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", f'{INSIDE} && exec "$@"', "sh", *command],
        env=kept | {"PYTHONPATH": path, "RAY_AUTH_MODE": "token"},  # Ray reads it once
        capture_output=True,
        text=True,
        timeout=within_s,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
