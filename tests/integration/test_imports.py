"""Importing only defines things."""

import json
import subprocess
import sys

from sources import FILES, KNOWN, ROOT, imported

IMPORT_ALL = """
import importlib, json, logging, os, signal, sys, threading, warnings

def state():
    return {
        "threads": [thread.name for thread in threading.enumerate()],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "files": sorted(os.listdir(".")),
        "handlers": [repr(handler) for handler in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "signals": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "streams": [id(sys.stdout), id(sys.stderr)],
    }

others, ours = json.loads(sys.argv[1])
for name in others:
    importlib.import_module(name)
before = state()
for name in ours:
    importlib.import_module(name)
after = state()
import ray
ours = [logging.getLogger(name) for name in ("bigmodel", "jobs", "serve")]
handlers = [repr(handler) for logger in ours for handler in logger.handlers]
print(json.dumps([before, after, ray.is_initialized(), handlers]))
"""


def test_importing_everything_changes_nothing(tmp_path):
    names = {name for path in FILES.values() for name in imported(path, at_once=True)}
    others = sorted(n for n in names if n.split(".")[0] not in ("bigmodel", "jobs", "serve"))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps([others, sorted(KNOWN)])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    before, after, ray_runs, handlers = json.loads(done.stdout)
    assert after == before
    assert not ray_runs
    assert handlers == []
