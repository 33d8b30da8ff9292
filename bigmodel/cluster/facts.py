"""What can be seen of a machine and the clusters it can reach; the doctor's checks read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bigmodel.loopback import is_loopback

GIB = 1024.0**3


@dataclass(frozen=True)
class Kept:
    """A file or folder that is its owner's alone."""

    path: str
    mode: int
    ours: bool = True
    empty: bool = False


@dataclass(frozen=True)
class Door:
    """What a dashboard answers with no token, with a wrong one, and with ours: statuses, 0 for no
    answer. `right` is None where no token was sent."""

    what: str
    address: str
    without: int = 401
    wrong: int = 403
    right: int | None = 200
    ray: str = ""
    skew_s: float = 0.0
    """How far its clock is ahead of ours."""


@dataclass(frozen=True)
class Listener:
    """A port that a process of Ray's or HAProxy's on this machine has open."""

    process: str
    pid: int
    address: str
    port: int
    keyless: bool = False
    """An endpoint that answers whoever asks."""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    @property
    def beyond(self) -> bool:
        """Can other machines reach it?"""
        return not is_loopback(self.address.removeprefix("::ffff:"))


@dataclass(frozen=True)
class Facts:
    """What was seen; sizes in bytes. As they stand here nothing is wrong, and no cluster there."""

    versions: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    """The address at --cluster, as it was given."""
    at_head: bool = False
    """Is that the head of `bigmodel up`? Its token is found by itself."""
    auth_mode: str | None = None
    """RAY_AUTH_MODE."""
    token: Kept | None = None
    """The file that Ray's clients read the token of."""
    token_in_environment: bool = False
    head: tuple[Kept, ...] = ()
    """What `bigmodel up` keeps."""
    doors: tuple[Door, ...] = ()
    listeners: tuple[Listener, ...] = ()
    open_sockets: tuple[str, ...] = ()
    """Of HAProxy's, those that other users may write to."""
    keys: str = ""
    """What is wrong with the file of keys."""
    storage: str = ""
    storage_fault: str = ""
    storage_skew_s: float = 0.0
    proxy: str = "HAProxy"
    proxy_fault: str = ""
    files: int = 65_536
    memory_free: float = 8 * GIB
    memory: float = 16 * GIB
    disk_free: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By folder: what is free, and the whole."""
    shared_memory: float | None = None
    """The size of /dev/shm; None where the system has none."""
