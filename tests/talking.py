"""Jobs that are small programs, submitted as ours are; one that says ten thousand lines."""

import secrets
import shlex
from functools import partial

from bigmodel.cluster.dashboard import Dashboard
from bigmodel.cluster.line import in_line
from bigmodel.cluster.submission import DRIVER_CPUS, NONCE, Submission, _start

LINES = 10_000
TALKING = f"""
import sys, time
for i in range({LINES}):
    print(f"第{{i}}行，评论很好，物流也快，下次还买")
    if i % 1000 == 0:
        time.sleep(0.2)
print("没有换行", end="")
sys.exit(3)
"""
SPOKEN = [f"第{i}行，评论很好，物流也快，下次还买" for i in range(LINES)] + ["没有换行"]


def begin(there: Dashboard, program: str, *, places: int = 8) -> Submission:
    """A program in Python as a job of ours, once a place in the line is free."""
    terms = {
        "entrypoint": shlex.join(["python", "-c", program]),
        "entrypoint_num_cpus": DRIVER_CPUS,
        "metadata": {NONCE: secrets.token_hex(16)},
    }
    return Submission(in_line(there, places, partial(_start, there, terms)), "our mark:", there)
