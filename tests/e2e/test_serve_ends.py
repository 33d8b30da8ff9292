"""The end of `bigmodel serve`: it says so, answers what it has begun, and is gone soon."""

import json
import os
import re
import signal
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

import pytest
from crowd import Crowd

from serve.running import free_port

BODY = json.dumps({"inputs": ["手机电池不耐用"] * 8, "parameters": {"explain": True}}).encode()


class Heeding(Crowd):
    """Clients that ask only while the endpoint says that it is ready, on one connection each as
    far as that is kept; whoever is told otherwise leaves."""

    def __init__(self, port: int, *, clients: int) -> None:
        super().__init__([()] * clients)
        self._port = port
        self.seen: Counter[str] = Counter()
        self.left: list[float] = []

    def _ask_on(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._over.is_set():
            try:
                ready = self._exchange(connection, "GET", "/v2/health/ready")
                if ready != "200":
                    self.left.append(time.monotonic())
                    break
                self.seen[self._exchange(connection, "POST", "/v1/classify", BODY)] += 1
            except (OSError, HTTPException, ValueError) as error:
                self.failed.append(repr(error))
                break
        connection.close()

    def _exchange(self, connection: HTTPConnection, *request: Any) -> str:
        """The status; a refusal must be one of the contract, with a time to come back."""
        connection.request(*request, headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200 and not is_a_way_out(response, json.loads(content)):
            raise ValueError(f"{response.status} {content[:200]!r}")
        return str(response.status)


def is_a_way_out(response: HTTPResponse, problem: dict[str, Any]) -> bool:
    kind = problem["type"].rpartition(":")[2]
    again = response.headers["Retry-After"] == "1"
    return response.status == 503 and kind in ("draining", "not-ready") and again


@pytest.mark.chaos
def test_who_heeds_readiness_loses_nothing_when_the_endpoint_ends(
    start, wait_for, tiny_uri, tmp_path
):
    port = free_port()
    serving = start("serve", tiny_uri, "--port", port, cwd=tmp_path, ray=True)
    wait_for(lambda: re.search("answering at", serving.err) or serving.process.poll(), within_s=120)
    assert serving.process.poll() is None, serving.err
    with Heeding(port, clients=4) as clients:
        wait_for(lambda: clients.seen["200"] > 40 or clients.failed, within_s=60)
        begun = time.monotonic()
        os.kill(serving.process.pid, signal.SIGINT)
        wait_for(lambda: len(clients.left) == 4 or clients.failed, within_s=20)
        assert serving.code == 0, serving.err
        ended = time.monotonic()
    assert clients.failed == [] and clients.seen.keys() <= {"200", "503"}
    assert max(clients.left) - begun < 5
    assert ended - begun < 25
    wait_for(lambda: not serving.left(), within_s=20)
