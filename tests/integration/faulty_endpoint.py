"""An endpoint whose replicas have faults on demand, on a Ray of its own that tests may harm.

As a program it starts one, prints its URL, and ends when its input does; replicas import `build`.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ray.serve import Application
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from waiting import wait_for

from serve import app as product
from serve.declared import Declared
from serve.wanted import ServeArgs

HERE = Path(__file__).parent
PAUSE = "FAULTY_SECONDS_A_TEXT"
"""Set in the replicas' environment: so long each text takes besides."""

REPLICA, PROXY, HAPROXY = "ray::ServeReplica", "ray::ProxyActor", "haproxy -db"
"""What the command line of a process of each kind has."""

LEAKED: list[bytearray] = []
FAULTS: dict[str, Callable[[], object]] = {
    "pid": lambda: None,
    "sleep": lambda: time.sleep(3600),
    "loop": lambda: re.match("(好+)+$", "好" * 100 + "坏"),  # and no other thread runs
    "leak": lambda: LEAKED.append(bytearray(b"x") * (700 * 2**20)),
}


class FaultyReplica(product.Replica):
    """Answers `/faults/NAME` too, once it has done that to itself."""

    def __init__(self, args: ServeArgs) -> None:
        super().__init__(args)
        if seconds := float(os.environ.get(PAUSE, "0")):
            _slow_down(seconds)

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        app: Any = await super().__serve_build_asgi_app__()

        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            prefix, _, name = scope.get("path", "").rpartition("/")
            if prefix != "/faults":
                return await app(scope, receive, send)
            FAULTS[name]()
            admitted = app._metrics._admitted
            said = {"pid": os.getpid(), "in_flight": admitted.in_flight}
            await JSONResponse(said)(scope, receive, send)

        return faulty


def _slow_down(seconds: float) -> None:
    from bigmodel.predictor import Predictor

    quick = Predictor.predict

    def predict(self: Predictor, texts: Any, **options: Any) -> Any:
        time.sleep(seconds * len(texts))
        return quick(self, texts, **options)

    Predictor.predict = predict


def build(args: ServeArgs) -> Application:
    product.Replica = FaultyReplica
    return product.build(args)


@dataclass(frozen=True)
class Faulty:
    """One that runs, in the processes of one session."""

    url: str
    session: int

    def processes(self, kind: str = "") -> list[psutil.Process]:
        """All, or those of a kind: REPLICA, PROXY, HAPROXY."""
        found = []
        for each in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                of_ours = os.getsid(each.pid) == self.session and each.status() != "zombie"
                if of_ours and kind in " ".join(each.cmdline()):
                    found.append(each)
        return found

    def living(self) -> set[int]:
        """The process ids of all replicas, whether they answer or not."""
        return {each.pid for each in self.processes(REPLICA)}

    def harm(self, fault: str, *, timeout_s: float = 60) -> dict[str, int]:
        """What the replica says that was harmed; nothing from one that doesn't come back."""
        try:
            with urllib.request.urlopen(f"{self.url}/faults/{fault}", timeout=timeout_s) as answer:
                said: dict[str, int] = json.load(answer)
                return said
        except (OSError, ValueError):
            return {}

    def answering(self) -> dict[int, int]:
        """Replicas that answer: process id -> requests in flight there."""
        said = [self.harm("pid", timeout_s=2) for _ in range(8)]
        return {each["pid"]: each["in_flight"] for each in said if each}

    def wait_for(self, replicas: int, *, other_than: int = 0, within_s: float = 60) -> None:
        """Until so many answer, and one of a process id no longer."""

        def all_there() -> bool:
            found = self.answering()
            return len(found) == replicas and other_than not in found

        wait_for(all_there, within_s=within_s)


@contextmanager
def faulty_endpoint(
    uri: str, *, proxy: str = "haproxy", pause_s: float = 0.0, keys: str = "", **settings: Any
) -> Iterator[Faulty]:
    """One of the model in `uri`, until the block ends; `settings` are those of `serve`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "BIGMODEL_"))}
    paths = os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parents[1])))
    more = {"BIGMODEL_PROXY": proxy, PAUSE: str(pause_s), "PYTHONPATH": paths}
    args = {"name": "tiny", "serve": settings, "keys": keys}
    started = subprocess.Popen(
        [sys.executable, __file__, json.dumps({"uri": uri, "args": args})],
        env=kept | more,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdin and started.stdout
    endpoint = Faulty(started.stdout.readline().strip(), started.pid)
    try:
        assert endpoint.url, "it didn't start; its own error stands above"
        endpoint.wait_for(settings.get("min_replicas", 1))
        yield endpoint
    finally:
        started.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            started.wait(60)
        for left in endpoint.processes():
            with suppress(psutil.Error):
                left.kill()
        started.stdout.close()


def status(url: str, headers: Mapping[str, str], body: bytes | None = None) -> int:
    """Of one request over a connection of its own; 0 where none came."""
    try:
        request = urllib.request.Request(url, body, dict(headers))
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def main() -> None:
    from bigmodel.artifact import Artifact
    from bigmodel.cluster.session import ray_session
    from serve import ingress
    from serve.wanted import Pinned

    asked = json.loads(sys.argv[1])
    version = Pinned(uri=asked["uri"], digest=Artifact.load(asked["uri"]).digest, version="1")
    declare = Declared.new

    def with_faults(args: Any, wish: Any) -> Declared:
        return Declared(declare(args, wish).config | {"import_path": "faulty_endpoint:build"})

    Declared.new = with_faults
    with ingress.embedded() as variables, ray_session(num_cpus=4, variables=variables):
        from serve import running

        args = ServeArgs.model_validate(asked["args"])
        print(running.start(args, version, port=running.free_port()), flush=True)
        sys.stdin.read()
        running.stop()


if __name__ == "__main__":
    main()
