"""P1-P3: prepare against one plain process that does the same steps; its growth; its second run.

    python -m benchmarks.prepare [--rows 1000000] [--kind linear] [--runs 3]

Needs the sentiment_large set (BIGMODEL_TEST_DATA names the folder of the data sets). Rows beyond
its own 121,925 are copies with 30 % of their characters replaced: copies aren't near-duplicates.
"""

import argparse
import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path(os.environ.get("BIGMODEL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
OWN_ROWS = 121_925
REPLACED = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, OWN_ROWS, 1_000_000])
    parser.add_argument("--kind", default="linear")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no data sets at {DATA}; name their folder in BIGMODEL_TEST_DATA")
    cores = os.cpu_count() or 1
    print(f"prepare, kind {arguments.kind}, {cores} cores, medians of {arguments.runs} runs")
    print("rows | plain s | ours s | of plain x cores | ray.init s | driver MB | again s | load")
    with tempfile.TemporaryDirectory() as home:
        for num_rows in arguments.rows:
            file = write_rows(Path(home) / f"{num_rows}.csv", num_rows)
            figures = [measure(file, arguments.kind, run) for run in range(arguments.runs)]
            plain, ours, init, driver, again = map(statistics.median, zip(*figures, strict=True))
            share = plain / cores / ours
            print(
                f"{num_rows:,} | {plain:.1f} | {ours:.1f} | {share:.2f} | {init:.1f} | "
                f"{driver:.0f} | {again:.2f} | {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def measure(file: Path, kind: str, run: int) -> tuple[float, ...]:
    """Seconds of both, of Ray's start, MB of our driver at its peak, seconds of a second run."""
    storage = f"{file.parent}/storage-{file.stem}-{run}"
    (plain,) = in_process("plain", file, kind, storage)
    ours, init, driver = in_process("ours", file, kind, storage)
    (again,) = in_process("again", file, kind, storage)
    subprocess.run(["rm", "-rf", storage], check=True)
    return plain, ours, init, driver, again


def in_process(which: str, file: Path, kind: str, storage: str) -> tuple[float, ...]:
    """A fresh process each, so that neither finds the other's memory or modules warm."""
    command = [sys.executable, "-m", "benchmarks.prepare_once", which, str(file), kind, storage]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return tuple(map(float, done.stdout.split()))


def write_rows(file: Path, num_rows: int) -> Path:
    """The first rows of the set, then changed copies, from one seed."""
    with (DATA / "sentiment_large" / "train.csv").open(encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines)
    text = header.index("text")
    characters = sorted({c for row in rows[:5000] for c in row[text]})
    draw = random.Random(0)
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(header)
        for number in range(num_rows):
            row = list(rows[number % len(rows)])
            if number >= len(rows):
                row[text] = "".join(
                    draw.choice(characters) if draw.random() < REPLACED else c for c in row[text]
                )
            writer.writerow(row)
    return file


if __name__ == "__main__":
    main()
