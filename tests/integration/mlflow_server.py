"""A real MLflow server that a test may kill and start again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

SERVE = "import sys; from mlflow.server import app; app.run(port=int(sys.argv[1]), threaded=True)"
"""What `mlflow server` answers with, without its own front and its four workers: half a minute."""


class Server:
    """Its database and its address stay the same over its lives."""

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        command = [sys.executable, "-c", SERVE, str(self._port)]
        database = f"sqlite:///{self._home}/server.db"
        environment = {
            "_MLFLOW_SERVER_FILE_STORE": database,
            "_MLFLOW_SERVER_REGISTRY_STORE": database,
        }
        environment["_MLFLOW_SERVER_ARTIFACT_ROOT"] = str(self._home / "artifacts")
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._home,
                env=os.environ | environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self._home / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def kill(self) -> None:
        """At once, with its workers; nothing happens where it doesn't run."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
