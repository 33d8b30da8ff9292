"""How the modules may know each other."""

import ast
from pathlib import Path

import pytest
from sources import FILES, imported

ORDER = [
    ("errors", "progress", "loopback", "repeating", "steady", "__init__"),
    ("client", "config"),
    ("recipe",),
    ("remote", "storage"),
    ("text",),
    ("data.schema", "data.batches", "data.__init__"),
    ("models",),
    ("metrics", "golden"),
    ("abstention",),
    ("manifest",),
    ("artifact",),
    ("predictor", "engines", "export", "attribution", "explanation"),
    ("data",),
    ("training",),
    ("inspection",),
    ("pages",),
    ("evaluation",),
    ("connection", "records", "outbox", "tracking", "versions", "registry", "pyfunc"),
    ("tuning", "answering"),
    ("cluster",),
    ("jobs", "serve"),
]
"""Of docs/architecture.md: each module imports from its own place and those before it."""

WITHOUT_RAY = (
    "errors", "config", "recipe", "remote", "storage", "progress", "text", "models", "metrics",
    "golden", "manifest", "artifact", "predictor", "attribution", "explanation", "export",
    "engines", "data.schema", "data.batches",
    "data.files", "data.encodings", "data.records", "data.look", "data.head", "data.parse",
    "data.sources", "data.read", "data.duplicates", "data.split", "data.refusals", "data.quality",
    "data.prepared", "data.history", "data.tasks", "training.loop", "training.newton",
    "training.fitting", "training.team", "training.base", "training.checkpoints", "training.linear",
    "training.loss", "training.optimizer", "training.order", "training.parameters",
    "training.rows", "training.runs", "training.augment", "training.calibration",
    "training.adjustment", "training.ingest", "training.netrun", "training.vectors",
    "training.watch", "training.folds", "training.resuming",
    "tuning.kinds", "tuning.space", "tuning.searchers", "tuning.trials", "tuning.ledger",
    "inspection", "pages", "evaluation", "connection", "records", "outbox", "tracking",
    "versions", "registry", "pyfunc", "client", "serve.ingress", "serve.haproxy",
    "cluster.job_records", "cluster.recording",
)  # fmt: skip

SERVE_IMPORTS = {
    "config", "artifact", "engines", "predictor", "registry", "errors", "storage", "explanation",
    "loopback", "repeating", "steady",
}  # fmt: skip


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
