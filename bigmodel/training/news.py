"""How a worker's epochs reach the driver: through Ray's own key-value store, with no extra process.

`ray.train.report` ends in Train's controller process, and workers' prints are silenced; a named
actor would cost a process start. Ray's calls for this stand here and nowhere else.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.experimental import internal_kv

_NAMESPACE = b"bigmodel"


def tell(topic: str, value: dict[str, Any]) -> None:
    """Put the newest news of a topic, over what was there."""
    internal_kv._internal_kv_put(topic, json.dumps(value), overwrite=True, namespace=_NAMESPACE)


@contextmanager
def listening(topic: str, on_news: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Call `on_news` for each change seen while the block runs; nothing stays in the store."""
    done = threading.Event()
    seen: list[bytes | None] = [None]

    def look() -> None:
        value = internal_kv._internal_kv_get(topic, namespace=_NAMESPACE)
        if value is not None and value != seen[0]:
            seen[0] = value
            on_news(json.loads(value))

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
        internal_kv._internal_kv_del(topic, namespace=_NAMESPACE)
