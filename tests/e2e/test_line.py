"""Very many jobs at once on a real head: they wait in line, all end, no line of theirs is lost."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from heads import Head, end, living_head
from talking import SPOKEN, TALKING, begin

from bigmodel.cluster.dashboard import Dashboard, connect
from bigmodel.cluster.following import End, Log, follow
from bigmodel.cluster.line import ID
from bigmodel.cluster.packing import pack_recipe
from bigmodel.cluster.submission import submit
from bigmodel.errors import ClusterError

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with living_head() as head:
        yield head


@pytest.fixture(autouse=True)
def token(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the head, for clients in this process; threads of it set `no_proxy` at the same time."""
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "BIGMODEL_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token, "no_proxy": "*"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def there(head: Head, token: None) -> Dashboard:
    return connect(head.address)


def most_at_once(there: Dashboard, names: set[str]) -> int:
    """Of these jobs, by the job table's clock."""
    jobs = [job for job in there.client.list_jobs() if job.submission_id in names]
    assert len(jobs) == len(names)
    changes = [(job.start_time, 1) for job in jobs] + [(job.end_time, -1) for job in jobs]
    alive, most = 0, 0
    for _, change in sorted(changes):  # of what happens at one time the ends come first
        alive += change
        most = max(most, alive)
    return most


def test_every_line_of_twenty_long_logs_arrives(there):
    def one(_: int) -> tuple[str, End, list[str]]:
        said: list[str] = []
        job = begin(there, TALKING)
        return job.id, follow(Log(job, said.append)), said

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(one, range(20)))
    assert len({name for name, *_ in done}) == 20
    assert [end for _, end, _ in done] == [End(3)] * 20
    assert [said == SPOKEN for *_, said in done] == [True] * 20
    assert most_at_once(there, {name for name, *_ in done}) <= 8


def test_bytes_that_are_no_text_hide_nothing_else_of_a_log(there):
    program = (
        "import sys; sys.stdout.buffer.write('前\\n'.encode() + b'\\xff\\n'); print('后'); exit(3)"
    )
    said: list[str] = []
    assert follow(Log(begin(there, program), said.append)) == End(3)
    assert said == ["前", "\ufffd", "后"]


def test_fifty_jobs_at_once_all_end(head, there, tmp_path):
    (tmp_path / "评论.csv").write_text(
        "text,label\n"
        + "".join(f"书很好看，第{i}次,正面\n味道太差，第{i}次,负面\n" for i in range(40)),
        encoding="utf-8",
    )
    recipe = tmp_path / "tiny.toml"
    recipe.write_text('name = "tiny"\ndata.train = "评论.csv"\n', encoding="utf-8")

    def one(number: int) -> tuple[str, End]:
        column = "label" if number % 10 else "标签"  # every tenth has nothing to check
        settings = (f"data.label_column={column}", f"seed={number}")
        luggage = pack_recipe(str(recipe), settings, str(tmp_path / "store"))
        job = submit("check", luggage, head.address, max_jobs=4)
        return job.id, follow(Log(job, lambda line: None))

    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(one, range(50)))
    assert [end.code for _, end in done] == [3 if number % 10 == 0 else 0 for number in range(50)]
    assert all(end.result["rows_read"] == 80 for _, end in done if end.code == 0)
    names = {name for name, _ in done}
    assert len(names) == 50 and {int(ID.fullmatch(name)[2]) for name in names} == {1, 2, 3, 4}
    assert most_at_once(there, names) <= 4


class Relay:
    """A way to the head that goes `down`, or breaks as soon as a submission `breaks` it: before the
    head hears that, or before its answer comes back."""

    def __init__(self, head: Head) -> None:
        self._there = ("127.0.0.1", int(head.address.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.down = False
        self.breaks: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """A connection, which Ray's client makes anew for each request."""
        with contextlib.suppress(OSError), client:
            if self.down or not (asked := client.recv(65_536)):
                return
            submits = asked.startswith(b"POST /api/jobs/ ") and self.breaks
            when = self.breaks.pop(0) if submits else ""
            if when == "before it is heard":
                return
            with socket.create_connection(self._there) as server:
                server.sendall(asked)
                threading.Thread(target=_copy, args=(client, server), daemon=True).start()
                answer = server.recv(65_536)
                if when == "after it was heard":
                    client.shutdown(socket.SHUT_RDWR)  # also for the thread that reads from it
                    return
                client.sendall(answer)
                _copy(server, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)


@pytest.fixture
def relay(head: Head) -> Iterator[Relay]:
    relay = Relay(head)
    yield relay
    relay.close()


@pytest.mark.parametrize(
    "breaks",
    [
        ["after it was heard"],
        ["before it is heard", "before it is heard", "after it was heard"],
    ],
)
def test_a_network_cut_while_a_job_is_sent_starts_it_once(there, relay, breaks, tmp_path):
    relay.breaks = list(breaks)
    mark = f"print('once', {str(tmp_path)!r}); import sys; sys.exit(3)"
    job = begin(connect(relay.address), mark)
    assert not relay.breaks
    said: list[str] = []
    assert follow(Log(job, said.append)) == End(3)
    assert said == [f"once {tmp_path}"]
    started = [one for one in there.client.list_jobs() if str(tmp_path) in one.entrypoint]
    assert [one.submission_id for one in started] == [job.id]


def test_a_cluster_that_comes_back_within_half_a_minute_is_no_error(relay):
    program = "import sys, time; print('一'); time.sleep(15); print('二'); sys.exit(3)"
    job = begin(connect(relay.address), program)
    said: list[str] = []

    def cut(line: str) -> None:
        said.append(line)
        if line == "一":
            relay.down = True
            threading.Timer(10, setattr, (relay, "down", False)).start()

    assert follow(Log(job, cut)) == End(3)
    assert said == ["一", "二"]


def test_a_cluster_that_goes_away_mid_job_ends_the_command_in_bounded_time(monkeypatch):
    with living_head() as head:
        monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
        job = begin(connect(head.address), "import time; print('一'); time.sleep(600)")
        gone: list[float] = []

        def end_it(line: str) -> None:
            end(head.process)
            gone.append(time.monotonic())

        with pytest.raises(ClusterError, match=f"see what .* bigmodel jobs status {job.id}"):
            follow(Log(job, end_it))
        assert time.monotonic() - gone[0] < 60
