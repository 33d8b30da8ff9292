"""A look at this machine, its storage and a cluster: the facts that `diagnosis` judges.

It takes less than five seconds, imports no Ray, and sends our token to nobody else's dashboard.
"""

import os
import resource
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import psutil

from bigmodel.cluster import head, private
from bigmodel.cluster.asking import Answer, ask
from bigmodel.cluster.dashboard import checked_address, token_for
from bigmodel.cluster.facts import Door, Facts, Kept, Listener
from bigmodel.cluster.floors import installed
from bigmodel.errors import BigModelError
from bigmodel.storage import folder, nearest

SECONDS = 2.0
"""For each question to a dashboard."""
SECONDS_FOR_STORAGE = 4.0

RAYS = ("/ray/core/src/", "/ray/dashboard/", "/ray/_private/", "ray.util.client.server", "ray::")
"""One of them is in the command line of each process of Ray's."""
DASHBOARD = "/ray/dashboard/dashboard.py"
NOBODYS_TOKEN = "0" * 64

_T = TypeVar("_T")


def examine(storage: str, cluster: str | None = None) -> Facts:
    """All that can be seen from here; `storage` is absolute."""
    deadline = time.monotonic() + SECONDS_FOR_STORAGE
    stored = _beside(lambda: _stored(storage))
    listeners, dashboards = _listeners()
    up, named = _up(), _named(cluster) if cluster else None
    known = [door for door in (up, named) if door]
    others = (
        _stranger(address)
        for address in dashboards
        if not any(_is(door.address, address) for door in known)
    )
    doors = (*known, *(door for door in others if door))
    memory = psutil.virtual_memory()
    asked = tuple(map(_asked, listeners))
    fault, skew = stored(deadline - time.monotonic()) or ("it doesn't answer", 0.0)
    return Facts(
        versions=installed(),
        cluster=cluster or "",
        at_head=bool(up and named and _is(named.address, up.address)),
        auth_mode=os.environ.get("RAY_AUTH_MODE"),
        token=_kept(_token_file()),
        token_in_environment=bool(os.environ.get("RAY_AUTH_TOKEN")),
        head=tuple(_head_files()),
        doors=doors,
        listeners=asked,
        open_sockets=tuple(sorted(_open_sockets())),
        storage=storage,
        storage_fault=fault,
        storage_skew_s=skew,
        files=_files(),
        memory_free=memory.available,
        memory=memory.total,
        disk_free={place: _disk(place) for place in _places(storage)},
        shared_memory=_shared_memory(),
    )


def _is(one: str, other: str) -> bool:
    """Do two addresses lead to the same place?"""
    return one.replace("localhost", "127.0.0.1") == other.replace("localhost", "127.0.0.1")


def _beside(function: Callable[[], _T]) -> Callable[[float], _T | None]:
    """Begin it in a thread; what is given back waits for so many seconds, and says None after."""
    found: list[_T] = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()

    def wait(seconds: float) -> _T | None:
        thread.join(max(0, seconds))
        return found[0] if found else None

    return wait


def _token_file() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def _kept(path: Path) -> Kept | None:
    """None where it isn't there."""
    try:
        found = path.stat()
    except OSError:
        return None
    mode, ours = stat.S_IMODE(found.st_mode), found.st_uid == os.getuid()
    return Kept(str(path), mode, ours=ours, empty=not found.st_size)


def _head_files() -> Iterator[Kept]:
    place = private.place()
    for path in (place, place / head.TOKEN, *sorted(place.glob("*.json"))):
        if kept := _kept(path):
            yield kept


def _up() -> Door | None:
    """The head that `bigmodel up` started here; None without one that lives."""
    try:
        found = head.living_head()
    except BigModelError:  # a file that others can read, which a check of its own says
        return None
    return _door("the head of bigmodel up", found[0].address, found[1]) if found else None


def _named(cluster: str) -> Door:
    """What --cluster names; our token isn't sent where the network could read it. RecipeError for
    what is no address."""
    address, token = checked_address(cluster, insecure=True), None
    with suppress(BigModelError):
        token = token_for(checked_address(cluster, insecure=False))
    return _door("--cluster", address, token)


def _stranger(address: str) -> Door | None:
    """A dashboard on this machine that isn't known to be ours; None where there is none."""
    door = _door("a dashboard on this machine", address, None)
    return door if door.without == 401 or door.ray else None


