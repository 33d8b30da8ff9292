"""What became of a job, from what its cluster's table says of it."""

import re
import signal
from contextlib import suppress
from typing import Literal

from bigmodel.cluster.job_records import SAID

State = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED", "LOST"]

INTERRUPTED = 130
OUR_EXIT_CODES = (0, 1, 2, 3, 4, 5, INTERRUPTED)
NO_COMMAND = (126, 127)
NEVER_BEGAN = {
    "RUNTIME_ENV_SETUP_FAILURE",
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE",
}
"""Ray's errors after which nothing of a job was lost: there was nothing. Two others sound like it,
and are said as well of a job that ran when its supervisor or the head's store went away."""


def state_of(
    status: str, code: int | None, error: str | None, message: str | None
) -> tuple[State, str]:
    """What Ray's status comes to, and why, as a clause; "" where there is nothing to say.

    FAILED is what ended with an exit code of ours, and what never began; LOST is what was cut off.
    """
    said = message or ""
    if status == "PENDING":
        return "PENDING", "waits for a CPU" if "resources" in said else "is being set up"
    if status != "FAILED":
        return status, ""  # type: ignore[return-value]
    if code == INTERRUPTED:
        return "STOPPED", ""
    if code in OUR_EXIT_CODES:
        sentences = SAID.findall(said)
        return "FAILED", sentences[-1] if sentences else f"it ended with exit code {code}"
    if code in NO_COMMAND or error in NEVER_BEGAN:
        return "FAILED", f"it never began: {_clause(said)}"
    return "LOST", _clause(said) if code is None else _cut_off(code)


def _clause(said: str) -> str:
    """The line of Ray's message that says it: the first, or the last of a log or trace below."""
    lines = said.strip().splitlines() or ["no reason given"]
    below = lines[0].endswith(":") or "Traceback (" in said
    return re.sub(r"[\s.:]+$", "", lines[-1 if below else 0])


def _cut_off(code: int) -> str:
    """By a signal, as Python (-9) or a shell (137) says it."""
    with suppress(ValueError):
        name = signal.Signals(-code if code < 0 else code - 128).name
        short = "memory was short, perhaps: " * (name == "SIGKILL")
        return f"{short}its process was ended by {name}"
    return f"its process ended with exit code {code}, and not by us"
