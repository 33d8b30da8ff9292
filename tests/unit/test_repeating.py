"""What is done beside a block: until its end, and though it goes wrong now and then."""

import threading

import pytest

from bigmodel.repeating import repeating


def test_it_is_done_until_the_block_ends_though_some_times_are_in_vain():
    times, often = [], threading.Event()

    def act() -> None:
        times.append(threading.current_thread())
        if len(times) == 3:
            often.set()
        if len(times) < 3:
            raise ConnectionError("away")

    with repeating(act, every_s=0.001, in_vain=ConnectionError):
        assert often.wait(30)
    done = len(times)
    assert not times[0].is_alive() and times[0] is not threading.current_thread()
    assert len(times) == done


def test_a_blocks_error_ends_it_too():
    before = threading.active_count()
    with pytest.raises(ValueError, match="no"):
        with repeating(lambda: None, every_s=0.001, in_vain=OSError):
            raise ValueError("no")
    assert threading.active_count() == before
