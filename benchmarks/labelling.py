"""B1: rows a second of `predict --file`, beside the Predictor called in one process on one core.

    python -m benchmarks.labelling [--rows 1000000] [--kind linear]      # medians of three

Needs the sentiment_large set (BIGMODEL_TEST_DATA names the folder of the data sets); its rows are
those of benchmarks.prepare. Ours is the whole command, Python's and Ray's start with it, from CSV
to CSV; the other answers texts that are in memory already, in batches of 1,024.
"""

import argparse
import csv
import os
import subprocess
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks.prepare import write_rows
from benchmarks.serving import BIGMODEL, trained
from bigmodel.artifact import Artifact
from bigmodel.predictor import Predictor

REPEATS = 3
ROWS_ALONE = 100_000
ROWS_A_CALL = 1_024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", default="linear")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as storage:
        model = trained(storage, arguments.kind)
        file = write_rows(Path(storage, "texts.csv"), arguments.rows)
        runs = [(whole(storage, file), alone(model, file)) for _ in range(REPEATS)]
    cores = os.cpu_count() or 1
    seconds, single = (median(column) for column in zip(*runs, strict=True))
    share = median(arguments.rows / took / (rate * cores) for took, rate in runs)
    print(
        f"B1: {arguments.rows:,} rows, {arguments.kind}: {share:.2f} of one core's "
        f"{single:,.0f} rows/s times {cores} cores ({seconds:.1f} s in all); "
        f"load {os.getloadavg()[0]:.1f}"
    )


def whole(storage: str, file: Path) -> float:
    """Seconds of the command, which writes a new file."""
    out = file.with_name("answers.csv")
    out.unlink(missing_ok=True)
    command = [BIGMODEL, "predict", "bench@1", "--file", str(file), "--out", str(out)]
    start = time.perf_counter()
    subprocess.run([*command, "--storage", storage, "-q"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def alone(model: str, file: Path) -> float:
    """Rows a second of one process with one thread."""
    import torch

    torch.set_num_threads(1)
    with file.open(encoding="utf-8", newline="") as lines:
        texts = [row["text"] for row in islice(csv.DictReader(lines), ROWS_ALONE)]
    predictor = Predictor(Artifact.load(model))
    predictor.predict(texts[:ROWS_A_CALL])
    start = time.perf_counter()
    for first in range(0, len(texts), ROWS_A_CALL):
        predictor.predict(texts[first : first + ROWS_A_CALL])
    return len(texts) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
