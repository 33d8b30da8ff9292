"""Access to the endpoint: whose key a request has, what it may do, and how often."""

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Callable

from starlette.datastructures import Headers

from bigmodel.errors import BigModelError
from serve.keyfile import Key, Scope, digest, read_keys
from serve.problems import Problem

BURST_S = 0.2
"""What a key may save up: a fifth of a second's requests, so that any second has at most 1.2 of
its rate."""
_NOBODY = digest("")
"""Compared with where no key has the id, so that an unknown one takes the same work."""

logger = logging.getLogger(__name__)


class KeyRing:
    """The keys of a storage as one replica knows them; belongs to one event loop.

    Made with what the storage holds, RecipeError if that can't be read: blocking, so make it
    outside of the loop. Later on, a file that is gone means that nobody has access, for whoever
    deletes it wants that, and our own changes exchange it whole. A damaged one, or a storage that
    is away, leaves the keys as they were, and is logged: one slip of an editor or an outage of the
    storage must not lock everybody out, and who can write there could add a key as well.
    """

    def __init__(
        self,
        storage: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.share = 1.0
        """Of each key's rate, what this replica grants: 1 / living replicas."""
        self._storage, self._clock, self._now = storage, clock, now
        self._keys = read_keys(storage)
        self._buckets: dict[str, Bucket] = {}
        self._complaint = ""

    @property
    def empty(self) -> bool:
        """Nobody could get in: there is no key, or none that hasn't expired."""
        return not any(self._is_valid(key) for key in self._keys.values())

    async def keep_current(self, *, every_s: float = 2.0) -> None:
        """Read the keys again and again, in a thread, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the keys once; what is wrong with them is logged when it begins."""
        try:
            keys = await asyncio.to_thread(read_keys, self._storage, self._keys)
        except Exception as error:  # whatever it is, the next look may go well
            said = str(error) if isinstance(error, BigModelError) else type(error).__name__
            if said != self._complaint:
                logger.error("the keys stay as they were: %s", said)
            self._complaint = said
            return
        self._complaint = ""
        self._keys = keys
        self._buckets = {one: self._buckets[one] for one in self._buckets.keys() & keys.keys()}

    def check(self, headers: Headers, scope: Scope) -> str:
        """The id of the request's key, one request of its rate used up; Problem if it has none.

        Each key that is sent costs one hash and one comparison in constant time, be it right,
        wrong, unknown or malformed.
        """
        key_id, key = self._owner(headers)
        if not self._is_valid(key):
            raise _unauthorized("expired-key", "the key has expired; ask for a new one")
        if scope not in key.scopes:
            raise Problem(
                "missing-scope",
                f"the key doesn't have the scope {scope}; ask for one that has",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
        if key.rate:
            self._use(key_id, key.rate)
        return key_id

    def _owner(self, headers: Headers) -> tuple[str, Key]:
        """The key that the request proves to have."""
        given = headers.getlist("authorization")
        bearers = [value[7:].strip() for value in given if value[:7].lower() == "bearer "]
        if not bearers:
            raise Problem(
                "no-key",
                "the request has no key; send it as Authorization: Bearer bmk_…",
                headers={"WWW-Authenticate": "Bearer"},
            )
        prefix, _, rest = bearers[0].partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._keys.get(key_id)
        right = hmac.compare_digest(digest(secret), key.sha256 if key else _NOBODY)
        if not key or not right or prefix != "bmk" or len(given) > 1:
            raise _unauthorized("wrong-key", "the key is wrong or was revoked; ask for a new one")
        return key_id, key

    def _is_valid(self, key: Key) -> bool:
        return key.expires is None or self._now() < key.expires.timestamp()

    def _use(self, key_id: str, rate: float) -> None:
        bucket = self._buckets.setdefault(key_id, Bucket())
        if wait_s := bucket.take(rate * self.share, self._clock()):
            raise Problem(
                "rate",
                f"the key's {rate:g} requests a second are used up; try again later",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )


class Bucket:
    """One key's saved-up requests; full at first."""

    def __init__(self) -> None:
        self._saved = math.inf
        self._at = 0.0

    def take(self, rate: float, now: float) -> float:
        """0 if a request is granted at `now`, else the seconds until the next one would be."""
        most = max(1.0, rate * BURST_S)
        self._saved = min(most, self._saved + (now - self._at) * rate)
        self._at = now
        if self._saved > 1 - 1e-6:  # the sums of floats that make one
            self._saved -= 1
            return 0.0
        return (1 - self._saved) / rate


def _unauthorized(kind: str, detail: str) -> Problem:
    return Problem(kind, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
