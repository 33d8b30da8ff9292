"""Clients that ask at the same time, each in a thread of its own, while a block runs."""

import threading
from collections.abc import Iterable
from typing import Any


class Crowd:
    """Runs `_ask_on` once for each of `given`, from the beginning of the block; at its end `_over`
    is set, and all are waited for."""

    def __init__(self, given: Iterable[tuple[Any, ...]]) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=each) for each in given]
        self.failed: list[str] = []

    def __enter__(self) -> Any:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, *given: Any) -> None:
        raise NotImplementedError
