"""The oldest versions that are safe to run: below each of them there is a known way in."""

import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from bigmodel.errors import ClusterError

FLOORS = {
    "python": ("3.11", "bigmodel needs it"),
    "ray": ("2.56", "reading a Parquet file could run code (CVE-2026-41486)"),
    "torch": ("2.6", "loading weights could run code (CVE-2025-32434)"),
    "pyarrow": ("14.0.1", "reading a file could run code (CVE-2023-47248)"),
    "mlflow": ("3.5", "its server takes requests that a web page made (CVE-2025-14279)"),
}
"""Of each the first safe release, and why."""


def installed() -> dict[str, str]:
    """The versions here, without importing any; "" for what isn't installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in FLOORS.keys() - found:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return {name: found[name] for name in FLOORS}


def is_below(found: str, floor: str) -> bool:
    """Of releases as they are written: 2.6.0+cpu is 2.6, and 2.10 is above 2.6."""
    return _numbers(found) < _numbers(floor)


def check_floors(versions: Mapping[str, str] | None = None) -> None:
    """ClusterError where a version (here, or of these) is older than is safe."""
    for name, found in (installed() if versions is None else versions).items():
        floor, why = FLOORS[name]
        if found and is_below(found, floor):
            raise ClusterError(
                f"{name} {found} is installed, and below {floor} {why}; install a newer one with: "
                f"pip install --upgrade '{name}>={floor}'"
            )


def _numbers(written: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", written)
    parts = [int(part) for part in found[0].split(".")] if found else []
    while parts and not parts[-1]:
        parts.pop()  # 2.6.0 is 2.6
    return tuple(parts)
