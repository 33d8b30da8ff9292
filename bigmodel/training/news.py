"""What a run's first worker and its driver tell each other, through Ray's key-value store.

`ray.train.report` ends in Train's controller process, workers' prints are silenced, and a named
actor would cost a process start. Ray's private calls for training stand here and nowhere else.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from ray._private.state import state
from ray.exceptions import RayError
from ray.experimental import internal_kv

from bigmodel.repeating import repeating

_NAMESPACE = b"bigmodel"
_STOP = "/stop"


def tell(topic: str, value: dict[str, Any]) -> None:
    """Put the newest news of a topic, over what was there; lost where Ray's store is away."""
    with suppress(RayError):
        internal_kv._internal_kv_put(topic, json.dumps(value), overwrite=True, namespace=_NAMESPACE)


def heard(topic: str) -> dict[str, Any]:
    """The newest news of a topic; empty before there is any."""
    value = internal_kv._internal_kv_get(topic, namespace=_NAMESPACE)
    found: dict[str, Any] = json.loads(value) if value else {}
    return found


def ask_to_stop(topic: str, *, timeout_s: float, done: Callable[[dict[str, Any]], bool]) -> None:
    """Ask a run for a last checkpoint; wait until its news say it is `done`, or time is over."""
    tell(topic + _STOP, {"asked": True})
    deadline = time.monotonic() + timeout_s
    while not done(heard(topic)) and time.monotonic() < deadline:
        time.sleep(0.1)


def reasons_to_stop(topic: str) -> set[str]:
    """Why a run should keep a checkpoint at once: it is asked for, or machines are about to go."""
    return machines_that_leave() | ({"asked"} if heard(topic + _STOP) else set())


def machines_that_leave() -> set[str]:
    """The ids of nodes that are about to be taken away, as spot machines are after a notice."""
    return set(state.get_draining_nodes())


def looking(look: Callable[[], object], *, every_s: float) -> AbstractContextManager[None]:
    """Call `look` again and again while the block runs; while Ray's store is away, in vain."""
    return repeating(look, every_s=every_s, in_vain=RayError)


@contextmanager
def listening(topic: str, on_news: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Call `on_news` for each change seen while the block runs; nothing stays in the store."""
    seen: list[dict[str, Any]] = [{}]

    def look() -> None:
        if (value := heard(topic)) != seen[0]:
            seen[0] = value
            on_news(value)

    try:
        with looking(look, every_s=0.3):
            yield
    finally:
        with suppress(RayError):
            look()
        with suppress(RayError):
            for key in (topic, topic + _STOP):
                internal_kv._internal_kv_del(key, namespace=_NAMESPACE)
