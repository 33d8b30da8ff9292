"""C1 and the quick start of `predict`: whole processes, each against a bare one, in turn.

python -m benchmarks.startup STORAGE     # with a champion of `reviews` in it
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

REPEATS = 5
BIGMODEL = str(Path(sys.executable).with_name("bigmodel"))


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def compare(name: str, command: list[str], bare: list[str]) -> None:
    """Print the medians and the median difference of pairs run one after the other."""
    seconds(command)
    pairs = [(seconds(command), seconds(bare)) for _ in range(REPEATS)]
    ours, theirs = (median(column) for column in zip(*pairs, strict=True))
    more = median(a - b for a, b in pairs)
    load = os.getloadavg()[0]
    print(f"{name}: {ours:.2f} s against {theirs:.2f} s, {more:+.2f} s; load {load:.1f}")


def main() -> None:
    bare = [sys.executable, "-c", "pass"]
    compare("bigmodel --help against python -c pass", [BIGMODEL, "--help"], bare)
    with tempfile.TemporaryDirectory() as storage:
        demo = [BIGMODEL, "run", "jobs/recipes/reviews.toml", "--until", "promote"]
        subprocess.run([*demo, "--storage", storage], check=True, capture_output=True)
        compare_predict(storage)


def compare_predict(storage: str) -> None:
    compare(
        "bigmodel predict against import torch",
        [BIGMODEL, "predict", "reviews@champion", "这本书真好看", "--json", "--storage", storage],
        [sys.executable, "-c", "import torch"],
    )


if __name__ == "__main__":
    main()
