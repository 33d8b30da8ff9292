"""A program: a training of two workers on two machines, with a relay of ours between them.

`python divided.py FOLDER DELAY_S CUT_S`, in namespaces of its own. The second machine is another
network namespace; every packet between the two is held for DELAY_S, and once the training has kept
a checkpoint all are dropped for CUT_S. Prints as JSON what came of it.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from comments import TWO_WORKERS, write_comments
from heads import Head, command_environment, end, living_head
from waiting import wait_for

HERE, THERE, PORT = "10.77.0.1", "10.77.0.2", 6379
LONGEST_PACKET = 65_536
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x1, 0x1000, 0x40000000
RECIPE = f"{TWO_WORKERS}epochs = 6\ncheckpoint_s = 0\n"


class Relay(threading.Thread):
    """Between two TUN devices, one in each namespace; nothing passes while `cut`."""

    def __init__(self, ends: tuple[int, int], delay_s: float) -> None:
        super().__init__(daemon=True)
        self._ends, self._delay_s = ends, delay_s
        self.cut = False
        self.passed = self.dropped = 0

    def run(self) -> None:
        loop = asyncio.new_event_loop()
        for source, target in (self._ends, self._ends[::-1]):
            loop.add_reader(source, self._take, loop, source, target)
        loop.run_forever()

    def _take(self, loop: asyncio.AbstractEventLoop, source: int, target: int) -> None:
        packet = os.read(source, LONGEST_PACKET)
        if self.cut:
            self.dropped += 1
        else:
            loop.call_later(self._delay_s, os.write, target, packet)
            self.passed += 1


def device(name: str) -> int:
    """A new TUN device in this thread's namespace, as an open file."""
    file = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return file


@contextmanager
def other_network() -> Iterator[int]:
    """A network namespace with its loopback up: the process that keeps it."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as keeper:
        try:
            own = Path("/proc/self/ns/net").readlink()
            network = Path(f"/proc/{keeper.pid}/ns/net")
            wait_for(lambda: network.readlink() != own, within_s=10)
            yield keeper.pid
        finally:
            keeper.kill()


@contextmanager
def inside(keeper: int) -> Iterator[None]:
    """This thread in the other network, for the block."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as own, open(f"/proc/{keeper}/ns/net") as other:
        assert libc.setns(other.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            libc.setns(own.fileno(), CLONE_NEWNET)


def up(name: str, address: str) -> int:
    """A device of this thread's namespace with that address, as an open file."""
    file = device(name)
    commands = f"ip link set lo up; ip addr add {address}/24 dev {name}; ip link set {name} up"
    subprocess.run(["sh", "-ec", commands], check=True)
    return file


@contextmanager
def machine(head: Head, folder: Path) -> Iterator[None]:
    """A second machine of the cluster with one CPU; started in this thread's namespace."""
    with (
        open(folder / "there.log", "wb") as log,
        tempfile.TemporaryDirectory(prefix="bm-", ignore_cleanup_errors=True) as short,
    ):  # short: it holds sockets
        command = f"""ray start --address={HERE}:{PORT} --node-ip-address={THERE} --num-cpus=1
            --block --min-worker-port=0 --max-worker-port=0 --temp-dir={short}""".split()
        process = subprocess.Popen(
            command,
            env=command_environment(folder, head.token),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            end(process)


def nodes(token: str) -> int:
    """How many the head takes for alive."""
    os.environ["RAY_AUTH_TOKEN"] = token
    from ray._raylet import GcsClient

    found = GcsClient(f"{HERE}:{PORT}").get_all_node_info(timeout=30).values()
    return sum(node.state == 0 for node in found)


def main(folder: Path, delay_s: float, cut_s: float) -> dict[str, Any]:
    write_comments(folder, RECIPE)
    options = (f"--node-ip-address={HERE}", f"--port={PORT}")
    with other_network() as keeper:
        near = up("near", HERE)
        with inside(keeper):
            far = up("far", THERE)
        relay = Relay((near, far), delay_s)
        relay.start()
        with living_head(num_cpus=2, options=options) as head, ExitStack() as stack:
            with inside(keeper):
                stack.enter_context(machine(head, folder))
            wait_for(lambda: nodes(head.token) == 2, within_s=120)
            return train(head, folder, relay, cut_s)


def train(head: Head, folder: Path, relay: Relay, cut_s: float) -> dict[str, Any]:
    """With the cut in the middle: code, result, what was said, seconds from the cut to the end."""
    flags = ["--cluster", head.address, "--storage", str(folder / "storage"), "--json"]
    process = subprocess.Popen(
        ["bigmodel", "train", "recipe.toml", *flags],
        cwd=folder,
        env=command_environment(folder, head.token),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    if cut_s:
        kept = folder / "storage" / "runs"
        wait_for(lambda: any(kept.glob("*/checkpoints/*")) or process.poll(), within_s=400)
        relay.cut, began = True, time.monotonic()
        time.sleep(cut_s)
        relay.cut = False
    out, err = process.communicate(timeout=400)
    return {
        "code": process.returncode,
        "result": json.loads(out) if process.returncode == 0 else None,
        "said": err,
        "seconds": time.monotonic() - began,
        "passed": relay.passed,
        "dropped": relay.dropped,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(float, sys.argv[2:]))))
