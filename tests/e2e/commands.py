"""The real command: in a process of its own, or in this one, and what it said."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import waiting
from click.testing import CliRunner

from jobs.cli import main

RECIPE = Path(__file__).parents[2] / "jobs" / "recipes" / "reviews.toml"
MARK = "STARTED_BY_TEST"
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Of a Ray whose driver was killed these look for it for a minute, and then end as well."""


@dataclass(frozen=True)
class Started:
    """A `bigmodel` command under way; what it says goes into files of `folder`."""

    process: subprocess.Popen[bytes]
    folder: Path
    mark: str

    @property
    def out(self) -> str:
        return (self.folder / f"{self.mark}.out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / f"{self.mark}.err").read_text()

    @property
    def code(self) -> int:
        return self.process.wait(timeout=300)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def left(self) -> list[str]:
        """The command lines of the living processes that this command started, or that they did."""
        return list(self._living().values())

    def kill(self) -> None:
        """The command alone; its Ray notices, and ends all that could write a file."""
        self.process.kill()
        assert self.code == -signal.SIGKILL
        waiting.wait_for(lambda: all(said.startswith(AGENTS) for said in self.left()), within_s=60)

    def end(self) -> None:
        """Kill all that is left."""
        for pid in self._living():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _living(self) -> dict[int, str]:
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
                environment = (place / "environ").read_bytes()
                ours = self.mark.encode() in environment or int(session) == self.process.pid
                if ours and state != "Z":
                    said = (place / "cmdline").read_text().replace("\0", " ")
                    found[int(place.name)] = said
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found


Start = Callable[..., Started]


@dataclass(frozen=True)
class Said:
    """What a command said that ran in this process."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def invoke(arguments: Sequence[object], cwd: Path, patch: pytest.MonkeyPatch) -> Said:
    """A command in this process and that folder."""
    patch.chdir(cwd)
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return Said(done.exit_code, done.stdout, done.stderr)
