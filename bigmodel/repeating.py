"""A thread that does the same thing again and again beside a block."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def repeating(
    act: Callable[[], object], *, every_s: float, in_vain: type[Exception]
) -> Iterator[None]:
    """Call `act` every so many seconds while the block runs, the first time after as many; where it
    raises `in_vain`, the next time may go well."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(every_s):
            with suppress(in_vain):
                act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
