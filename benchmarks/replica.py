"""S5 and M1: how long a replica takes from its process's start, and how much memory it has.

    python -m benchmarks.replica [--kind linear]        # medians of three; about two minutes

The replica is one of `bigmodel serve`: killed by its process id, so that a new one comes, which
counts as ready with its first answer. Beside it a process that only imports torch and ray.serve.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median

import psutil

from benchmarks.serving import Endpoint, answers, ours, trained

REPEATS = 3
REQUESTS = 200
IMPORTS = """
import time
import torch, ray.serve
print(time.time(), flush=True)
time.sleep(60)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", default="linear")
    kind = parser.parse_args().kind
    with tempfile.TemporaryDirectory() as storage:
        trained(storage, kind)
        with ours(storage, 8104, "haproxy") as endpoint:
            runs = [(*restarted(endpoint), *imports()) for _ in range(REPEATS)]
    seconds, memory, import_seconds, import_memory = (
        median(column) for column in zip(*runs, strict=True)
    )
    later = median(mine - bare for mine, _, bare, _ in runs)
    more = median(mine - bare for _, mine, _, bare in runs)
    load = os.getloadavg()[0]
    print(
        f"S5: {seconds:.1f} s from process to answer, the imports {import_seconds:.1f} s, "
        f"{later:+.1f} s\nM1: {memory:.0f} MB, the imports {import_memory:.0f} MB, "
        f"{more:+.0f} MB; load {load:.1f}",
    )


def restarted(endpoint: Endpoint) -> tuple[float, float]:
    """Of a new replica: seconds from its process's start to an answer, MB after some requests."""
    before = replica()
    assert before
    before.send_signal(signal.SIGKILL)
    before.wait(10)
    deadline = time.monotonic() + 60
    while not (replica() and answers(endpoint)):
        assert time.monotonic() < deadline, "no new replica answers"
        time.sleep(0.02)
    ready, process = time.time(), replica()
    assert process
    for _ in range(REQUESTS):
        assert answers(endpoint)
    return ready - process.create_time(), process.memory_info().rss / 1e6


def replica() -> psutil.Process | None:
    """The process of the one replica that this process's endpoint has."""
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[0].startswith("ray::ServeReplica"):
                return process
        except (psutil.Error, IndexError):  # it ended meanwhile
            continue
    return None


def imports() -> tuple[float, float]:
    """Seconds from the start of a bare process to the end of its imports, and its MB."""
    start = time.time()
    with subprocess.Popen([sys.executable, "-c", IMPORTS], stdout=subprocess.PIPE) as process:
        assert process.stdout
        done = float(process.stdout.readline())
        memory = psutil.Process(process.pid).memory_info().rss / 1e6
        process.kill()
    return done - start, memory


if __name__ == "__main__":
    main()
