"""T3: seconds from the command to the first step of training, beside a bare script's.

    python -m benchmarks.first_step        # medians of three; about two minutes

Ours is `bigmodel train` of an `mlp` with two workers on the demo's reviews, prepared before:
Python, Ray's start, Ray Train's, the data, until the driver hears of a step, at most a second late.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

REPEATS = 3
SETTINGS = ["model.kind=mlp", "train.num_workers=2", "train.rows_per_step=16"]
OURS = r"""
import os, signal, sys
from bigmodel import progress

def hear(event):
    if event.stage == "train" and event.done:
        os.write(1, b"stepped\n")
        os.kill(os.getpid(), signal.SIGINT)

from jobs.cli import main
with progress.listening(hear):
    main(sys.argv[1:])
"""
BARE = """
import torch
model = torch.nn.Sequential(torch.nn.EmbeddingBag(12000, 64), torch.nn.Linear(64, 2))
optimizer = torch.optim.Adam(model.parameters())
ids, labels = torch.randint(12000, (16, 40)), torch.randint(2, (16,))
torch.nn.functional.cross_entropy(model(ids), labels).backward()
optimizer.step()
print("stepped", flush=True)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as storage:
        flags = ["--storage", storage, *(part for one in SETTINGS for part in ("--set", one))]
        recipe = "jobs/recipes/reviews.toml"
        prepared = [sys.executable, "-m", "jobs.prepare", recipe, "-q", *flags]
        subprocess.run(prepared, check=True, stdout=subprocess.DEVNULL)
        ours = [*("-c", OURS, "train", recipe, "-q"), *flags]
        pairs = [(until_step(ours), until_step(["-c", BARE])) for _ in range(REPEATS)]
    mine, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    more = statistics.median(a - b for a, b in pairs)
    print(f"ours {mine:.1f} s, bare {bare:.1f} s, {more:.1f} s more; medians of {REPEATS}; "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip


def until_step(arguments: list[str]) -> float:
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    said = process.stdout.readline()
    seconds = time.perf_counter() - start
    process.wait()
    assert said == "stepped\n", "the program ended without a step"
    return seconds


if __name__ == "__main__":
    main()