def _door(what: str, address: str, token: str | None) -> Door:
    url = f"{address}/api/version"
    without = ask(url, None, within_s=SECONDS)
    if not without.status:
        return Door(what, address, 0, 0, None)
    wrong = ask(url, NOBODYS_TOKEN, within_s=SECONDS)
    right = ask(url, token, within_s=SECONDS) if token else None
    ray = (right or without).value("ray_version")
    return Door(
        what,
        address,
        without=without.status,
        wrong=wrong.status,
        right=right.status if right else None,
        ray=str(ray or ""),
        skew_s=_skew(without),
    )


def _skew(answer: Answer) -> float:
    """Seconds by which its clock is ahead of ours, whole ones; 0 where it tells no time."""
    try:
        seconds = parsedate_to_datetime(answer.date).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0
    return 0.0 if -1 < seconds < 1 else seconds


def _listeners() -> tuple[list[Listener], list[str]]:
    """The open ports of Ray's and HAProxy's processes that we may look at; the addresses at which
    there may be a dashboard."""
    found, dashboards = [], []
    for process in psutil.process_iter():
        try:
            name, words = process.name(), process.cmdline()
            line = "\0".join(words)
            if not (name == "haproxy" or any(mark in line for mark in RAYS)):
                continue
            connections = process.net_connections(kind="tcp")
        except psutil.Error:  # gone, or another user's
            continue
        if name.startswith("python"):
            name = next((Path(word).name for word in words[1:] if word[:1] != "-"), name)
        for each in connections:
            if each.status == psutil.CONN_LISTEN:
                found.append(Listener(name, process.pid, each.laddr.ip, each.laddr.port))
                if DASHBOARD in line:
                    dashboards.append(_url(found[-1]))
    return found, sorted(set(dashboards))


def _url(listener: Listener) -> str:
    ip = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(listener.address, listener.address)
    return f"http://[{ip}]:{listener.port}" if ":" in ip else f"http://{ip}:{listener.port}"


def _asked(listener: Listener) -> Listener:
    """With whether it is an endpoint that lets everybody in, where others can reach it."""
    if not listener.beyond:
        return listener
    answer = ask(f"{_url(listener)}/v2", None, within_s=SECONDS / 2)
    return replace(listener, keyless=answer.value("name") == "bigmodel")


def _open_sockets() -> Iterator[str]:
    """HAProxy's sockets that others than their owner can get to and write to."""
    for process in psutil.process_iter():
        try:
            if process.name() != "haproxy":
                continue
            paths = {str(each.laddr) for each in process.net_connections(kind="unix")}
            yield from (path for path in paths if _is_open(Path(path)))
        except (psutil.Error, OSError):
            continue


def _is_open(path: Path) -> bool:
    others = stat.S_IROTH | stat.S_IWOTH
    if not path.is_absolute() or not path.is_socket() or not path.stat().st_mode & others:
        return False
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def _stored(uri: str) -> tuple[str, float]:
    """What is wrong with writing there and reading it again, and by how much its clock is ahead of
    ours; a folder that isn't there isn't made."""
    root = folder(uri)
    if root.local and not root.local.exists():
        parent = nearest(root.local)
        return ("" if os.access(parent, os.W_OK) else f"{parent} can't be written to"), 0.0
    place = root.child(f".doctor-{secrets.token_hex(8)}")
    told = secrets.token_bytes(16)
    try:
        place.write("told", told)
        if place.read("told") != told:
            return "what was written there isn't what is read", 0.0
        skew = (place.local / "told").stat().st_mtime - time.time() if place.local else 0.0
        place.remove()
    except (BigModelError, OSError) as error:
        return str(error).removeprefix(f"{place.uri}: ").partition("\n")[0], 0.0
    return "", skew if abs(skew) > 1 else 0.0


def _files() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 if limit == resource.RLIM_INFINITY else limit


def _places(storage: str) -> list[str]:
    """Where files pile up: Ray's folder, and a storage on this machine."""
    local = folder(storage).local
    there = nearest(local) if local else None
    temporary = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return list(dict.fromkeys(str(one) for one in (there, Path(temporary)) if one and one.exists()))


def _disk(place: str) -> tuple[float, float]:
    usage = shutil.disk_usage(place)
    return float(usage.free), float(usage.total)


def _shared_memory() -> float | None:
    return float(shutil.disk_usage("/dev/shm").total) if Path("/dev/shm").is_dir() else None
