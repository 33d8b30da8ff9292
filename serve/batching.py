"""Requests that wait at the same time share one call of the predictor."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bigmodel.predictor import Prediction, Predictor

BATCH_TEXTS = 64
BATCH_CHARACTERS = 131_072
"""A batch's bounds: while it is predicted, the loop does nothing else."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Texts of one request that fit in a batch, and who waits for their answers."""

    texts: Sequence[str]
    top_k: int
    answers: "asyncio.Future[list[Prediction]]"


class MicroBatch:
    """Predicts in the event loop, without waiting for company: what has piled up while the last
    batch ran is the next batch. Belongs to one loop."""

    def __init__(self, predictor: "Predictor", *, threaded: bool = False) -> None:
        self._predictor = predictor
        self._waiting: deque[_Piece] = deque()

    async def predict(self, texts: Sequence[str], *, top_k: int) -> "list[Prediction]":
        """One answer a text, in order."""
        pieces = [self._enqueue(piece, top_k) for piece in _pieces(texts)]
        return [answer for answers in await asyncio.gather(*pieces) for answer in answers]

    def _enqueue(self, texts: Sequence[str], top_k: int) -> "asyncio.Future[list[Prediction]]":
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        piece = _Piece(texts, top_k, loop.create_future())
        self._waiting.append(piece)
        return piece.answers

    def _flush(self) -> None:
        batch = self._next_batch()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        if not batch:
            return
        texts = [text for piece in batch for text in piece.texts]
        try:
            answers = iter(self._predictor.predict(texts, top_k=max(p.top_k for p in batch)))
        except Exception as error:
            for piece in batch:
                piece.answers.set_exception(error)
            return
        for piece in batch:
            own = [next(answers) for _ in piece.texts]
            piece.answers.set_result([replace(a, labels=a.labels[: piece.top_k]) for a in own])

    def _next_batch(self) -> list[_Piece]:
        """The pieces that have waited longest and fit together, without those given up."""
        batch: list[_Piece] = []
        texts: list[str] = []
        while self._waiting:
            piece = self._waiting[0]
            if not piece.answers.done():
                texts += piece.texts
                if batch and not _fit(texts):
                    break
                batch.append(piece)
            self._waiting.popleft()
        return batch


def _pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in order, as few parts as fit in batches; one too long for any stands alone."""
    start = 0
    for end in range(1, len(texts) + 1):
        if end == len(texts) or not _fit(texts[start : end + 1]):
            yield texts[start:end]
            start = end


def _fit(texts: Sequence[str]) -> bool:
    return len(texts) <= BATCH_TEXTS and sum(map(len, texts)) <= BATCH_CHARACTERS
