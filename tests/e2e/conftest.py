"""The real command in a process and a folder of its own, and one whole `run` for a session."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import waiting
from commands import MARK, RECIPE, Said, Start, Started, invoke

BIN = Path(sys.executable).parent


def _hear_ctrl_c() -> None:
    """Also where the tests run in the background, whose children ignore it otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start `bigmodel` with arguments, and without the variables that lead to a Ray or a storage;
    `within` is a program and its arguments that ends by starting it.

    Unless `ray` is said, it could not start one: Ray would find no place for its files.
    """
    folder = tmp_path_factory.mktemp("said")
    all_started: list[Started] = []
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "BIGMODEL_"))}

    def start(
        *arguments: object, cwd: Path, ray: bool = False, within: Sequence[str] = ()
    ) -> Started:
        mark = uuid.uuid4().hex
        environment = kept | {"HOME": str(folder), MARK: mark}
        if not ray:
            environment["RAY_TMPDIR"] = str(folder / "no-ray" / ("x" * 100))
        with open(folder / f"{mark}.out", "wb") as out, open(folder / f"{mark}.err", "wb") as err:
            process = subprocess.Popen(
                [*within, str(BIN / "bigmodel"), *map(str, arguments)],
                cwd=cwd,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=_hear_ctrl_c,
            )
        all_started.append(Started(process, folder, mark))
        return all_started[-1]

    yield start
    for one in all_started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(scope="session")
def run(start: Start) -> Start:
    """As `start`, and wait for the end."""

    def run(*arguments: object, **options: Any) -> Started:
        started = start(*arguments, **options)
        assert started.code is not None
        return started

    return run


@pytest.fixture(scope="session")
def on_our_ray(ray_local: None) -> Callable[..., Said]:
    """As `run`, on the session's Ray, without the ten seconds in which a command starts its own:
    for what goes on from, or is judged by, what real commands left."""

    def on_our_ray(*arguments: object, cwd: Path) -> Said:
        with pytest.MonkeyPatch.context() as patch:
            return invoke(arguments, cwd, patch)

    return on_our_ray


@pytest.fixture
def here() -> Callable[..., Said]:
    """As `run`, without the seconds that a process takes to start: for verbs of which another test
    has started one. It can't start a Ray either, nor find the one of other tests.
    """

    def no_ray(*_: object, **__: object) -> None:
        pytest.fail("this command starts a Ray")  # no `except Exception` of ours hears that

    def here(*arguments: object, cwd: Path) -> Said:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ray.is_initialized", lambda: False)
            patch.setattr("ray.init", no_ray)
            for name in [name for name in os.environ if name.startswith(("RAY_", "BIGMODEL_"))]:
                patch.delenv(name)
            return invoke(arguments, cwd, patch)

    return here


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """As a fixture, for tests that take no more than that."""
    return waiting.wait_for


@dataclass(frozen=True)
class Demo:
    """The demo's recipe after one `run`, in a folder that was new."""

    run: Started
    recipe: Path
    folder: Path


@pytest.fixture(scope="session")
def demo(run: Start, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    return Demo(run("run", RECIPE, "--json", cwd=folder, ray=True), RECIPE, folder)
