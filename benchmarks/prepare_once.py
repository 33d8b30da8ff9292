"""One run of `benchmarks.prepare` in a process of its own: `plain`, `ours` or `again`."""

import csv
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bigmodel.config import Recipe
from bigmodel.data.duplicates import BANDS, band_hashes, candidates, groups, similarity
from bigmodel.data.prepared import table_of
from bigmodel.data.schema import LabelSet
from bigmodel.data.split import SPLITS, by_hash, decide, key64
from bigmodel.recipe import make_recipe
from bigmodel.text.encoder import EncoderRecipe


def plain(file: Path, recipe: Recipe, storage: Path) -> None:
    """The steps of prepare as one would write them for one process, everything in memory."""
    plan = EncoderRecipe.of(recipe)
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines)
        header = next(reader)
        text, label = header.index("text"), header.index("label")
        records = [(row[text], row[label].strip()) for row in reader if len(row) == len(header)]
    written = [plan.normalizer(text) for text, _ in records]
    keys = np.fromiter(map(key64, written), np.int64, len(written))
    names = LabelSet.of(label for _, label in records)
    labels = names.ids([label for _, label in records], where=str(file)).astype(np.int32)
    outcome = decide(keys, labels, np.full(len(keys), 2, np.int8), conflicts="drop")
    kept = np.flatnonzero(outcome == 0)
    written, keys, labels = [written[i] for i in kept], keys[kept], labels[kept]
    bands = band_hashes(written)
    pairs = np.unique(np.concatenate([candidates(bands[:, i], keys) for i in range(BANDS)]), axis=0)
    wanted = set(pairs.ravel().tolist())
    texts = {key: one for key, one in zip(keys.tolist(), written, strict=True) if key in wanted}
    near = groups(np.sort(keys), pairs, similarity(pairs, texts), largest=max(50, len(keys) // 100))
    units = near.leader[np.searchsorted(near.keys, keys)]
    split = by_hash(units, recipe.data.split, seed=recipe.seed, given=())
    used = np.flatnonzero(split != SPLITS.index("test"))
    held = plan.occurrences([written[i] for i in used])
    training = split[used] == SPLITS.index("train")
    encoder = plan.fit(*held.held_by(training), int(training.sum()))
    encoded = encoder.features.look_up(held)
    table = table_of(encoded, labels[used].astype(np.int64), np.ones(len(used), np.float32))
    storage.mkdir(parents=True)
    rows = pa.table({"text": [records[i][0] for i in kept], "label": labels, "split": split})
    pq.write_table(rows, storage / "rows.parquet", compression="zstd")
    for name, chosen in (("train", training), ("valid", ~training)):
        part = table.filter(pa.array(chosen))
        with pa.ipc.new_file(storage / f"{name}.arrow", part.schema) as out:
            out.write_table(part)
    for name, data in encoder.files().items():
        (storage / name).write_bytes(data)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The most MB of this process alone, without what it shares with Ray's object store."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            status = Path("/proc/self/status").read_text()
            (kilobytes,) = re.findall(r"RssAnon:\s+(\d+) kB", status)
            peak[0] = max(peak[0], int(kilobytes) / 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def ours(recipe: Recipe) -> float:
    """Seconds of prepare, in a Ray that is up."""
    from bigmodel.data.prepare import prepare

    start = time.perf_counter()
    assert not prepare(recipe).reused
    return time.perf_counter() - start


def main() -> None:
    which, file, kind, storage = sys.argv[1:]
    tree = {"name": "bench", "storage": storage, "data": {"train": file}, "model": {"kind": kind}}
    recipe = make_recipe(tree, "recipe")
    EncoderRecipe.of(recipe).segmenter.cut("预热")  # both load the engine's dictionary once
    start = time.perf_counter()
    if which == "plain":
        plain(Path(file), recipe, Path(f"{storage}-plain"))
        print(time.perf_counter() - start)
    elif which == "ours":
        from bigmodel.cluster.session import ray_session

        with ray_session(), peak_memory() as peak:
            init = time.perf_counter() - start
            seconds = ours(recipe)
        print(seconds, init, peak[0])
    else:
        from bigmodel.data.prepare import find_prepared

        found = find_prepared(recipe)
        assert found and found.reused and "ray" not in sys.modules
        print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
