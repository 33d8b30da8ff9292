"""The project's own modules, and what each of them imports, read from the sources."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


def source_files() -> dict[str, Path]:
    """Every module of ours: `bigmodel.data.read` as "data.read", `jobs.cli` as "jobs.cli"."""
    files = {}
    for package in ("bigmodel", "jobs", "serve"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(parts[package == "bigmodel" :])] = path
    return files


FILES = source_files()


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
