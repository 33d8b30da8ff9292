"""Requests that wait at the same time share one call of the predictor."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bigmodel.predictor import Prediction, Predictor

BATCH_TEXTS = 64


@dataclass(frozen=True, eq=False)
class _Piece:
    """At most `BATCH_TEXTS` texts of one request, and who waits for their answers."""

    texts: Sequence[str]
    top_k: int
    answers: "asyncio.Future[list[Prediction]]"


class MicroBatch:
    """Predicts in the event loop, without waiting for company: what has piled up while the last
    batch ran is the next batch. Belongs to one loop."""

    def __init__(self, predictor: "Predictor") -> None:
        self._predictor = predictor
        self._waiting: deque[_Piece] = deque()

    async def predict(self, texts: Sequence[str], *, top_k: int) -> "list[Prediction]":
        """One answer a text, in order."""
        starts = range(0, len(texts), BATCH_TEXTS)
        pieces = [self._enqueue(texts[start : start + BATCH_TEXTS], top_k) for start in starts]
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
        room = BATCH_TEXTS
        while self._waiting and len(self._waiting[0].texts) <= room:
            piece = self._waiting.popleft()
            if not piece.answers.done():
                batch.append(piece)
                room -= len(piece.texts)
        return batch
