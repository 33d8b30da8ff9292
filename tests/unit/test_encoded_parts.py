"""What prepare writes of encoded texts comes back as it was: ids, weights, n-grams beside words."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.data.prepared import encoded_of, table_of
from bigmodel.data.scratch import read_scratch, write_scratch
from bigmodel.storage import folder
from bigmodel.text.features import Encoded
from bigmodel.text.ngrams import NgramSpans
from bigmodel.text.occurrences import occurrences_of, offsets_of

ROWS = st.lists(st.lists(st.integers(1, 99), max_size=5), max_size=8)


def encoded(rows, *, weighted, ngrams=None):
    ids = np.array([one for row in rows for one in row], np.int32)
    values = (1 / ids).astype(np.float32) if weighted else None
    truncated = np.zeros(len(rows), np.bool_)
    return Encoded(ids, values, offsets_of(list(map(len, rows))), truncated, ngrams)


def same(one, other):
    for name in ("ids", "values", "offsets", "truncated"):
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None)
        assert left is None or (left.dtype == right.dtype and left.tolist() == right.tolist())
    assert (one.ngrams is None) == (other.ngrams is None)
    if one.ngrams is not None:
        same(one.ngrams, other.ngrams)


@pytest.mark.parametrize(
    ("weighted", "both", "columns"),
    [
        (False, False, ["ids"]),
        (True, False, ["ids", "values"]),
        (False, True, ["ids", "ngram_ids", "ngram_values"]),
    ],
)
@given(ROWS)
def test_a_part_holds_a_row_a_text_and_gives_back_the_ids(weighted, both, columns, rows):
    beside = encoded([row[::-1] * 2 for row in rows], weighted=True) if both else None
    written = encoded(rows, weighted=weighted, ngrams=beside)
    label, weight = np.arange(len(rows)), np.ones(len(rows), np.float32)
    table = table_of(written, label, weight)
    assert table.column_names == [*columns, "label", "weight"] and len(table) == len(rows)
    same(encoded_of(table), written)
    odd = table.filter(pa.array(label % 2 == 1))
    assert len(encoded_of(odd)) == len(rows) // 2
    again = encoded_of(pa.concat_tables([table, odd]).combine_chunks())
    assert again.ids[: len(written.ids)].tolist() == written.ids.tolist()


TEXTS = ["手机电池不耐用", "", "电池好", "好好好好"]
TOKENS = [["手机", "电池", "不", "耐用"], [], ["电池", "好"], ["好", "好", "好", "好"]]
SPANS = NgramSpans((1, 2), (1, 1))


@pytest.mark.parametrize(("spans", "beside"), [(None, None), (SPANS, None), (None, SPANS)])
@pytest.mark.parametrize("count", [0, 1, len(TEXTS)])
def test_what_waits_in_a_scratch_file_comes_back(tmp_path, spans, beside, count):
    held = occurrences_of(spans, TEXTS[:count], TOKENS[:count], beside=beside)
    labels = pa.table({"label": pa.array(["正面"] * count, pa.string())})
    write_scratch(folder(tmp_path), "rows-00000.parquet", labels, held)
    table, found = read_scratch(folder(tmp_path), "rows-00000.parquet")
    assert table["label"].to_pylist() == ["正面"] * count
    for one, other in ((found, held), (found.ngrams, held.ngrams)):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.keys.tolist() == other.keys.tolist() and len(one) == len(other) == count
            assert one.offsets.tolist() == other.offsets.tolist()
            assert (one.counts is None) == (other.counts is None)
            assert one.counts is None or one.counts.tolist() == other.counts.tolist()
    if spans is None:
        words = [found.words[key] for key in found.keys]
        assert words == [word for row in TOKENS[:count] for word in row]
