"""Waiting for what will come true, in place of a sleep."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], *, within_s: float) -> Any:
    """What a condition says, as soon as that is true; an AssertionError after so many seconds."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        time.sleep(0.05)
    return found
