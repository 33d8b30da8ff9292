"""A program: a head on a disk of 600 MB, and a job for it when 3 % are left, and when nothing is.

`python full_disk.py FOLDER RECIPE`: FOLDER is to lie on that disk. Prints as JSON, for each job,
its exit code, what it said last, and the states of all jobs on the head afterwards.
"""

import json
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from heads import Head, living_head, run
from waiting import wait_for

ENDED = {"STOPPED", "SUCCEEDED", "FAILED", "GONE"}


def states(head: Head) -> list[str]:
    """Of all jobs; GONE where the head is, as Ray's may be once not a byte is left to it."""
    headers = {"Authorization": f"Bearer {head.token}"}
    request = urllib.request.Request(f"{head.address}/api/jobs/", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [job["status"] for job in json.load(answer)]
    except OSError:
        return ["GONE"]


def fill(file: Path, *, left: int) -> None:
    """Until so many bytes are free on its disk."""
    with file.open("ab", buffering=0) as filler:
        try:
            filler.write(bytes(shutil.disk_usage(file.parent).free - left))
            while left == 0:
                filler.write(bytes(1 << 12))
        except OSError:
            pass


def main(folder: str, recipe: str) -> None:
    tempfile.tempdir = folder
    home = Path(recipe).parent
    found: list[Any] = []
    with living_head() as head:
        for left in (18_000_000, 0):
            fill(Path(folder, "filler"), left=left)
            store = ["--storage", str(home / "store"), "--cluster", head.address]
            tempfile.tempdir = None  # the laptop's disk has room
            done = run(["bigmodel", "train", recipe, *store], home, head.token)
            wait_for(lambda: set(states(head)) <= ENDED, within_s=60)
            found.append([done.returncode, done.stderr.splitlines()[-1], states(head)])
    print(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
