"""Real Ray heads with a token, each on ports and in a folder of its own, and commands for them."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import waiting

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A head that lives: its dashboard, its token, the number of its first process."""

    address: str
    gcs: str
    token: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def living_head(
    *, num_cpus: int = 3, options: tuple[str, ...] = (), variables: Mapping[str, str] | None = None
) -> Iterator[Head]:
    """A head of our own with more `options` of `ray start`; ended with all that it started."""
    token, (gcs, dashboard, client) = secrets.token_hex(32), free_ports(3)
    with tempfile.TemporaryDirectory(prefix="bm-", ignore_cleanup_errors=True) as folder:
        command = f"""ray start --head --block --num-cpus={num_cpus} --node-ip-address=127.0.0.1
            --port={gcs} --dashboard-port={dashboard} --ray-client-server-port={client}
            --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0
            --temp-dir={folder} --disable-usage-stats""".split()
        log = Path(folder, "start.log")
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, *options],
                env=command_environment(Path(folder), token) | dict(variables or {}),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        head = Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", token, process)
        try:
            waiting.wait_for(lambda: answers(head) or process.poll() is not None, within_s=120)
            assert process.poll() is None, f"the head didn't come up:\n{log.read_text()}"
            yield head
        finally:
            end(process)


def command_environment(home: Path, token: str | None) -> dict[str, str]:
    """Ours without what could lead to a cluster or a token, then `token` alone."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "BIGMODEL_"))}
    variables = kept | {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}
    return variables | ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {})


def run(command: list[str], folder: Path, token: str | None) -> subprocess.CompletedProcess[str]:
    """A command in `folder`, with a home of its own there."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        command,
        cwd=folder,
        env=command_environment(home, token),
        capture_output=True,
        text=True,
        timeout=300,
    )


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(head: Head) -> bool:
    """Does its jobs API?"""
    headers = {"Authorization": f"Bearer {head.token}"}
    request = urllib.request.Request(f"{head.address}/api/jobs/", headers=headers)
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except OSError:
        return False
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask first, so that Ray ends its workers; then whatever is left of the process group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=15)
