"""Ray tasks started a few at a time, in order, so that memory stays flat."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

import ray

Started = TypeVar("Started")


def ahead(tasks: Iterable[Started]) -> Iterator[Started]:
    """The tasks in order, of which taking one starts it: a few are started before it's their turn.

    Whoever takes one has to wait for it, else nothing holds the others back.
    """
    window = 2 * max(2, int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[Started] = deque()
    for task in tasks:
        waiting.append(task)
        if len(waiting) == window:
            yield waiting.popleft()
    yield from waiting
