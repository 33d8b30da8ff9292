"""Ask an endpoint: `Client(url, key).classify(texts)`, and `AsyncClient` likewise.

    with Client("http://127.0.0.1:8000", key="bmk_…") as client:
        for answer in client.classify(["手机电池不耐用", "书很好看"]):
            print(answer.label, answer.score)

It needs httpx and nothing else of what the rest of bigmodel stands on.
"""

from bigmodel.client.answers import Answer, Label, Limits, Model, Word
from bigmodel.client.faults import (
    ClientError,
    Denied,
    Failed,
    NoAnswer,
    Refused,
    Unavailable,
)
from bigmodel.client.http import AsyncClient, Client

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "ClientError",
    "Denied",
    "Failed",
    "Label",
    "Limits",
    "Model",
    "NoAnswer",
    "Refused",
    "Unavailable",
    "Word",
]
