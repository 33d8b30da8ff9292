"""A head that outlives its command: what is written down, what is alive, what is ended."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import wait_for

from bigmodel.cluster import head, private, processes
from bigmodel.cluster.asking import Answer
from bigmodel.cluster.processes import Started
from bigmodel.errors import ClusterError

STAND_IN = Path(__file__).parent / "answering_head.py"
FAMILY = """
import signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = [sys.executable, "-c", "import time; time.sleep(600)", *sys.argv[1:2]]
one, far = subprocess.Popen(child), subprocess.Popen(child[:3], start_new_session=True)
print(one.pid, far.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(private.HOME, str(tmp_path / "home"))
    return tmp_path / "home" / "head"


@pytest.fixture
def family() -> Iterator[Callable[..., tuple[Started, list[int]]]]:
    """A process that starts one in its session and one in another; all of them."""
    begun: list[subprocess.Popen[str]] = []
    others: list[int] = []

    def start(*arguments: str) -> tuple[Started, list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", FAMILY, "甲-mark", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        begun.append(process)
        assert process.stdout
        near, far = map(int, process.stdout.readline().split())
        others.extend((near, far))
        return Started(process.pid, (process.pid, near), "甲-mark"), [process.pid, near, far]

    yield start
    for pid in others:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in begun:
        process.kill()
        process.communicate()


def living(pids: list[int]) -> list[int]:
    return [
        pid
        for pid in pids
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


def test_all_that_was_started_is_found_and_ended(family: Any) -> None:
    started, pids = family()
    assert started.alive
    assert sorted(each.pid for each in started.processes()) == sorted(pids)
    assert sorted(started.seen().lasting) == sorted(pids[:2])
    started.end()
    assert not living(pids)
    assert not started.alive


def test_what_does_not_hear_is_killed(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SECONDS_TO_HEAR", 0.3)
    started, pids = family("deaf")
    started.end()
    assert not living(pids)


def test_what_outlived_its_first_process_is_found(family: Any) -> None:
    started, (first, near, far) = family()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not living([first]), within_s=20)
    assert started.alive
    started.end()
    assert not living([near])


def test_what_a_killed_head_left_in_its_session_is_ended(family: Any) -> None:
    """HAProxy, say, which isn't among the lasting ones and has the mark somewhere."""
    started, (first, near, far) = family()
    lasting_gone = Started(started.session, (first,), started.mark)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not living([first]), within_s=20)
    assert not lasting_gone.alive
    lasting_gone.end()
    assert living([near, far]) == [far]  # in a session of its own, and of nobody's any more


def test_an_agent_without_a_name_is_found_by_the_folder_that_it_began_in(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(sleeper, cwd=tmp_path, start_new_session=True)
    try:
        wait_for(lambda: psutil.Process(process.pid).cmdline(), within_s=20)
        left = Started(process.pid, (), str(tmp_path))
        assert not left.alive
        Started(process.pid, (), f"{tmp_path}-乙").end()
        assert living([process.pid])
        left.end()
        assert not living([process.pid])
    finally:
        process.kill()
        process.wait()


def test_what_was_never_started_has_no_processes(
    family: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container all that was begun from without has the session 0."""
    started, pids = family()
    monkeypatch.setattr(processes, "_session", lambda _: 0)
    nothing = Started(0, (), started.mark)
    assert nothing.processes() == []
    nothing.end()
    assert living(pids) == pids


def test_a_process_that_came_to_have_the_number_is_left_alone(family: Any) -> None:
    started, pids = family()
    stale = Started(started.session, started.lasting, "乙-mark")
    assert not stale.alive
    stale.end()
    assert living(pids) == pids


def test_the_folder_and_its_files_are_for_nobody_else(home: Path) -> None:
    private.write("token", "秘密")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600
    assert private.read("token") == "秘密"
    private.remove("token")
    assert private.read("token") == ""


def test_what_others_could_read_is_refused_with_the_remedy(home: Path) -> None:
    private.write("token", "秘密")
    (home / "token").chmod(0o644)
    with pytest.raises(ClusterError, match=f"chmod 600 {home}/token"):
        private.read("token")
    home.chmod(0o755)
    with pytest.raises(ClusterError, match=f"chmod 700 {home}"):
        private.write("token", "秘密")


def stand_in(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(head, "RAY_START", (sys.executable, str(STAND_IN), kind))
    monkeypatch.setattr(head, "SECONDS_TO_START", 20.0)
    monkeypatch.setattr(head, "PORTS", dict.fromkeys(head.PORTS, 1))  # never free: any other


def test_up_is_found_and_not_started_twice_and_down_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "guarded")
    seen: list[Path] = []

    def variables(folder: Path) -> dict[str, str]:
        seen.append(folder)
        return {"RAY_SERVE_ENABLE_HA_PROXY": "0"}

    found, now = head.start(variables)
    try:
        assert now
        assert head.living_head() == (found, (home / "token").read_text())
        assert head.start(variables) == (found, False)
        assert (seen, found.folder) == ([Path(found.folder)], str(seen[0]))
    finally:
        assert head.stop() == found
    assert not found.started.alive
    assert head.living_head() is None
    assert head.stop() is None
    assert not Path(found.folder).exists()
    assert [each.name for each in home.iterdir()] == ["lock"]
    assert not listens(found.dashboard)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_as_the_head_is_begun_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stand_in(monkeypatch, "guarded")
    before = signal.signal(number, signal.default_int_handler)  # as in every command
    begun: list[subprocess.Popen[bytes]] = []
    folders: list[Path] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            begun.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr(head.subprocess, "Popen", Interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            head.start(lambda folder: folders.append(folder) or {})
    finally:
        left = living([each.pid for each in begun])
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert signal.signal(number, before) is signal.default_int_handler
    assert begun and not left
    assert not folders[0].exists()
    assert [each.name for each in home.iterdir()] == ["lock"]


def test_up_after_a_kill_ends_what_was_left_and_starts_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "guarded")
    killed, _ = head.start(lambda _: {})
    os.kill(killed.started.session, signal.SIGKILL)
    wait_for(lambda: not killed.started.alive, within_s=20)
    again, now = head.start(lambda _: {})
    try:
        assert now
        assert again.folder != killed.folder
        assert not Path(killed.folder).exists()
        assert head.living_head() == (again, (home / "token").read_text())
    finally:
        head.stop()


def test_a_head_whose_first_process_was_killed_is_not_taken_for_up(
    home: Path, monkeypatch: pytest.MonkeyPatch, family: Any
) -> None:
    """Its dashboard may answer for some seconds more."""
    stand_in(monkeypatch, "guarded")
    private.write("token", "令牌")
    started, (first, near, _) = family()
    head._record(head.Head(8265, 6379, str(home.parent / "旧"), "0.1.0", started))
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not living([first]), within_s=20)
    assert started.alive
    found, now = head.start(lambda _: {})
    try:
        assert now and not living([near])
    finally:
        assert head.stop() == found


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("open", "answers without a token"),
        ("failing", r"didn't start \(the address is in use\)"),
    ],
)
def test_a_head_that_is_open_or_fails_is_ended_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str
) -> None:
    stand_in(monkeypatch, kind)
    folders: list[Path] = []
    with pytest.raises(ClusterError, match=reason):
        head.start(lambda folder: folders.append(folder) or {})
    assert not folders[0].exists()
    assert [each.name for each in home.iterdir()] == ["lock"]
    named = [p for p in psutil.process_iter() if str(folders[0]) in command_line(p)]
    assert not named


def test_without_a_place_for_the_token_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(private.HOME, str(tmp_path / "file"))
    monkeypatch.setattr(head, "_spawn", lambda *_: pytest.fail("started"))
    with pytest.raises(ClusterError, match="can't keep the head's token there"):
        head.start(lambda _: {})


def test_where_others_could_read_the_token_nothing_is_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(parents=True)
    home.chmod(0o750)
    monkeypatch.setattr(head, "_spawn", lambda *_: pytest.fail("started"))
    with pytest.raises(ClusterError, match=f"chmod 700 {home}"):
        head.start(lambda _: {})
    assert [each.name for each in home.iterdir()] == []


def test_what_a_dead_head_left_behind_is_removed(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bigmodel-dead"
    folder.mkdir()
    private.write("token", "旧")
    dead = head.Head(
        8265, 6379, str(folder), "0.1.0", Started(os.getpid(), (os.getpid(),), str(folder))
    )
    head._record(dead)
    assert head.living_head() is None
    assert folder.exists()  # only `up` and `down` clear up, one at a time
    assert head.stop() is None
    assert not folder.exists()
    assert [each.name for each in home.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("answers", "put"),
    [
        ([{"bigmodel": {}}, {"bigmodel": {}}, {}], [{"applications": []}]),
        ([{}, {}], []),  # where nobody serves, Serve isn't started for it
    ],
)
def test_the_endpoint_is_taken_away_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]], put: list[dict[str, Any]]
) -> None:
    wished: list[dict[str, Any]] = []

    def ask(*_: object, wanted: dict[str, Any] | None = None) -> Answer:
        if wanted is None:
            return Answer(200, json.dumps({"applications": answers.pop(0)}).encode())
        wished.append(wanted)
        return Answer(200)

    monkeypatch.setattr(head, "_ask", ask)
    head._end_endpoint(head.Head(8265, 6379, "/tmp/头", "0.1.0", Started(0, (), "头")), "令牌")
    assert (wished, answers) == (put, [])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"dashboard": 1}', json.dumps({"started": 3})])
def test_a_state_that_is_none_is_no_head(text: str) -> None:
    private.write("head.json", text)
    assert head.living_head() is None
    assert head.stop() is None


def test_jobs_on_it_are_run_by_the_python_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    found = shutil.which("python", path=head._environment({})["PATH"])
    assert found and Path(found).parent == Path(sys.executable).parent


def test_a_port_in_use_is_not_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert head._port(taken) != taken
    assert head._port(taken) == taken


def test_nothing_of_another_cluster_gets_into_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "别人的")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = head._environment({"RAY_SERVE_ENABLE_HA_PROXY": "1"})
    assert "RAY_ADDRESS" not in made
    assert "别人的" not in made.values()
    assert made["RAY_AUTH_MODE"] == "token"
    assert made["RAY_AUTH_TOKEN_PATH"] == str(private.path("token"))
    assert made["RAY_SERVE_ENABLE_HA_PROXY"] == "1"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
