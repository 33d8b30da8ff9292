"""More load than there is room for, load for a long time, load that comes and goes, and clients
that don't wait for their answer."""

import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from statistics import median
from typing import Any

import psutil
import pytest
from asking import Load
from faulty_endpoint import REPLICA, Faulty, faulty_endpoint
from offering import offer
from waiting import wait_for

pytestmark = pytest.mark.chaos
TEXT = ["手机电池不耐用"]
MINUTES = float(os.environ.get("BIGMODEL_SOAK_MINUTES", "2"))
CONNECTIONS = 64  # each is files of HAProxy's; without a bound a stall would leave hundreds open
BODY = '{"inputs": "手机电池不耐用"}'.encode()
REQUEST = (
    b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


@pytest.fixture(scope="module")
def net_uri(train_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a kind that doesn't predict in the event loop."""
    uri = str(tmp_path_factory.mktemp("models") / "net")
    train_tiny("cnn").save(uri)
    return uri


@pytest.mark.parametrize("proxy", ["haproxy", "default"])
def test_what_is_too_much_is_refused_at_once_and_the_rest_is_answered_in_time(
    proxy: str, net_uri: str
) -> None:
    """A model that takes 40 ms a text, and room for 4 requests. At 8 times its rate the generator,
    the way in and the replica share the cores of this machine: only what is said counts."""
    pause_s, seconds = 0.04, 15.0
    settings = {"max_replicas": 1, "limits": {"in_flight": 4}}
    with faulty_endpoint(net_uri, proxy=proxy, pause_s=pause_s, **settings) as endpoint:
        runs = {}
        for times in (0.5, 1, 2, 4, 8, 0.5):
            runs[times] = offer(endpoint.url, TEXT, rate=times / pause_s, seconds=seconds)
            print(f"{proxy}, {times} x: {runs[times]}; load {os.getloadavg()[0]:.1f}")
            assert not runs[times].failed
    peak = max(run.goodput for run in runs.values())
    assert min(runs[times].goodput for times in (1, 2, 4)) >= 0.8 * peak
    assert max(runs[times].p99_s for times in (1, 2, 4)) <= 10 * runs[0.5].p99_s
    assert runs[0.5].goodput >= 0.9 * runs[0.5].rate  # of the last run: as before


Sample = dict[tuple[int, str], tuple[int, int]]
"""(process id, name) -> (resident bytes, open files)."""


def sampled(endpoint: Faulty) -> Sample:
    found = {}
    for each in endpoint.processes():
        with suppress(psutil.Error):
            found[each.pid, each.name()] = (each.memory_info().rss, each.num_fds())
    return found


def middle(samples: list[Sample], process: tuple[int, str], column: int) -> float:
    return median(each[process][column] for each in samples)


def test_for_minutes_nothing_fails_and_nothing_grows(tiny_uri: str) -> None:
    """At half of what 8 clients get; longer with `make soak`."""
    settings = {"min_replicas": 2, "max_replicas": 2, "replica_cpus": 0.25}
    samples: list[Sample] = []
    over = threading.Event()
    with faulty_endpoint(tiny_uri, **settings) as endpoint:
        with Load(endpoint.url, TEXT, clients=8) as most:
            begun = time.monotonic()
            most.wait_for_more(2_000)
            rate = most.answered.total() / (time.monotonic() - begun) / 2

        def sample() -> None:
            while not over.wait(2):
                samples.append(sampled(endpoint))

        sampling = threading.Thread(target=sample)
        sampling.start()
        warm = offer(endpoint.url, TEXT, rate=rate, seconds=60, connections=CONNECTIONS)
        warmed = len(samples)
        seconds = max(1.0, MINUTES - 1) * 60
        run = offer(endpoint.url, TEXT, rate=rate, seconds=seconds, connections=CONNECTIONS)
        over.set()
        sampling.join()
    print(f"{MINUTES:g} minutes: {run}; load {os.getloadavg()[0]:.1f}")
    first, last = samples[warmed : warmed + 5], samples[-5:]
    grown = {}
    for process in set.intersection(*map(set, first + last)):
        rss, files = ((middle(first, process, i), middle(last, process, i)) for i in (0, 1))
        grown[process] = (rss[1] / rss[0] - 1, files[1] - files[0])
        print(f"{process}: {rss[1] / 2**20:.0f} MB {grown[process][0]:+.1%}, files {files}")
    assert not warm.failed and {each.status for each in run.heard} == {200}
    assert sum(name.startswith(REPLICA) for _, name in grown) >= 2
    assert max(share for share, _ in grown.values()) <= 0.05
    assert max(files for _, files in grown.values()) <= 5


@pytest.fixture(scope="module")
def growing(net_uri: str) -> Iterator[Faulty]:
    """From one replica to two, of a model that takes 5 ms a text."""
    settings = {"max_replicas": 2, "target_ongoing_requests": 2, "replica_cpus": 0.25}
    delays = {"upscale_delay_s": 2, "downscale_delay_s": 2}
    with faulty_endpoint(net_uri, pause_s=0.005, **settings, **delays) as started:
        yield started


def test_it_grows_and_shrinks_behind_haproxy_without_a_failed_request(growing: Faulty) -> None:
    with Load(growing.url, TEXT, clients=1) as quiet:
        begun = time.monotonic()
        with Load(growing.url, TEXT, clients=8) as heavy:
            growing.wait_for(2)
            grown_s = time.monotonic() - begun
        begun = time.monotonic()
        wait_for(lambda: len(growing.processes(REPLICA)) == 1, within_s=90)
        shrunk_s = time.monotonic() - begun
        quiet.wait_for_more(20)
    answered = quiet.answered.total() + heavy.answered.total()
    print(f"two replicas after {grown_s:.1f} s, one after {shrunk_s:.1f} s; {answered} answered")
    assert quiet.failed + heavy.failed == []


def latency_s(endpoint: Faulty) -> float:
    """The middle one of nine, over one connection."""
    connection = HTTPConnection(endpoint.url.removeprefix("http://"), timeout=20)
    times = []
    for _ in range(9):
        begun = time.monotonic()
        connection.request("POST", "/v1/classify", BODY, {"Content-Type": "application/json"})
        with connection.getresponse() as answer:
            assert answer.status == 200, answer.read()
            answer.read()
        times.append(time.monotonic() - begun)
    connection.close()
    return median(times)


def test_a_thousand_clients_that_hang_up_leave_nothing_behind(growing: Faulty) -> None:
    before = latency_s(growing)
    address = ("127.0.0.1", int(growing.url.rpartition(":")[2]))
    at_once = struct.pack("ii", 1, 0)  # a reset in the place of an orderly end
    draw = random.Random(7)
    most = 0
    for _ in range(20):
        clients = [socket.create_connection(address, timeout=20) for _ in range(50)]
        for client in clients:
            client.sendall(REQUEST[: draw.choice((40, len(REQUEST), len(REQUEST)))])
        most = max(most, sum(growing.answering().values()))
        for client in clients:
            if draw.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            client.close()
    begun = time.monotonic()
    wait_for(lambda: sum(growing.answering().values()) == 0, within_s=2)
    after = latency_s(growing)
    print(f"at most {most} in flight, none after {time.monotonic() - begun:.1f} s; ", end="")
    print(f"a request took {before * 1e3:.1f} ms before and {after * 1e3:.1f} ms after")
    assert most > 5
    assert after <= 2 * before
