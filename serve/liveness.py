"""A replica that hangs or leaks is no use: it ends, or says so, and Serve starts another."""

import asyncio
import faulthandler

import psutil

HANG_S = 6.0
"""What holds up the loop of a sound replica takes tenths of a second."""
SIGN_EVERY_S = 1.0
_STDERR = 2
_MIB = 2**20


async def end_where_it_hangs() -> None:
    """Give signs of life until cancelled. Once the running loop hasn't come back here for HANG_S,
    the process ends with status 1, and its error output has where each thread stood.

    Serve would need three checks of 10 s. The one who watches needs no Python: an endless regular
    expression, which lets no other thread run, is ended as well. A process that somebody stopped
    for so long ends when it goes on.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(HANG_S, exit=True, file=_STDERR)
            await asyncio.sleep(SIGN_EVERY_S)
    finally:
        faulthandler.cancel_dump_traceback_later()


def excess(most_mb: int) -> str:
    """Why this process holds too much memory, or "". Libraries and stores that it shares with
    others don't count."""
    found = psutil.Process().memory_info()
    own_mb = (found.rss - getattr(found, "shared", 0)) // _MIB
    if own_mb <= most_mb:
        return ""
    return (
        f"the replica holds {own_mb} MB, and serve.replica_memory_mb lets it have {most_mb}; "
        "another one takes its place, or set more if its models need that"
    )
