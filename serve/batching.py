"""Requests that wait at the same time share one call of the predictor."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bigmodel.predictor import Prediction, Predictor

BATCH_TEXTS = 64
BATCH_CHARACTERS = 131_072
"""A batch's bounds: while it is predicted in the loop, the loop does nothing else."""


class _Piece:
    """Texts of one request that fit in a batch, and who waits for their answers."""

    __slots__ = ("answers", "characters", "texts", "top_k")

    def __init__(
        self, texts: Sequence[str], top_k: int, answers: "asyncio.Future[list[Prediction]]"
    ) -> None:
        self.texts, self.top_k, self.answers = texts, top_k, answers
        self.characters = sum(map(len, texts))


class MicroBatch:
    """Predicts without waiting for company: what has piled up while the last batch ran is the next
    one. In the event loop, or where `threaded` in one thread of its own. Belongs to one loop.

    `sizes` counts the batches by their number of texts; whoever reads it may clear it.
    """

    def __init__(self, predictor: "Predictor", *, threaded: bool = False) -> None:
        self._predictor = predictor
        self._waiting: deque[_Piece] = deque()
        self._thread = ThreadPoolExecutor(1, "batch") if threaded else None
        self._busy = False
        self.sizes: Counter[int] = Counter()

    async def predict(self, texts: Sequence[str], *, top_k: int) -> "list[Prediction]":
        """One answer a text, in order. Who stops waiting for it leaves the queue."""
        if _fit(texts):
            return await self._enqueue(texts, top_k)
        pieces = [self._enqueue(piece, top_k) for piece in _pieces(texts)]
        return [answer for answers in await asyncio.gather(*pieces) for answer in answers]

    def _enqueue(self, texts: Sequence[str], top_k: int) -> "asyncio.Future[list[Prediction]]":
        loop = asyncio.get_running_loop()
        piece = _Piece(texts, top_k, loop.create_future())
        self._waiting.append(piece)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._flush)
        return piece.answers

    def _flush(self) -> None:
        """One batch; `_busy` until nothing waits any more."""
        batch = self._next_batch()
        if not batch:
            self._busy = False
            return
        texts = [text for piece in batch for text in piece.texts]
        self.sizes[len(texts)] += 1
        call = partial(self._predictor.predict, texts, top_k=max(p.top_k for p in batch))
        loop = asyncio.get_running_loop()
        if self._thread is None:
            _settle(batch, call)
            self._busy = bool(self._waiting)
            if self._busy:
                loop.call_soon(self._flush)
        else:
            loop.run_in_executor(self._thread, call).add_done_callback(
                partial(self._predicted, batch)
            )

    def _predicted(self, batch: list[_Piece], answers: "asyncio.Future[list[Prediction]]") -> None:
        _settle(batch, answers.result)
        self._flush()

    def _next_batch(self) -> list[_Piece]:
        """The pieces that have waited longest and fit together, without those given up."""
        batch: list[_Piece] = []
        texts = characters = 0
        while self._waiting:
            piece = self._waiting[0]
            if not piece.answers.done():
                texts += len(piece.texts)
                characters += piece.characters
                if batch and (texts > BATCH_TEXTS or characters > BATCH_CHARACTERS):
                    break
                batch.append(piece)
            self._waiting.popleft()
        return batch


def _settle(batch: list[_Piece], call: "Callable[[], list[Prediction]]") -> None:
    """Give each piece its answers, or the failure to all; nobody waits for a cancelled one."""
    waited_for = [piece for piece in batch if not piece.answers.done()]
    try:
        answers = iter(call())
    except Exception as error:
        for piece in waited_for:
            piece.answers.set_exception(error)
        return
    most = max(piece.top_k for piece in batch)
    for piece in batch:
        own = [next(answers) for _ in piece.texts]
        if piece.top_k < most:
            own = [replace(answer, labels=answer.labels[: piece.top_k]) for answer in own]
        if not piece.answers.done():
            piece.answers.set_result(own)


def _pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in order, as few parts as fit in batches; one too long for any stands alone."""
    start = 0
    for end in range(1, len(texts) + 1):
        if end == len(texts) or not _fit(texts[start : end + 1]):
            yield texts[start:end]
            start = end


def _fit(texts: Sequence[str]) -> bool:
    return len(texts) <= BATCH_TEXTS and sum(map(len, texts)) <= BATCH_CHARACTERS
