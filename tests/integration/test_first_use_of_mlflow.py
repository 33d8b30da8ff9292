"""The first processes to use a storage."""

import subprocess
import sys
from pathlib import Path

FIRST_RUN = """
import sys
from bigmodel import tracking
from bigmodel.recipe import make_recipe

recipe = make_recipe({"name": "reviews", "data": {"train": "评论.csv"}}, "recipe")
with tracking.run(recipe, sys.argv[1], verb="train"):
    pass
"""


def test_two_first_processes_are_silent_and_leave_nothing_outside_the_storage(
    tmp_path: Path,
) -> None:
    storage, here = tmp_path / "storage", tmp_path / "here"
    here.mkdir()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_RUN, str(storage)],
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].decode() for process in both]
    assert said == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert not list(here.iterdir())
    assert [path.name for path in storage.iterdir()] == ["mlflow"]
