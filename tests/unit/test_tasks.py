"""What a task does with one piece of data, without Ray."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import DataConfig
from bigmodel.data.duplicates import BANDS
from bigmodel.data.prepared import find_sealed, seal
from bigmodel.data.read import pieces
from bigmodel.data.schema import EMPTY, REMOVED, UNREADABLE
from bigmodel.data.sources import open_source
from bigmodel.data.split import BRIDGING, CONFLICTING, DUPLICATE, UNUSABLE, key64
from bigmodel.data.tasks import (
    Reading,
    Slot,
    distinct,
    pairs_of,
    quarantine_of,
    read_part,
    similarity_of,
    texts_of,
    usable_keys,
    write_part,
)
from bigmodel.storage import folder
from bigmodel.text.normalize import Normalizer

PLAIN = Reading(Normalizer(), {})


def read(path: Path, lines: list[str], reading: Reading = PLAIN, **columns: object):
    """(brief, rows, bands) of a file that is one piece."""
    path.write_text("\n".join(["text,label,user", *lines]) + "\n", encoding="utf-8")
    source = open_source(str(path), "train", DataConfig(train=str(path), **columns))
    (piece,) = pieces(source, size=1 << 20)
    brief, rows, *bands = read_part(source, piece, reading)
    return brief, rows, bands


@pytest.fixture
def path(tmp_path):
    return tmp_path / "评论.csv"


LINES = ["ＡＢＣ很好,正面,甲", "\u3000,负面,乙", "没有标签, ,乙", "太多,正面,甲,甲", "很差,负面,"]


def test_every_record_is_judged_and_the_usable_ones_are_normalised_and_hashed(path):
    brief, rows, bands = read(path, LINES)
    assert brief["reason"].to_pylist() == [None, EMPTY, EMPTY, UNREADABLE, None]
    assert rows["detail"].to_pylist() == [None, "text", "label", "columns", None]
    assert rows["written"].to_pylist() == ["abc很好", None, None, None, "很差"]
    assert usable_keys(brief).tolist() == [key64("abc很好"), key64("很差")]
    assert brief["label"].to_pylist() == ["正面", None, None, None, "负面"]
    assert len(bands) == BANDS and all(len(band) == 2 for band in bands)


def test_groups_are_hashed_and_a_row_without_one_has_none(path):
    brief, _, _ = read(path, LINES, split={"group_column": "user"})
    first, second, *_, last = brief["group"].to_pylist()
    assert first == key64("group 甲") and second == key64("group 乙") and last == 0


def test_a_correction_changes_the_label_and_an_empty_one_takes_the_text_out(path):
    mended = Reading(Normalizer(), {key64("abc很好"): "负面", key64("很差"): ""})
    brief, rows, bands = read(path, LINES, mended)
    assert rows["label"].to_pylist()[0] == "负面"
    assert brief["reason"].to_pylist()[-1] == REMOVED
    assert json.loads(brief.schema.metadata[b"about"]) == [["正面", "负面"], 0]  # as in the file
    assert len(bands[0]) == 1


@pytest.fixture
def near(path):
    text = "房间很干净，服务态度也好，早餐丰富，下次来还住这里"
    return read(path, [f"{text},正面,", f"{text}！,正面,", "物流太慢非常失望,负面,"])


def test_near_texts_are_found_over_pieces_and_compared_in_full(near):
    brief, rows, bands = near
    pairs = pairs_of([brief], [[band] for band in bands], np.zeros(0, np.int64))
    first, second, other = usable_keys(brief).tolist()
    assert pairs.tolist() == [sorted((first, second), reverse=True)]
    tables = texts_of(brief, rows, np.sort([first, second]), np.array([other]))
    assert [len(table) for table in tables] == [2, 1]
    assert similarity_of(pairs, *tables)[0] > 0.8


def test_dropped_texts_make_no_pairs(near):
    brief, _, bands = near
    dropped = usable_keys(brief)[:1]
    assert len(pairs_of([brief], [[band] for band in bands], dropped)) == 0
    assert distinct([]).shape == (0, 2)


PLACE = Slot(number=3, source=1, name="评论.csv", weight=0.5, first=100)
OUTCOMES = [0, UNUSABLE, UNUSABLE, UNUSABLE, CONFLICTING]


def test_kept_rows_become_a_part_and_the_rest_quarantine(path, tmp_path):
    brief, rows, _ = read(path, LINES)
    target = folder(tmp_path / "rows")
    key = brief["key"].to_numpy()
    entry, digests, aside = write_part(
        rows, np.array(OUTCOMES, np.int8), key, np.arange(5), PLACE, target
    )
    seal(target, [entry])
    kept = find_sealed(target).parquet("rows-00003.parquet").to_pylist()
    assert len(kept) == 1 and len(digests) == 16
    assert (kept[0]["row"], kept[0]["source"], kept[0]["split"]) == (101, 1, "train")
    assert (kept[0]["weight"], kept[0]["unit"], kept[0]["key"]) == (0.5, 0, key[0])
    assert aside["row"].to_pylist() == [102, 103, 104, 105]
    assert aside["reason"].to_pylist() == [EMPTY, EMPTY, UNREADABLE, "conflict"]
    assert set(aside["source"].to_pylist()) == {"评论.csv"}
    assert aside["raw"].to_pylist()[2] == "太多,正面,甲,甲".encode()


def test_what_a_refused_piece_sets_aside_has_its_numbers_in_the_file(path):
    _, rows, _ = read(path, LINES)
    outcome = np.array([0, UNUSABLE, UNUSABLE, UNUSABLE, 0], np.int8)
    assert quarantine_of(rows, outcome, PLACE)["row"].to_pylist() == [102, 103, 104]


@given(st.lists(st.sampled_from([0, 1, 2, DUPLICATE, CONFLICTING, BRIDGING]), max_size=20))
def test_no_row_is_lost_between_the_part_and_the_quarantine(tmp_path_factory, outcomes):
    rows = pa.table(
        {
            "row": pa.array(range(1, len(outcomes) + 1), pa.int64()),
            "text": pa.array([f"评{n}" for n in range(len(outcomes))], pa.string()),
            "label": pa.array(["正"] * len(outcomes), pa.string()),
            "group": pa.nulls(len(outcomes), pa.string()),
            "reason": pa.nulls(len(outcomes), pa.string()),
            "detail": pa.nulls(len(outcomes), pa.string()),
            "raw": pa.nulls(len(outcomes), pa.binary()),
            "written": pa.array([f"评{n}" for n in range(len(outcomes))], pa.string()),
        }
    )
    target = folder(tmp_path_factory.mktemp("part"))
    numbers = np.arange(len(outcomes))
    entry, digests, aside = write_part(
        rows, np.array(outcomes, np.int8), numbers, numbers, PLACE, target
    )
    kept = [number + 101 for number, outcome in enumerate(outcomes) if outcome >= 0]
    seal(target, [entry])
    part = find_sealed(target).parquet(entry[0])
    assert part["row"].to_pylist() == kept and len(digests) == 16 * len(kept)
    assert len(kept) + len(aside) + outcomes.count(DUPLICATE) == len(outcomes)
