"""Thousands of damaged files, in processes of their own: no crash, nothing that hangs."""

import faulthandler
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from random_files import any_file, check

NUM_FILES = 10_000
BATCH = 500
DEADLINE_S = 5


def check_files(folder: Path, seed: int) -> int:
    """How many of a batch of files have rows; the process dies on one that takes too long."""
    place = folder / str(seed)
    place.mkdir()
    chance = random.Random(seed)
    readable = 0
    for _ in range(BATCH):
        path = any_file(place, chance)
        faulthandler.dump_traceback_later(DEADLINE_S, exit=True)
        readable += check(path) is not None
        faulthandler.cancel_dump_traceback_later()
    return readable


@pytest.mark.chaos
def test_no_file_crashes_or_hangs_a_reader(tmp_path):
    seeds = range(NUM_FILES // BATCH)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        readable = sum(pool.map(check_files, [tmp_path] * len(seeds), seeds))
    assert NUM_FILES // 4 < readable < NUM_FILES
