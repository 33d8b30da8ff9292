"""The two clients: one blocks, one doesn't."""

import asyncio
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TypeVar

import httpx

from bigmodel.client.answers import Answer, Model
from bigmodel.client.conversation import Ask, Conversation, Pause, Steps
from bigmodel.client.faults import Reply, Silence
from bigmodel.errors import RecipeError
from bigmodel.loopback import is_loopback

CONNECT_TIMEOUT_S = 3.0
T = TypeVar("T")


class Client:
    """Asks the endpoint at `url`; may be used by several threads, and closed when done.

    `timeout_s` is all the time that one request and its repetitions may take; a long list is
    several requests. `retries`: how often one is repeated where that may help, after pauses of
    random length: after a cut connection, 429, 502 to 504, never after another 4xx. `insecure` lets
    a key cross a network without TLS. `transport`: httpx's, for tests. RecipeError for a URL or a
    key that can't be one; everything later is a `ClientError`.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 10.0,
        retries: int = 3,
        insecure: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        settings = _settings(url, key, insecure=insecure)
        self._conversation = Conversation(settings["base_url"], timeout_s, retries)
        self._http = httpx.Client(**settings, transport=transport)

    def classify(
        self,
        texts: str | Iterable[str],
        *,
        top_k: int = 1,
        explain: bool = False,
        truncate: bool = False,
    ) -> list[Answer]:
        """An answer a text, in order; a single text is a list of one.

        `top_k`: labels an answer; `explain`: with the words that moved the first one; `truncate`:
        too long a text is cut, not refused.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        steps = self._conversation.classify(given, top_k=top_k, explain=explain, truncate=truncate)
        return self._run(steps)

    def models(self) -> tuple[Model, ...]:
        """What the endpoint serves, the model that `classify` asks first."""
        return self._run(self._conversation.models())

    def ready(self) -> bool:
        """Whether the endpoint takes work now; False also where nobody answers."""
        return self._run(self._conversation.ready())

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        outcome: Reply | Silence | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
            else:
                outcome = self._ask(step)

    def _ask(self, ask: Ask) -> Reply | Silence:
        ends = time.monotonic() + ask.timeout_s
        body = bytearray()
        try:
            with self._http.stream(**_request(ask)) as response:
                for chunk in response.iter_bytes():  # each of which could take all of the time
                    body += chunk
                    if time.monotonic() > ends:
                        return _too_slow(ask)
                return Reply(response.status_code, response.headers, bytes(body))
        except httpx.TimeoutException:
            return _too_slow(ask)
        except httpx.RequestError as error:
            return _cut(error)


class AsyncClient:
    """As `Client`, for asyncio: `async with`, and each method is awaited."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 10.0,
        retries: int = 3,
        insecure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        settings = _settings(url, key, insecure=insecure)
        self._conversation = Conversation(settings["base_url"], timeout_s, retries)
        self._http = httpx.AsyncClient(**settings, transport=transport)

    async def classify(
        self,
        texts: str | Iterable[str],
        *,
        top_k: int = 1,
        explain: bool = False,
        truncate: bool = False,
    ) -> list[Answer]:
        given = [texts] if isinstance(texts, str) else list(texts)
        steps = self._conversation.classify(given, top_k=top_k, explain=explain, truncate=truncate)
        return await self._run(steps)

    async def models(self) -> tuple[Model, ...]:
        return await self._run(self._conversation.models())

    async def ready(self) -> bool:
        return await self._run(self._conversation.ready())

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Reply | Silence | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                outcome = await self._ask(step)

    async def _ask(self, ask: Ask) -> Reply | Silence:
        try:
            async with asyncio.timeout(ask.timeout_s):
                response = await self._http.request(**_request(ask))
            return Reply(response.status_code, response.headers, response.content)
        except (TimeoutError, httpx.TimeoutException):
            return _too_slow(ask)
        except httpx.RequestError as error:
            return _cut(error)


def _settings(url: str, key: str | None, *, insecure: bool) -> dict[str, Any]:
    """For httpx; its proxies are for addresses beyond this machine."""
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        read = httpx.URL("")
    if read.scheme not in ("http", "https") or not read.host or read.userinfo or read.query:
        raise RecipeError(
            "the URL is none of an endpoint; expected http://HOST:PORT or https://HOST, without "
            "user, password and query"
        )
    here = is_loopback(read.host)
    headers = {}
    if key is not None:
        if not (key.isascii() and key.isprintable() and key and " " not in key):
            raise RecipeError("the key is none; give it as it was shown: bmk_…")
        if read.scheme == "http" and not here and not insecure:
            raise RecipeError(
                f"{url} would show the key to the network; use https, a tunnel to this machine, "
                "or insecure=True where the network is yours alone"
            )
        headers["Authorization"] = f"Bearer {key}"
    return {"base_url": url.rstrip("/"), "headers": headers, "trust_env": not here}


def _request(ask: Ask) -> dict[str, Any]:
    return {
        "method": ask.method,
        "url": ask.path,
        "content": ask.body,
        "headers": ask.headers,
        "timeout": httpx.Timeout(ask.timeout_s, connect=min(ask.timeout_s, CONNECT_TIMEOUT_S)),
    }


def _too_slow(ask: Ask) -> Silence:
    return Silence(f"not within {ask.timeout_s:.3g} s")


def _cut(error: httpx.RequestError) -> Silence:
    return Silence(str(error) or type(error).__name__)
