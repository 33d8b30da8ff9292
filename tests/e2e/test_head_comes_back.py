"""A head that was killed whole, and `bigmodel up` again: registry, keys and endpoint are back."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from heads import free_ports
from waiting import wait_for

from bigmodel.artifact import Artifact
from bigmodel.registry import Registry

BIN = Path(sys.executable).parent
SECONDS_TO_COME_BACK = 90
BUSY = 2.0 * (os.cpu_count() or 1)
"""The load above which seconds say nothing."""

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class Machine:
    """A home, a storage and the commands there."""

    home: Path
    storage: str

    def bigmodel(self, *arguments: str) -> Any:
        """The command's result."""
        done = self.command(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "BIGMODEL_"))}
        return subprocess.run(
            [str(BIN / "bigmodel"), *arguments, "--json", "--storage", self.storage],
            env=kept | {"HOME": str(self.home), "BIGMODEL_HOME": str(self.home / "own")},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
        )

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.home / "own" / "head" / "head.json").read_text())

    def processes(self) -> list[psutil.Process]:
        """All in the head's session."""
        session = self.state["started"]["session"]
        return [each for each in psutil.process_iter() if _session(each.pid) == session]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


@pytest.fixture
def machine(tmp_path: Path, tiny_uri: str) -> Iterator[Machine]:
    """With two versions of a model, and nothing up."""
    machine = Machine(tmp_path, str(tmp_path / "store"))
    registry = Registry(machine.storage)
    for _ in range(2):
        registry.publish(
            "tiny", tiny_uri, digest=Artifact.load(tiny_uri).digest, metrics={}, run_id=""
        )
    yield machine
    with suppress(FileNotFoundError):
        processes = machine.processes()
        assert machine.command("down").returncode == 0
        assert not [each for each in processes if _lives(each)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def classify(url: str, key: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(
        f"{url}/v1/classify", json={"inputs": "手机电池不耐用"}, headers=headers, timeout=30
    )


@pytest.mark.parametrize("whole", [True, False])
def test_all_that_was_deployed_is_back_after_a_kill(machine, whole, capsys):
    """`whole`: every process of the session; else those alone that last as long as the head, and
    the workers and HAProxy lose their head."""
    machine.bigmodel("up")
    key = machine.bigmodel("keys", "add", "王芳")["key"]
    port = str(free_ports(1)[0])
    machine.bigmodel("deploy", "tiny@1", "--port", port)
    there = f"http://127.0.0.1:{machine.state['dashboard']}"
    url = machine.bigmodel("deploy", "tiny@2", "--cluster", there)["url"]  # as from a laptop
    assert classify(url, key).json()["version"] == "2"
    before = machine.state
    lasting = set(before["started"]["lasting"])
    killed = [each for each in machine.processes() if whole or each.pid in lasting]
    left = [each for each in machine.processes() if each not in killed]
    for process in killed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not [each for each in killed if _lives(each)], within_s=30)

    left = [each for each in left if _lives(each)]
    begun = time.monotonic()
    said = machine.bigmodel("up")
    took, load = time.monotonic() - begun, os.getloadavg()[0]
    with capsys.disabled():
        print(f"\n{len(killed)} killed, {len(left)} left: up in {took:.1f} s, load {load:.1f}")

    assert said["started"] and said["put_back"] == {"models": ["tiny@2"], "url": url}
    assert took < SECONDS_TO_COME_BACK or load > BUSY, f"{took:.1f} s"
    assert classify(url, key).json()["version"] == "2"
    assert classify(url, None).status_code == 401
    assert not [each for each in [*killed, *left] if _lives(each)]
    assert not Path(before["folder"]).exists()
    aliases = {row["model"]: row["aliases"] for row in machine.bigmodel("models", "list")}
    assert "deployed" in aliases["tiny@2"], aliases
    back = machine.bigmodel("deploy", "tiny", "--rollback")
    assert (back["model"], classify(url, key).json()["version"]) == ("tiny@1", "1")
    assert machine.bigmodel("up")["put_back"] is None

    machine.bigmodel("down")
    assert machine.bigmodel("up")["put_back"] is None  # what was ended isn't brought back
    os.kill(machine.state["started"]["session"], signal.SIGKILL)
