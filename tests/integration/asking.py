"""Clients that ask a running endpoint without a pause."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from crowd import Crowd
from waiting import wait_for

from bigmodel.client import Client, ClientError

Ask = Callable[[], tuple[str, list[float]]]
"""The version that answered, and the score of each text's best label; an error for no answer."""


PAUSE_S = 0.05
"""Of a client that just failed; else those that are refused at once would take the machine."""


class Load(Crowd):
    """Asks the same texts from several clients while the block runs, each on a connection of its
    own. `expected`: what each version says to them, as far as that is to be compared.

    `answered`: by version; `failed`: what was said instead; `longest_silence_s`: between answers.
    """

    def __init__(
        self,
        url: str,
        texts: Sequence[str],
        *,
        clients: int,
        expected: Mapping[str, Sequence[float]] | None = None,
        key: str = "",
    ) -> None:
        super().__init__([()] * clients)
        self._url, self._texts, self._key, self._expected = url, list(texts), key, expected
        self._lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.longest_silence_s, self._last_answer = 0.0, time.monotonic()

    def __enter__(self) -> Any:
        self._last_answer = time.monotonic()
        return super().__enter__()

    def wait_for_more(self, answers: int, *, within_s: float = 60) -> None:
        """Until so many more were answered than now."""
        enough = self.answered.total() + answers
        wait_for(lambda: self.answered.total() >= enough, within_s=within_s)

    def _ask_on(self) -> None:
        with self._asker() as ask:
            while not self._over.is_set():
                try:
                    version, scores = ask()
                    fault = "" if self._is_of(version, scores) else f"{version}: {scores}"
                except (OSError, HTTPException, ValueError, LookupError, ClientError) as error:
                    version, fault = "", repr(error)
                self._count(version, fault)
                if fault:
                    self._over.wait(PAUSE_S)

    def _count(self, version: str, fault: str) -> None:
        with self._lock:
            if fault:
                self.failed.append(fault)
                return
            now = time.monotonic()
            self.longest_silence_s = max(self.longest_silence_s, now - self._last_answer)
            self._last_answer = now
            self.answered[version] += 1

    @contextmanager
    def _asker(self) -> Iterator[Ask]:
        """Over one connection, opened again where it was lost."""
        connection = HTTPConnection(urlsplit(self._url).netloc, timeout=20)
        body = json.dumps({"inputs": self._texts}).encode()
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"

        def ask() -> tuple[str, list[float]]:
            try:
                connection.request("POST", "/v1/classify", body, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, HTTPException):
                connection.close()
                raise
            if response.status != 200:
                raise ValueError(f"{response.status} {content[:200]!r}")
            answer = json.loads(content)
            if answer["version"] != response.headers["X-Model-Version"]:
                raise ValueError(f"{answer['version']} isn't the version of the headers")
            return answer["version"], [p["labels"][0]["score"] for p in answer["predictions"]]

        yield ask
        connection.close()

    def _is_of(self, version: str, scores: Sequence[float]) -> bool:
        if len(scores) != len(self._texts) or self._expected is None:
            return len(scores) == len(self._texts)
        right = self._expected[version]
        return all(abs(a - b) < 1e-5 for a, b in zip(scores, right, strict=True))


class PatientLoad(Load):
    """As our own client asks: again where that may help."""

    @contextmanager
    def _asker(self) -> Iterator[Ask]:
        with Client(self._url, self._key or None) as client:

            def ask() -> tuple[str, list[float]]:
                answers = client.classify(self._texts)
                return answers[0].version, [each.score for each in answers]

            yield ask
