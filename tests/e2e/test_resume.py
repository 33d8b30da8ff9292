"""A training command that is killed, stopped or out of disk, and the one that goes on with it."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from commands import Said, Start, Started
from comments import write_comments
from safetensors.torch import load_file

from bigmodel.data.prepare import prepare
from bigmodel.recipe import load_recipe
from bigmodel.storage import folder
from bigmodel.training.checkpoints import Checkpoints
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.team import Team

RECIPE = """
name = "comments"
data.train = "评论.csv"
model.kind = "mlp"
model.mlp.dropout = 0.3
[train]
epochs = 12
rows_per_step = 2
early_stop = 0
checkpoint_s = 0
"""


@pytest.fixture(scope="module")
def place(new_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe of many small steps, which outlast whoever waits for the first."""
    folder = tmp_path_factory.mktemp("resume")
    copytree(new_storage, folder / "storage")
    return write_comments(folder, RECIPE)


def checkpoints(place: Path) -> set[Path]:
    """Of all runs there, those that are whole."""
    return set(place.glob("storage/runs/*/checkpoints/[0-9]*/manifest.json"))


def run_of(checkpoint: Path) -> str:
    return checkpoint.parents[2].name


@dataclass(frozen=True)
class Stopped:
    """A command that was ended while it trained, its run, and what the command said."""

    command: Started
    run_id: str


@pytest.fixture(scope="module", autouse=True)
def _beside(request: pytest.FixtureRequest) -> None:
    """The story of the full disk, a minute of two commands that share nothing with the others of
    this module: it goes on beside them, if its test was asked for."""
    if any("full" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("full")


@pytest.fixture(scope="module")
def begin(start: Start, wait_for: Any, place: Path) -> Callable[..., Stopped]:
    """Start training with some settings, up to the first checkpoint of a new run."""

    def begin(*settings: str, **options: Any) -> Stopped:
        before = {run_of(found) for found in checkpoints(place)}
        command = start("train", "recipe.toml", *settings, cwd=place, ray=True, **options)
        new = wait_for(
            lambda: {run_of(found) for found in checkpoints(place)} - before or command.ended,
            within_s=300,
        )
        assert not command.ended, command.err
        return Stopped(command, new.pop())

    return begin


@pytest.fixture(scope="module")
def killed(begin: Callable[..., Stopped]) -> Stopped:
    found = begin()
    found.command.kill()
    return found


@pytest.fixture(scope="module")
def interrupted(killed: Stopped, begin: Callable[..., Stopped]) -> Stopped:
    """By Ctrl-C."""
    found = begin("--json")
    os.killpg(found.command.process.pid, signal.SIGINT)  # as a terminal does
    assert found.command.code == 130
    return found


@pytest.fixture(scope="module")
def undisturbed(killed: Stopped, place: Path) -> dict[str, torch.Tensor]:
    """The weights that one process comes to, without Ray and without a stop."""
    recipe = load_recipe(place / "recipe.toml", storage=str(place / "storage"))
    data = training_data(prepare(recipe), recipe)
    return fit_weights(recipe, data, Team()).state


@pytest.fixture
def check_goes_on(
    on_our_ray: Any, place: Path, undisturbed: dict[str, torch.Tensor]
) -> Callable[..., None]:
    """On the session's Ray: the run whose disk was full is gone on with by the real command."""

    def check(run_id: str, *, verb: str = "train") -> None:
        until = ("--until", "train") if verb == "run" else ()
        done = on_our_ray(verb, "recipe.toml", "--resume", run_id, "--json", *until, cwd=place)
        found = done.json
        assert found["run_id"] == run_id
        assert same_bytes(Path(found["artifact"]), undisturbed)
        assert not (place / "storage" / "runs" / run_id).exists()

    return check


def same_bytes(artifact: Path, expected: dict[str, torch.Tensor]) -> bool:
    """Has the artefact these weights, to the last bit?"""
    found = load_file(artifact / "weights.safetensors")
    same = (torch.equal(tensor, expected[name]) for name, tensor in found.items())
    return found.keys() == expected.keys() and all(same)


def sentence(done: Said) -> str:
    """What a command that failed said last, without the lines of its progress."""
    assert "Traceback" not in done.err, done.err
    return done.err.splitlines()[-1]


def test_the_next_command_begins_a_new_run_and_names_the_one_that_was_killed(interrupted, killed):
    assert interrupted.run_id != killed.run_id
    said = f"this is a new run; {killed.run_id} of comments was stopped before its end, and "
    assert f"{said}--resume {killed.run_id} goes on with it" in interrupted.command.err


def test_a_run_that_is_going_on_is_not_gone_on_with(here, place, killed):
    mark = place / "storage" / "mlflow" / "running" / killed.run_id
    with mark.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the process of a run that is alive
        other = here("train", "recipe.toml", "--resume", killed.run_id, cwd=place)
    mark.unlink()
    assert other.code == 2
    assert sentence(other) == (
        f"bigmodel: --resume {killed.run_id}: the run is going on right now; wait for its end, or "
        "stop it first"
    )


def test_a_killed_run_goes_on_to_the_bytes_it_would_have_had(killed, check_goes_on):
    check_goes_on(killed.run_id)


def test_ctrl_c_keeps_a_last_checkpoint_and_says_how_to_go_on(interrupted, check_goes_on):
    stopped = interrupted
    said = stopped.command.err
    assert "stopping after a last checkpoint; Ctrl-C again stops at once" in said
    assert f"stopped; the same command with --resume {stopped.run_id} goes on" in said
    assert said.endswith("bigmodel: interrupted\n") and "Traceback" not in said
    assert stopped.command.out == "" and not stopped.command.left()
    check_goes_on(stopped.run_id, verb="run")


def test_a_run_that_there_is_not_is_refused_in_a_sentence(here, place, killed):
    gone = here("train", "recipe.toml", "--resume", "nobody", cwd=place)
    assert gone.code == 2 and "has no such run (found: " in sentence(gone)


@pytest.mark.chaos
@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT, SIGINT"])
def test_other_ways_to_stop_a_run(end, begin, check_goes_on):
    stopped = begin()
    for name in end.split(", "):
        os.kill(stopped.command.process.pid, signal.Signals[name])
        time.sleep(0.05)
    began = time.monotonic()
    assert stopped.command.code == 130, stopped.command.err
    assert time.monotonic() - began < 20 and "Traceback" not in stopped.command.err
    check_goes_on(stopped.run_id)


@dataclass(frozen=True)
class Disk:
    """A small file system that only the commands `within` see as `place`; others, as `seen`."""

    place: Path
    seen: Path
    within: tuple[str, ...]

    def fill(self) -> None:
        with suppress(OSError), open(self.seen / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1 << 12))

    def free(self) -> None:
        (self.seen / "filler").unlink()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    mount = 'mount -t tmpfs -o size=64m tmpfs "$0" && echo mounted && exec cat'
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", mount, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with holder:
        if (said := holder.stdout.readline().strip()) != "mounted":
            pytest.skip(f"no file system can be mounted here: {said}")
        within = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")
        yield Disk(folder, Path(f"/proc/{holder.pid}/root{folder}"), within)
        holder.stdin.close()


