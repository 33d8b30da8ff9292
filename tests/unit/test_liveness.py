"""A process whose event loop hangs ends and says where; one that holds too much memory says so."""

import asyncio
import subprocess
import sys

import psutil
import pytest

from serve import liveness

HANGS = {
    "asleep": "time.sleep(60)",
    "a regular expression without end": "re.match('(好+)+$', '好' * 60 + '坏')",
}
PROGRAM = """
import asyncio, re, time
from serve import liveness
liveness.HANG_S, liveness.SIGN_EVERY_S = 0.5, 0.1

async def main():
    watching = asyncio.create_task(liveness.end_where_it_hangs())
    await asyncio.sleep(1)
    print("still here", flush=True)
    {hang}

asyncio.run(main())
"""


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_a_loop_that_hangs_ends_its_process_and_says_where(hang: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hang=hang)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (ended.returncode, ended.stdout) == (1, "still here\n")
    assert ended.stderr.startswith("Timeout (0:00:00.500000)!") and "in main" in ended.stderr
    assert "好" not in ended.stderr


def test_who_stops_watching_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(
        liveness.faulthandler, "dump_traceback_later", lambda *_, **__: calls.append("again")
    )
    monkeypatch.setattr(
        liveness.faulthandler, "cancel_dump_traceback_later", lambda: calls.append("no more")
    )
    monkeypatch.setattr(liveness, "SIGN_EVERY_S", 0.001)

    async def watched() -> None:
        watching = asyncio.create_task(liveness.end_where_it_hangs())
        while calls.count("again") < 3:
            await asyncio.sleep(0.001)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(watched())
    assert calls.pop() == "no more" and set(calls) == {"again"}


def test_memory_of_its_own_is_bounded_and_shared_memory_is_not_counted() -> None:
    found = psutil.Process().memory_info()
    own_mb = (found.rss - getattr(found, "shared", 0)) // 2**20
    assert liveness.excess(own_mb + 100) == ""
    leaked = bytearray(b"x") * (200 * 2**20)
    assert "serve.replica_memory_mb lets it have" in liveness.excess(own_mb + 100)
    del leaked
