"""From texts to answers, and to files of answers."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigmodel.config import DataConfig
from bigmodel.data.read import read_records
from bigmodel.data.sources import open_source
from bigmodel.errors import DataError
from bigmodel.evaluation import labelling
from bigmodel.evaluation.labelling import label_file
from bigmodel.metrics import softmax
from bigmodel.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(tiny) -> Predictor:
    return Predictor(tiny)


def test_answers_are_in_order_and_do_not_depend_on_each_other(predictor, reviews):
    texts = [text for text, _ in reviews] * 4 + ["", "😀"]
    together = predictor.predict(texts, top_k=2)
    assert len(together) == len(texts)
    for text, found in zip(texts, together, strict=True):
        (alone,) = predictor.predict([text], top_k=2)
        assert [label for label, _ in alone.labels] == [label for label, _ in found.labels]
        assert np.allclose([s for _, s in alone.labels], [s for _, s in found.labels], atol=1e-5)
    named = [found.labels[0][0] for found in together[: len(reviews)]]
    assert named == [label for _, label in reviews]


@pytest.mark.parametrize(("top_k", "num_labels"), [(1, 1), (2, 2), (5, 2)])
def test_the_most_likely_labels_come_first(predictor, top_k, num_labels):
    (found,) = predictor.predict(["手机电池不耐用"], top_k=top_k)
    scores = [score for _, score in found.labels]
    assert len(scores) == num_labels and scores == sorted(scores, reverse=True)
    assert found.labels[0][0] == "负面"
    assert (sum(scores) == pytest.approx(1)) == (num_labels == 2)
    assert not found.abstained and not found.truncated


def test_probabilities_are_the_calibrated_scores(predictor):
    artifact = predictor.artifact
    expected = softmax(artifact.score(["物流太慢"]).scores, artifact.temperature)[0]
    (found,) = predictor.predict(["物流太慢"], top_k=2)
    named = dict(found.labels)
    assert [named[label] for label in predictor.labels] == pytest.approx(expected.tolist())


def test_no_texts_have_no_answers(predictor):
    assert predictor.predict([]) == []


def test_a_text_that_was_cut_says_so(train_tiny):
    short = Predictor(train_tiny("mlp", text={"max_tokens": 3}))
    long, brief = short.predict(["手机很流畅，电池耐用，值得买", "很好"])
    assert (long.truncated, brief.truncated) == (True, False)


def labelled(predictor, tmp_path, data: str | bytes, out="out.csv"):
    source = tmp_path / "输入.csv"
    source.write_bytes(data.encode() if isinstance(data, str) else data)
    count, answered = label_file(predictor, str(source), str(tmp_path / out))
    with (tmp_path / out).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, "excel-tab" if out.endswith(".tsv") else "excel"))
    assert len(rows) == count + 1
    assert sum(row[-3] != "" for row in rows[1:]) == answered
    return rows


@pytest.mark.parametrize("out", ["out.csv", "out.tsv"])
def test_a_file_is_labelled_row_by_row_in_order(predictor, tmp_path, out):
    data = 'id,text\n3,书很好看\n1,"物流太慢，\n包装破了"\n2,书很好看\n'
    header, *rows = labelled(predictor, tmp_path, data, out)
    assert header == ["id", "text", "predicted", "score", "abstained"]
    assert [row[:3] for row in rows] == [
        ["3", "书很好看", "正面"],
        ["1", "物流太慢，\n包装破了", "负面"],
        ["2", "书很好看", "正面"],
    ]
    (answer,) = predictor.predict(["书很好看"])
    assert float(rows[0][3]) == pytest.approx(answer.labels[0][1])
    assert {row[4] for row in rows} == {"false"}


def test_a_row_without_a_text_gets_no_answer_and_keeps_its_place(predictor, tmp_path):
    data = "id,text\n1,\n2,很好\n3\n".encode() + b"4,\xff\n" + "5, \u200b\n6,太差\n".encode()
    _, *rows = labelled(predictor, tmp_path, data)
    assert [row[0] for row in rows] == ["1", "2", "", "", "5", "6"]
    assert [bool(row[2]) for row in rows] == [False, True, False, False, False, True]
    assert all(row[2:] == ["", "", "false"] for row in rows if not row[2])


def test_a_file_of_which_most_cannot_be_read_is_refused_and_nothing_written(predictor, tmp_path):
    with pytest.raises(DataError, match=r"2 of 3 rows can't be read as csv in utf-8; mend the f"):
        labelled(predictor, tmp_path, "id,text\n书很好看\n物流太慢\n3,书很好看\n")
    assert not (tmp_path / "out.csv").exists()


INPUTS = {
    "a.csv": "id,text\n1,书很好看\n2\n3,\n".encode("gb18030"),
    "b.tsv.gz": gzip.compress("id\ttext\n1\t书很好看\n2\n3\t\n".encode()),
    "c.jsonl": '{"id": 1, "text": "书很好看"}\n2\n{"id": 3, "text": null}'.encode(),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("out", ["out.csv", "out.tsv.gz", "out.csv.zst"])
def test_every_format_is_labelled_with_the_rows_in_their_places(predictor, tmp_path, name, out):
    (tmp_path / name).write_bytes(INPUTS[name])
    assert label_file(predictor, str(tmp_path / name), str(tmp_path / out)) == (3, 1)
    (one,) = [open_source(str(tmp_path / out), "test", DataConfig(train="x"), labelled=False)]
    assert one.columns == ("id", "text", "predicted", "score", "abstained")
    rows = [fields[:3] for fields, _ in read_records(one)]
    assert rows == [["1", "书很好看", "正面"], ["", "2", ""], ["3", "", ""]]


def test_lines_of_text_are_labelled(predictor, tmp_path):
    (tmp_path / "a.txt").write_text("书很好看\n物流太慢\n", encoding="utf-8")
    assert label_file(predictor, str(tmp_path / "a.txt"), str(tmp_path / "out.csv")) == (2, 2)
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:2] for line in lines] == [
        ["text", "predicted"], ["书很好看", "正面"], ["物流太慢", "负面"],
    ]  # fmt: skip


def test_a_parquet_file_is_labelled(predictor, tmp_path):
    columns = {
        "id": [7, None],
        "text": ["书很好看", None],
        "of": [[1.5], []],
        "raw": [b"\xff", b""],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert label_file(predictor, str(tmp_path / "a.parquet"), str(tmp_path / "out.csv")) == (2, 1)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = [row[:4] for row in csv.reader(file)]
    assert rows == [
        [*columns],
        ["7", "书很好看", "[1.5]", "\\xff"],
        ["", "", "[]", ""],
    ]


def test_a_header_alone_gives_a_header_alone(predictor, tmp_path):
    assert labelled(predictor, tmp_path, "text\n") == [["text", "predicted", "score", "abstained"]]


def test_more_rows_than_a_chunk(predictor, tmp_path):
    data = "text\n" + "".join(f"很好{number}\n" for number in range(2500))
    _, *rows = labelled(predictor, tmp_path, data)
    assert [row[0] for row in rows] == [f"很好{number}" for number in range(2500)]


def test_a_file_without_the_text_column_writes_nothing(predictor, tmp_path):
    with pytest.raises(DataError, match="no column 'text'"):
        labelled(predictor, tmp_path, "review\n很好\n")
    assert [path.name for path in tmp_path.iterdir()] == ["输入.csv"]


def test_an_answer_that_is_less_sure_than_was_promised_abstains(tiny, reviews):
    texts = [text for text, _ in reviews]
    best = Predictor(tiny).probabilities(texts).max(1)
    threshold = float(np.median(best))
    found = Predictor(replace(tiny, threshold=threshold)).predict(texts)
    assert [answer.abstained for answer in found] == (best < threshold).tolist()
    assert 0 < sum(answer.abstained for answer in found) < len(texts)
    assert all(answer.labels for answer in found)


@pytest.fixture
def many_rows(tmp_path, monkeypatch):
    """A file of several pieces."""
    monkeypatch.setattr(labelling, "PIECE_BYTES", 256)
    path = tmp_path / "评论.csv"
    rows = [f"{number},这本书写得很好，第{number}次读" for number in range(60)]
    path.write_text("id,text\n" + "\n".join(rows), encoding="utf-8")
    return path


def stopping_after(predictor, num_parts, seen):
    """Labels in this process, until Ctrl-C; notes the pieces it was given."""

    def label(job, pieces):
        for number, piece in pieces:
            if len(seen) == num_parts:
                raise KeyboardInterrupt
            seen.append(number)
            yield number, job.part(predictor, piece)

    return label


def test_a_file_that_was_stopped_goes_on_with_the_parts_that_it_has(predictor, many_rows, tmp_path):
    whole, out = tmp_path / "whole.csv.gz", tmp_path / "out.csv.gz"
    assert label_file(predictor, str(many_rows), str(whole)) == (60, 60)
    first: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        stopped = stopping_after(predictor, 3, first)
        label_file(predictor, str(many_rows), str(out), label=stopped)
    assert first == [0, 1, 2] and not out.exists()
    rest: list[int] = []
    goes_on = stopping_after(predictor, -1, rest)
    assert label_file(predictor, str(many_rows), str(out), label=goes_on) == (60, 60)
    assert rest and not {*first} & {*rest}
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in (whole, out, many_rows)
    )


def test_parts_of_other_bytes_are_not_used(predictor, many_rows, tmp_path):
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        label_file(predictor, str(many_rows), str(out), label=stopping_after(predictor, 3, []))
    many_rows.write_text(many_rows.read_text(encoding="utf-8").replace("很好", "太差"), "utf-8")
    seen: list[int] = []
    label_file(predictor, str(many_rows), str(out), label=stopping_after(predictor, -1, seen))
    assert 0 in seen and "很好" not in out.read_text(encoding="utf-8")