@dataclass(frozen=True)
class Full:
    """A command whose disk became full, its run, what that kept, and the one that went on."""

    command: Started
    run_id: str
    steps: list[int]
    newest: int
    wrong: list[str]
    resumed: Started


@pytest.fixture(scope="module")
def full(
    start: Start, run: Start, wait_for: Any, disk: Disk, place: Path
) -> Iterator[Future[Full]]:
    storage = disk.seen / "storage"
    command = ("train", place / "recipe.toml", "--storage", disk.place / "storage")
    options = {"cwd": place, "ray": True, "within": disk.within}

    def story() -> Full:
        full = start(*command, **options)
        begun = "runs/*/checkpoints/0*"
        wait_for(lambda: list(storage.glob(begun)) or full.ended, within_s=300)
        assert not full.ended, full.err
        disk.fill()
        (run_id,) = {path.parents[1].name for path in storage.glob(begun)}
        assert full.code not in (0, 1)
        kept = Checkpoints(folder(storage / "runs" / run_id / "checkpoints"))
        steps, (newest, wrong) = list(kept.steps()), kept.newest()
        disk.free()
        resumed = run(*command, "--resume", run_id, "--json", **options)
        return Full(full, run_id, steps, newest.step, wrong, resumed)

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(story)


def test_a_full_disk_ends_a_run_in_a_sentence_and_it_goes_on_when_there_is_room(
    full, disk, undisturbed
):
    found = full.result()
    step = found.steps[-1]
    assert found.newest == step and not found.wrong
    said = found.command.err.splitlines()[-1]
    assert "can't write there (No space left on device); make room" in said
    assert said.endswith(
        f"; the same command with --resume {found.run_id} goes on from step {step}"
    )
    assert "Traceback" not in found.command.err
    artifact = disk.seen / Path(found.resumed.json["artifact"]).relative_to(disk.place)
    assert same_bytes(artifact, undisturbed)
    storage = disk.seen / "storage"
    assert not [path for path in storage.rglob(".*") if path.name != ".lock"]
    assert not list(storage.glob("runs/*"))


def test_of_a_killed_command_no_process_stays(killed, wait_for):
    wait_for(lambda: not killed.command.left(), within_s=120)
