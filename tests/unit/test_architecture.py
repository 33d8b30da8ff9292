"""How the modules may know each other, and that importing them only defines things."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ORDER = [
    ("errors", "progress", "__init__"),
    ("config",),
    ("recipe",),
    ("storage",),
    ("text",),
    ("data.schema", "data.batches", "data.__init__"),
    ("models",),
    ("metrics", "golden"),
    ("artifact",),
    ("predictor",),
    ("data",),
    ("training",),
    ("evaluation",),
    ("records", "tracking", "registry"),
    ("tuning",),
    ("cluster",),
    ("jobs", "serve"),
]
"""Of docs/architecture.md: each module imports from its own place and those before it."""

WITHOUT_RAY = (
    "errors", "config", "recipe", "storage", "progress", "text", "models", "metrics", "golden",
    "artifact", "predictor", "data.schema", "data.batches", "data.read", "data.quality",
    "data.split", "data.prepared", "training.loop", "training.newton", "training.fitting",
    "training.team", "evaluation", "records", "tracking", "registry",
)  # fmt: skip

SERVE_IMPORTS = {"config", "artifact", "predictor", "registry", "errors"}


def source_files() -> dict[str, Path]:
    """Every module of ours: `bigmodel.data.read` as "data.read", `jobs.cli` as "jobs.cli"."""
    files = {}
    for package in ("bigmodel", "jobs", "serve"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(parts[package == "bigmodel" :])] = path
    return files


FILES = source_files()


def place(module: str) -> int:
    """The position in ORDER of the longest name that begins `module`."""
    found = [
        (len(name), position)
        for position, names in enumerate(ORDER)
        for name in names
        if f"{module}.".startswith(f"{name}.")
    ]
    assert found, f"{module} has no place in the order of imports; give it one"
    return max(found)[1]


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from nodes(child)


@cache
def imported(path: Path, *, at_once: bool = False) -> set[str]:
    """The full names of the modules that a file imports; `at_once`: not inside a function."""
    names: set[str] = set()
    tree = ast.parse(path.read_bytes())
    for node in tree.body if at_once else nodes(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            names |= {
                full if (full := f"{module}.{alias.name}") in KNOWN else module
                for alias in node.names
            }
    return names


def full_name(module: str) -> str:
    name = module if module.split(".")[0] in ("jobs", "serve") else f"bigmodel.{module}"
    return name.removesuffix(".__init__")


KNOWN = {full_name(module) for module in FILES}


def ours(path: Path) -> set[str]:
    """What a file imports of ours, in the names of FILES."""
    mine = {name for name in imported(path) if name.split(".")[0] in ("bigmodel", "jobs", "serve")}
    return {name.removeprefix("bigmodel.") for name in mine} - {"bigmodel"}


@pytest.mark.parametrize("module", FILES)
def test_imports_run_one_way(module):
    later = {name for name in ours(FILES[module]) if place(name) > place(module)}
    assert not later, f"{module} imports {later}, which stand above it"


def test_imports_have_no_circles():
    edges = {module.removesuffix(".__init__"): ours(path) for module, path in FILES.items()}
    waiting = dict(edges)
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys() - {name}]:
        for name in free:
            del waiting[name]
    assert not waiting


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith(WITHOUT_RAY)])
def test_what_knows_no_ray_imports_none(module):
    reached, waiting = set(), {module.removesuffix(".__init__")}
    while waiting:
        name = waiting.pop()
        path = FILES.get(name) or FILES[f"{name}.__init__"]
        assert not {one for one in imported(path) if one.split(".")[0] == "ray"}, name
        reached.add(name)
        waiting |= ours(path) - reached


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("serve.")])
def test_serving_needs_little(module):
    of_bigmodel = {n for n in ours(FILES[module]) if not n.startswith("serve")}
    assert of_bigmodel <= SERVE_IMPORTS


def test_ray_is_started_in_one_place():
    found = {
        module
        for module, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute)
        and (node.attr, ast.unparse(node.value)) == ("init", "ray")
    }
    assert found == {"cluster.session"}


@pytest.mark.parametrize("module", FILES)
def test_a_module_says_what_it_is_for_and_is_short(module):
    source = FILES[module].read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")[0]
    assert first.endswith((".", ":")) or "\n" in first, f"{module} opens with {first!r}"
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{module}.{node.name} has {length} lines"


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
