"""S1 to S4: the endpoint as `bigmodel serve` starts it, beside what a user would write.

    python -m benchmarks.serving                # medians of three pairs; about ten minutes
    python -m benchmarks.serving --kind mlp     # a heavier model

Needs wrk (Debian: apt install wrk). One replica, keys and limits on, one text of 20 characters.
The bare side is the same Predictor in one uvicorn process with FastAPI, a call a request, no access
log. Each pair is measured in turn, and so are the default proxy's.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bigmodel.artifact import Artifact
from bigmodel.predictor import Predictor
from bigmodel.registry import Registry

REPEATS = 3
SECONDS = 8
TEXT = "房间很干净，服务态度也好，下次还来住这里。"[:20]
TEXTS = 64
BIGMODEL = str(Path(sys.executable).with_name("bigmodel"))
BARE = """
import sys, torch, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from bigmodel.artifact import Artifact
from bigmodel.predictor import Predictor

torch.set_num_threads(1)
predictor = Predictor(Artifact.load(sys.argv[1]))
app = FastAPI()

class Body(BaseModel):
    inputs: list[str]

@app.post("/v1/classify")
async def classify(body: Body):
    found = predictor.predict(body.inputs)
    return [{"labels": [{"label": n, "score": s} for n, s in one.labels]} for one in found]

uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="error")
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, and the middle and the 99th latency in milliseconds."""

    rate: float
    p50: float
    p99: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", default="linear")
    kind = parser.parse_args().kind
    with tempfile.TemporaryDirectory() as storage:
        model = trained(storage, kind)
        print(f"{kind}; load {os.getloadavg()[0]:.1f}", flush=True)
        with bare(model, 8101) as plain:
            with ours(storage, 8102, "haproxy") as served:
                compare(served, plain)
                in_batches(served, model)
            with ours(storage, 8103, "default") as slow:
                measured(slow, 32)
                rates = [measured(slow, 32).rate for _ in range(REPEATS)]
            with ours(storage, 8102, "haproxy") as served:
                fast = [measured(served, 32).rate for _ in range(REPEATS + 1)][1:]
    print(f"S4: {median(fast) / median(rates):.1f} of the default proxy ({median(rates):.0f}/s)")


def compare(served: "Endpoint", plain: "Endpoint") -> None:
    for connections in (1, 32):
        measured(served, connections), measured(plain, connections)  # warm
        pairs = [
            (measured(served, connections), measured(plain, connections)) for _ in range(REPEATS)
        ]
        ratio = median(mine.rate / theirs.rate for mine, theirs in pairs)
        more = median(mine.p50 - theirs.p50 for mine, theirs in pairs)
        rate, bare_rate = (median(each.rate for each in side) for side in zip(*pairs, strict=True))
        slowest = median(mine.p99 for mine, _ in pairs)
        print(
            f"S1, S2 at {connections}: {ratio:.2f} of bare ({rate:.0f} against {bare_rate:.0f}/s), "
            f"p50 {more:+.2f} ms, p99 {slowest:.1f} ms; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def in_batches(served: "Endpoint", model: str) -> None:
    """S3: texts a second with 64 a request, of those of the Predictor called in this process."""
    import torch

    torch.set_num_threads(1)
    predictor = Predictor(Artifact.load(model))
    texts = [f"{number}{TEXT}"[:20] for number in range(TEXTS)]
    shares = []
    for _ in range(REPEATS):
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            predictor.predict(texts)
            calls += 1
        alone = calls * TEXTS / (time.perf_counter() - start)
        shares.append((measured(served, 4, texts).rate * TEXTS, alone))
    ratio = median(a / b for a, b in shares)
    print(f"S3: {ratio:.2f} of in-process ({median(a for a, _ in shares):.0f} texts/s)", flush=True)


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and with which key."""

    url: str
    key: str = "-"


@contextmanager
def ours(storage: str, port: int, proxy: str) -> Iterator[Endpoint]:
    made = subprocess.run(
        [BIGMODEL, "keys", "add", "bench", "--storage", storage, "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    key = json.loads(made.stdout)["key"]
    command = [BIGMODEL, "serve", "bench@1", "--host", "0.0.0.0", "--port", str(port)]
    command += ["--storage", storage]
    with running(
        command, {"BIGMODEL_PROXY": proxy}, Endpoint(f"http://127.0.0.1:{port}", key)
    ) as it:
        yield it


@contextmanager
def bare(model: str, port: int) -> Iterator[Endpoint]:
    command = [sys.executable, "-c", BARE, model, str(port)]
    with running(command, {}, Endpoint(f"http://127.0.0.1:{port}")) as it:
        yield it


@contextmanager
def running(command: list[str], more: dict[str, str], endpoint: Endpoint) -> Iterator[Endpoint]:
    """A process that answers at `endpoint`, until the block ends."""
    process = subprocess.Popen(
        command, env=os.environ | more, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 180
        while not answers(endpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise SystemExit(f"{command[:3]} gave no answer: {process.communicate()[1]!r}")
            time.sleep(0.2)
        yield endpoint
    finally:
        process.terminate()
        process.wait(60)


def answers(endpoint: Endpoint) -> bool:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {endpoint.key}"}
    body = json.dumps({"inputs": [TEXT]}).encode()
    request = urllib.request.Request(f"{endpoint.url}/v1/classify", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def measured(endpoint: Endpoint, connections: int, texts: list[str] | None = None) -> Load:
    """One run of wrk; SystemExit where an answer was no success."""
    body = json.dumps({"inputs": texts or [TEXT]}, ensure_ascii=False)
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{body}]==]"]
    lines += ['wrk.headers["Content-Type"] = "application/json"']
    lines += [f'wrk.headers["Authorization"] = "Bearer {endpoint.key}"']
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as script:
        script.write("\n".join(lines))
        script.flush()
        options = ["-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", script.name]
        said = subprocess.run(
            ["wrk", *options, f"{endpoint.url}/v1/classify"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate, said
    return Load(float(rate[1]), _latency(said, "50%"), _latency(said, "99%"))


def _latency(said: str, share: str) -> float:
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s)\b", said)
    assert found, said
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def trained(storage: str, kind: str) -> str:
    """The folder of a model of the demo's reviews."""
    command = [BIGMODEL, "train", "jobs/recipes/reviews.toml", "--storage", storage, "-q"]
    own = ["--set", "name=bench", "--set", f"model.kind={kind}", "--set", "serve.max_replicas=1"]
    subprocess.run([*command, *own], check=True, stdout=subprocess.DEVNULL)
    return Registry(storage).resolve("bench@1").uri


if __name__ == "__main__":
    main()
