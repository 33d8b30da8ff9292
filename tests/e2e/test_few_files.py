"""A machine where a process may open few files: the endpoint has fewer clients, or says why not."""

import json
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from commands import Start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="HAProxy runs on Linux alone")


def limit(files: int) -> list[str]:
    return ["bash", "-c", f'ulimit -n {files}; exec "$@"', "bash"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_too_few_for_an_endpoint_are_told_before_anything_starts(
    run: Start, tiny_uri: str, tmp_path: Path
) -> None:
    refused = run("serve", tiny_uri, "--port", free_port(), cwd=tmp_path, within=limit(300))
    assert refused.code == 5
    assert refused.err.strip().endswith("raise the limit with: ulimit -n 4096")
    assert refused.err.count("\n") == 1
    assert not refused.left()


@pytest.mark.chaos
def test_the_1024_files_of_a_plain_shell_do(
    start: Start, tiny_uri: str, tmp_path: Path, wait_for: Any
) -> None:
    port = free_port()
    command = ("serve", tiny_uri, "--port", port)
    serving = start(*command, cwd=tmp_path, ray=True, within=limit(1024))
    try:
        wait_for(lambda: "answering at" in serving.err or serving.process.poll(), within_s=240)
        body = json.dumps({"inputs": "手机电池不耐用"}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/classify", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert len(json.load(answer)["predictions"]) == 1
        serving.process.terminate()
        assert serving.code == 0, serving.err
    finally:
        serving.end()
