"""Folds: rows dealt so that what is near each other, or of one group, stays together."""

import heapq

import numpy as np
import pyarrow as pa

from bigmodel.data.split import Keys, group_key, join
from bigmodel.metrics import Ids


def units(table: pa.Table) -> Keys:
    """What stays in one fold [rows]: rows near each other, or of one group."""
    group = [group_key(value) for value in table["group"].to_pylist()]
    return join(table["unit"].to_numpy(), np.array(group, np.int64))


def deal(unit: Keys, hands: int, *, seed: int) -> Ids:
    """A number below `hands` for each row, the same for a unit; hands of almost equal rows.

    The largest unit comes first, of equal ones any; each goes to the hand that has the fewest rows
    (Graham's LPT rule, 1969).
    """
    _, place, sizes = np.unique(unit, return_inverse=True, return_counts=True)
    chance = np.random.default_rng(seed).permutation(len(sizes))
    held = [(0, hand) for hand in range(hands)]
    dealt = np.zeros(len(sizes), np.int64)
    for number in np.lexsort((chance, -sizes)):
        rows, hand = held[0]
        dealt[number] = hand
        heapq.heapreplace(held, (rows + int(sizes[number]), hand))
    return np.asarray(dealt[place])
