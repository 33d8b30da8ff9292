"""Training texts changed anew in each step, the same for any number of workers."""

import numpy as np
import numpy.typing as npt

from bigmodel.config import AugmentConfig
from bigmodel.text.features import UNKNOWN, Encoded


def augmented(texts: Encoded, config: AugmentConfig, generator: np.random.Generator) -> Encoded:
    """Texts with some words read as unknown and some neighbours exchanged; labels stay theirs.

    Of n-grams with values the dropped ones count nothing, and the order means nothing.
    """
    ids, values = texts.ids, texts.values
    if config.drop:
        dropped = generator.random(len(ids)) < config.drop
        if values is None:
            ids = np.where(dropped, np.int32(UNKNOWN), ids)
        else:
            values = np.where(dropped, np.float32(0), values)
    if config.swap and values is None:
        ids = _swapped(ids, texts.offsets, config.swap, generator)
    return Encoded(ids, values, texts.offsets, texts.truncated)


def _swapped(
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    share: float,
    generator: np.random.Generator,
) -> npt.NDArray[np.int32]:
    """About `share` of the words change places with a neighbour of the same text."""
    last = np.zeros(len(ids), np.bool_)
    last[offsets[1:][np.diff(offsets) > 0] - 1] = True
    left = ~last & (generator.random(len(ids)) < share / 2)
    left[1:] &= ~left[:-1]  # a word moves once: of a run of marks every other one at most
    place = np.flatnonzero(left)
    swapped = ids.copy()
    swapped[place], swapped[place + 1] = ids[place + 1], ids[place]
    return swapped
