"""In which order rows are trained on: an epoch's draw, and the steps it is cut into."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

_CHUNK = 32  # steps whose rows are sorted by length together


def draw(
    label: Ids, chance: tuple[int, ...], *, resample: Literal["none", "balanced", "root"]
) -> Ids:
    """As many positions as there are rows, which follow from `chance` (seed, epoch …) alone.

    A permutation; resampled, rows are drawn with replacement, a class with a chance in proportion
    to its number of rows to the power of 0 (balanced) or 1/2 (root).
    """
    generator = np.random.default_rng(chance)
    if resample == "none" or not len(label):
        return generator.permutation(len(label))
    counts = np.bincount(label).astype(float)
    there = counts > 0
    wanted = np.where(there, counts ** (0.5 if resample == "root" else 0.0), 0.0)
    share = (wanted / np.where(there, counts, 1))[label]
    return generator.choice(len(label), len(label), p=share / share.sum())


def cut(order: Ids, lengths: Ids, chance: tuple[int, ...], *, rows_per_step: int) -> list[Ids]:
    """The rows of each step: of similar length, which saves padding, in no order of length.

    Chunks of the order are sorted by `lengths` [rows], cut into steps and these shuffled; the last
    chunk's last step may be smaller. Within a step the rows stand in no order either, so that the
    parts of it that workers take are alike.
    """
    generator = np.random.default_rng((*chance, 1))
    steps: list[Ids] = []
    for start in range(0, len(order), _CHUNK * rows_per_step):
        chunk = order[start : start + _CHUNK * rows_per_step]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        cuts = range(rows_per_step, len(chunk), rows_per_step)
        steps += [generator.permutation(rows) for rows in np.split(chunk, cuts)]
    return [steps[place] for place in generator.permutation(len(steps))]
