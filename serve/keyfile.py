"""The keys in the storage: who may use the endpoint, one more, one fewer.

On a disk they stand in one file of mode 0600, changed under a lock and exchanged whole. An object
store has neither locks nor exchanges under a condition: there each key is an object of its own,
written once and deleted once, so that no two changes meet.
"""

import hashlib
import os
import secrets
import stat
import string
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError

from bigmodel.config import Section
from bigmodel.errors import RecipeError
from bigmodel.storage import Folder, folder

FILE = "keys"
OBJECT = "key.json"
"""In an object store, a key is `keys/<id>/key.json`: the same document, of one key."""

Scope = Literal["predict", "metadata"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_ALPHABET = string.ascii_letters + string.digits
_SECRET_CHARACTERS = 32
_Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]


class Key(Section):
    """What is known of a key. Its secret is not: a hash without salt is enough for 190 random
    bits, which nobody can guess and no table holds."""

    name: str = Field(min_length=1, max_length=100)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    rate: float | None = Field(gt=0, description="Requests a second.")
    created: AwareDatetime
    expires: AwareDatetime | None


class _Document(Section):
    format: Literal[1] = 1
    keys: dict[_Id, Key]


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; `written` is how its owner sends it, and is known only now."""

    id: str
    key: Key
    written: str


def digest(secret: str) -> str:
    """What is kept of a key's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read_keys(storage: str, known: Mapping[str, Key] | None = None) -> dict[str, Key]:
    """The keys by their ids, expired ones as well; none where there is no file.

    `known`: those read before; no key ever changes, so an object store is asked for new ones only.
    RecipeError for a file that is damaged, or that others than its owner can read or write.
    """
    root = folder(storage)
    return _from_disk(root) if root.local else _from_objects(root.child(FILE), known or {})


def had_keys(storage: str) -> bool:
    """Whether keys were made there, were they all revoked or expired since; in an object store
    nothing of a revoked one stays."""
    return folder(storage).exists(FILE) or bool(read_keys(storage))


def add_key(
    storage: str,
    name: str,
    *,
    scopes: Sequence[Scope],
    rate: float | None = None,
    days: int | None = None,
) -> NewKey:
    """Make a key, valid for some days or for ever, and put it beside those that are there."""
    key_id = secrets.token_hex(4)
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS))
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        key = Key(
            name=name,
            sha256=digest(secret),
            scopes=tuple(scopes),
            rate=rate,
            created=now,
            expires=None if days is None else now + timedelta(days=days),
        )
    except ValidationError as error:
        raise RecipeError(
            f"no such key can be made ({_first(error)}); give another value"
        ) from None
    root = folder(storage)
    if root.local:
        with root.locked():
            _to_disk(root.local / FILE, {**_from_disk(root), key_id: key})
    else:
        root.child(FILE).child(key_id).write(OBJECT, _written({key_id: key}))
    return NewKey(key_id, key, f"bmk_{key_id}_{secret}")


def revoke_key(storage: str, key_id: str) -> Key:
    """Take a key away, and say what it was; RecipeError where there is none with this id."""
    root = folder(storage)
    if not root.local:
        key = _found(read_keys(storage), key_id, root)
        root.child(FILE).child(key_id).remove()
        return key
    with root.locked():
        keys = _from_disk(root)
        key = _found(keys, key_id, root)
        del keys[key_id]
        _to_disk(root.local / FILE, keys)
    return key


def _found(keys: Mapping[str, Key], key_id: str, root: Folder) -> Key:
    if key_id not in keys:
        there = ", ".join(f"{one} ({key.name})" for one, key in keys.items()) or "none"
        raise RecipeError(
            f"no key has the id {key_id!r} in {root.uri} (found: {there}); "
            "give one of these, or the right --storage"
        )
    return keys[key_id]


def _from_disk(root: Folder) -> dict[str, Key]:
    assert root.local
    path = root.local / FILE
    try:
        data = root.read(FILE)
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return {}
    if mode & 0o077:
        raise RecipeError(
            f"{path} has mode {mode:04o}, and only its owner may read or change who has access; "
            f"mend it with: chmod 600 {path}"
        )
    return _read(data, str(path))


def _from_objects(place: Folder, known: Mapping[str, Key]) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    for name in place.names():
        key_id, _, rest = name.partition("/")
        if rest != OBJECT:
            continue
        if key_id in known:
            keys[key_id] = known[key_id]
            continue
        try:
            keys |= _read(place.read(name), place.child(name).uri)
        except FileNotFoundError:
            continue  # revoked since the listing
    return keys


def _to_disk(path: Path, keys: Mapping[str, Key]) -> None:
    """Exchange the file for one that is readable by its owner only from its first moment on."""
    aside: str | None = None
    try:
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}.")
        with open(handle, "wb") as file:
            file.write(_written(keys))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if aside:
            Path(aside).unlink(missing_ok=True)
        raise RecipeError(
            f"{path}: can't write there ({error.strerror}); make room or give access there"
        ) from error


def _written(keys: Mapping[str, Key]) -> bytes:
    return _Document(keys=dict(keys)).model_dump_json(indent=1).encode()


def _read(data: bytes, where: str) -> dict[str, Key]:
    try:
        return _Document.model_validate_json(data).keys
    except ValidationError as error:
        raise RecipeError(
            f"{where}: damaged or of another release ({_first(error)}); put a good copy back, "
            "or delete it and make new keys with: bigmodel keys add NAME"
        ) from None


def _first(error: ValidationError) -> str:
    """Where the first fault is and what, without what stands there."""
    wrong = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, wrong['loc'])) or 'the whole'}: {wrong['msg']}"
