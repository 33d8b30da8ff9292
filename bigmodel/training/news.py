"""What a run's first worker and its driver tell each other, through Ray's key-value store.

`ray.train.report` ends in Train's controller process, workers' prints are silenced, and a named
actor would cost a process start. Ray's private calls for training stand here and nowhere else.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray._private.state import state
from ray.experimental import internal_kv

_NAMESPACE = b"bigmodel"
_STOP = "/stop"


def tell(topic: str, value: dict[str, Any]) -> None:
    """Put the newest news of a topic, over what was there."""
    internal_kv._internal_kv_put(topic, json.dumps(value), overwrite=True, namespace=_NAMESPACE)


def heard(topic: str) -> dict[str, Any]:
    """The newest news of a topic; empty before there is any."""
    value = internal_kv._internal_kv_get(topic, namespace=_NAMESPACE)
    found: dict[str, Any] = json.loads(value) if value else {}
    return found


def ask_to_stop(topic: str, *, timeout_s: float, done: Callable[[dict[str, Any]], bool]) -> bool:
    """Ask a run for a last checkpoint; whether its news said in time that it is `done`."""
    tell(topic + _STOP, {"asked": True})
    deadline = time.monotonic() + timeout_s
    while not (came := done(heard(topic))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return came


def stop_is_asked(topic: str) -> bool:
    return bool(heard(topic + _STOP))


def machines_that_leave() -> set[str]:
    """The ids of nodes that are about to be taken away, as spot machines are after a notice."""
    return set(state.get_draining_nodes())


@contextmanager
def listening(topic: str, on_news: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Call `on_news` for each change seen while the block runs; nothing stays in the store."""
    done = threading.Event()
    seen: list[dict[str, Any]] = [{}]

    def look() -> None:
        if (value := heard(topic)) != seen[0]:
            seen[0] = value
            on_news(value)

    def watch() -> None:
        while not done.wait(0.3):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        look()
        for key in (topic, topic + _STOP):
            internal_kv._internal_kv_del(key, namespace=_NAMESPACE)
