"""Requests that come at a rate of their own, whether or not those before were answered."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import aiohttp
import numpy as np


@dataclass(frozen=True)
class Heard:
    """What came of one request: its status (0: nothing), `Retry-After`, and how long after the
    moment it was due."""

    status: int
    retry_after: str
    seconds: float


@dataclass(frozen=True)
class Offered:
    """All that was heard of `rate` requests a second during `seconds`."""

    rate: float
    seconds: float
    heard: list[Heard]

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return len(self._times(200)) / self.seconds

    @property
    def p99_s(self) -> float:
        """Of the good answers."""
        return float(np.percentile(self._times(200), 99))

    @property
    def failed(self) -> Counter[tuple[int, str]]:
        """Whatever is neither a good answer nor a refusal that says when to come back."""
        said = Counter((each.status, each.retry_after) for each in self.heard)
        return Counter({(s, r): n for (s, r), n in said.items() if s != 200 and not _refusal(s, r)})

    def _times(self, status: int) -> list[float]:
        return [each.seconds for each in self.heard if each.status == status]

    def __str__(self) -> str:
        said = Counter(each.status for each in self.heard)
        return (
            f"{self.rate:.0f}/s offered, {self.goodput:.0f}/s answered, "
            f"p99 {self.p99_s * 1e3:.0f} ms, {dict(sorted(said.items()))}"
        )


def _refusal(status: int, retry_after: str) -> bool:
    return status in (429, 503) and retry_after.isdecimal()


def offer(
    url: str,
    texts: Sequence[str],
    *,
    rate: float,
    seconds: float,
    timeout_s: float = 20,
    connections: int = 0,
) -> Offered:
    """Send `texts` so often, and wait for what comes of each; over so many connections at most, or
    where it is 0 over as many as are needed."""
    connector = partial(aiohttp.TCPConnector, limit=connections)
    return asyncio.run(_offer(url, texts, rate, seconds, timeout_s, connector))


async def _offer(
    url: str,
    texts: Sequence[str],
    rate: float,
    seconds: float,
    timeout_s: float,
    connector: Callable[[], aiohttp.TCPConnector],
) -> Offered:
    body = json.dumps({"inputs": list(texts)}).encode()
    headers = {"Content-Type": "application/json"}
    loop = asyncio.get_running_loop()

    async def ask(due: float) -> Heard:
        try:
            async with http.post("/v1/classify", data=body, headers=headers) as answer:
                await answer.read()
                found = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError):
            found = 0, ""
        return Heard(*found, loop.time() - due)

    asked: list[asyncio.Task[Heard]] = []
    timeout = aiohttp.ClientTimeout(timeout_s)
    async with aiohttp.ClientSession(url, connector=connector(), timeout=timeout) as http:
        begun = loop.time()
        for number in range(round(rate * seconds)):
            due = begun + number / rate
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            asked.append(loop.create_task(ask(due)))
        return Offered(rate, seconds, await asyncio.gather(*asked))
