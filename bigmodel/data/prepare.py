"""The Ray Data pipeline: files to checked, split and encoded rows, written once, by content."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.data import Dataset, ExecutionOptions

from bigmodel import progress
from bigmodel.config import Recipe
from bigmodel.data.prepared import SUMMARY, PreparedData, load_prepared, seal, table_of
from bigmodel.data.quality import Judgement, judge
from bigmodel.data.read import Source, opened, read_rows, sources_of
from bigmodel.data.schema import CONFLICT, LabelSet
from bigmodel.data.split import DUPLICATE, SPLITS, key64
from bigmodel.storage import Folder, folder
from bigmodel.text.encoder import EncoderRecipe, TextEncoder
from bigmodel.text.normalize import normalize

BLOCK_BYTES = 1 << 20  # small, so that one file fills all CPUs


def find_prepared(recipe: Recipe) -> PreparedData | None:
    """What an earlier `prepare` wrote for these files and settings, or None; needs no Ray."""
    return load_prepared(prepared_folder(recipe, sources_of(recipe.data)))


def prepare(recipe: Recipe) -> PreparedData:
    """Read, check, split, fit the encoder on the training rows, encode; reuses what is there.

    The same bytes come out for any number of CPUs.
    """
    sources = sources_of(recipe.data)
    place = prepared_folder(recipe, sources)
    with progress.stage("prepare") as stage:
        if found := load_prepared(place):
            stage.update(note="nothing changed, what was prepared before is used")
            return found
        rows = read(sources, recipe)
        columns = ["source", "row", "key", "label", "group", "reason"]
        records = pa.concat_tables(
            rows.select_columns(columns).iter_batches(batch_size=None, batch_format="pyarrow")
        )
        judgement = judge(records, sources, recipe)
        num_rows = len(records)
        stage.update(note=f"{num_rows:,} rows read, fit the encoder")
        judged = rows.map_batches(
            partial(_add_outcome, judgement=judgement), batch_size=None, batch_format="pyarrow"
        )
        encoder = fit_encoder(judged, recipe, num_texts=judgement.num_rows("train"))
        stage.update(note=f"{num_rows:,} rows read, encode")
        with place.fresh() as target:
            data_id = _write_rows(target, judged)
            _write_encoded(target, judged, encoder, judgement.labels)
            for name, data in encoder.files().items():
                target.write(f"encoder/{name}", data)
            summary = judgement.summary() | {"data_id": data_id, "encoder": sorted(encoder.files())}
            target.write(SUMMARY, json.dumps(summary, ensure_ascii=False, indent=1).encode())
            seal(target)
        stage.update(done=num_rows, total=num_rows, note="")
    return PreparedData(place, summary, reused=False)


def prepared_folder(recipe: Recipe, sources: Sequence[Source]) -> Folder:
    """Named by the files' bytes, the settings that matter here, and the code of text and data."""
    settings = {
        "data": recipe.data.model_dump(mode="json", exclude=set(SPLITS)),
        "encoder": EncoderRecipe.of(recipe).fingerprint(),
        "seed": recipe.seed,
        "files": [(source.split, _file_digest(source.path)) for source in sources],
        "code": _code_digest(),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return folder(recipe.storage).child(f"prepared/{digest[:20]}")


def read(sources: Sequence[Source], recipe: Recipe) -> Dataset:
    """All records of all sources, in order: `ROWS` plus `key`, a hash of the normalised text."""
    context = ray.data.DataContext.get_current()
    context.execution_options = ExecutionOptions(preserve_order=True)
    context.target_max_block_size = BLOCK_BYTES
    numbered = [{"number": number} for number in range(len(sources))]
    return (
        ray.data.from_items(numbered, override_num_blocks=len(numbered))
        .map_batches(
            partial(_read_batch, sources=sources, encoding=recipe.data.encoding), batch_size=1
        )
        .map_batches(_add_key, batch_size=None, batch_format="pyarrow")
        .materialize()
    )


def _read_batch(
    batch: dict[str, npt.NDArray[Any]], *, sources: Sequence[Source], encoding: str
) -> Iterator[pa.Table]:
    (number,) = batch["number"]
    yield from read_rows(sources[number], int(number), encoding)


def _add_key(table: pa.Table) -> pa.Table:
    keys = [0 if text is None else key64(normalize(text)) for text in table["text"].to_pylist()]
    return table.append_column("key", pa.array(keys, pa.int64()))


def fit_encoder(judged: Dataset, recipe: Recipe, *, num_texts: int) -> TextEncoder:
    """Counts over the training rows only, added up over the blocks, make the encoder."""
    plan = EncoderRecipe.of(recipe)
    counted = judged.map_batches(
        partial(_count, plan=plan), batch_size=None, batch_format="pyarrow"
    )
    tables = list(counted.iter_batches(batch_size=None, batch_format="pyarrow"))
    sums = pa.concat_tables(tables).group_by("key").aggregate([("count", "sum")])
    keys = sums["key"].to_pylist() if plan.spans is None else sums["key"].to_numpy()
    return plan.fit(keys, sums["count_sum"].to_numpy(), num_texts)


def _count(table: pa.Table, *, plan: EncoderRecipe) -> pa.Table:
    training = table.filter(pa.compute.equal(table["outcome"], SPLITS.index("train")))
    keys, counts = plan.count(training["text"].to_pylist())
    key_type = pa.string() if plan.spans is None else pa.int64()
    return pa.table({"key": pa.array(keys, key_type), "count": pa.array(counts, pa.int64())})


def _add_outcome(table: pa.Table, *, judgement: Judgement) -> pa.Table:
    outcome = judgement.of(table["source"].to_numpy(), table["row"].to_numpy())
    return table.append_column("outcome", pa.array(outcome, pa.int8()))


def _write_rows(target: Folder, judged: Dataset) -> str:
    """Write kept rows and quarantine; returns the `data_id`, a digest of the kept rows in order."""
    data_id = hashlib.sha256()
    kept, set_aside = [], []
    for table in judged.iter_batches(batch_size=None, batch_format="pyarrow"):
        outcome = table["outcome"].to_numpy()
        rows = table.filter(pa.array(outcome >= 0))
        for text, label in zip(rows["text"].to_pylist(), rows["label"].to_pylist(), strict=True):
            data_id.update(json.dumps([text, label], ensure_ascii=False).encode())
        split = pa.array(SPLITS).take(rows["outcome"])
        kept.append(rows.select(["source", "row", "text", "label"]).append_column("split", split))
        set_aside.append(table.filter(pa.array((outcome < 0) & (outcome != DUPLICATE))))
    _write_parquet(target, "rows.parquet", pa.concat_tables(kept))
    quarantine = pa.concat_tables(set_aside)
    reason = pa.compute.fill_null(quarantine["reason"], CONFLICT)
    quarantine = quarantine.select(["source", "row", "text", "label", "raw"])
    _write_parquet(target, "quarantine.parquet", quarantine.append_column("reason", reason))
    return data_id.hexdigest()


def _write_encoded(target: Folder, judged: Dataset, encoder: TextEncoder, labels: LabelSet) -> None:
    encode = partial(_encode, encoder=encoder, labels=labels)
    encoded = judged.map_batches(encode, batch_size=None, batch_format="pyarrow")
    tables = list(encoded.iter_batches(batch_size=None, batch_format="pyarrow"))
    together = pa.concat_tables(tables)
    for split in ("train", "valid"):
        chosen = pa.compute.equal(together["outcome"], SPLITS.index(split))
        _write_parquet(target, f"{split}.parquet", together.filter(chosen).drop_columns("outcome"))


def _encode(table: pa.Table, *, encoder: TextEncoder, labels: LabelSet) -> pa.Table:
    outcome = table["outcome"].to_numpy()
    wanted = np.isin(outcome, (SPLITS.index("train"), SPLITS.index("valid")))
    rows = table.filter(pa.array(wanted))
    label = labels.ids(rows["label"].to_pylist(), where="prepared rows")
    encoded = table_of(encoder.encode(rows["text"].to_pylist()), label)
    return encoded.append_column("outcome", rows["outcome"])


def _write_parquet(target: Folder, name: str, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd")
    target.write(name, sink.getvalue().to_pybytes())


def _file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with opened(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _code_digest() -> str:
    """Of the source of `bigmodel.text` and `bigmodel.data`: other code may make other ids."""
    root = Path(__file__).parent.parent
    files = sorted([*root.glob("text/*.py"), *root.glob("data/*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
