"""Clients that ask a running endpoint without a pause, and waiting for what will come true."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit


class Load:
    """Asks the same texts from several clients while the block runs, each on a connection of its
    own. `expected`: what each version says to them, as far as that is to be compared."""

    def __init__(
        self,
        url: str,
        texts: Sequence[str],
        *,
        clients: int,
        expected: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self._address = urlsplit(url).netloc
        self._body = json.dumps({"inputs": list(texts)}).encode()
        self._num_texts, self._expected = len(texts), expected
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]
        self._lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, answers: int, *, within_s: float = 60) -> None:
        """Until so many more were answered than now."""
        enough = self.answered.total() + answers
        wait_for(lambda: self.answered.total() >= enough, within_s=within_s)

    def _ask_on(self) -> None:
        connection = HTTPConnection(self._address, timeout=20)
        while not self._over.is_set():
            try:
                version, fault = self._ask(connection)
            except (OSError, HTTPException, ValueError, LookupError) as error:
                version, fault = "", repr(error)
                connection.close()
            with self._lock:
                if fault:
                    self.failed.append(fault)
                else:
                    self.answered[version] += 1
        connection.close()

    def _ask(self, connection: HTTPConnection) -> tuple[str, str]:
        """The version that answered, and what is wrong with the answer."""
        connection.request("POST", "/v1/classify", self._body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            return "", f"{response.status} {content[:200]!r}"
        answer = json.loads(content)
        version = answer["version"]
        if version != response.headers["X-Model-Version"] or not self._is_of(version, answer):
            return version, f"not an answer of version {version}: {answer}"
        return version, ""

    def _is_of(self, version: str, answer: dict[str, Any]) -> bool:
        scores = [each["labels"][0]["score"] for each in answer["predictions"]]
        if len(scores) != self._num_texts or self._expected is None:
            return len(scores) == self._num_texts
        right = self._expected[version]
        return all(abs(a - b) < 1e-5 for a, b in zip(scores, right, strict=True))


def wait_for(condition: Callable[[], object], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        time.sleep(0.05)
