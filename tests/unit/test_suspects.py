"""Labels that are wrong on purpose are found; labels of which nothing can be said are let be."""

import csv
import io

import numpy as np
import pytest
from small_prepared import SmallPrepared

from bigmodel.inspection import suspects
from bigmodel.inspection.suspects import COLUMNS, find_suspects, out_of_fold

WORDS = {
    "体育": "球队 比赛 进球 冠军 教练 联赛 球员 主场".split(),
    "财经": "股市 基金 银行 利率 上市 投资 汇率 债券".split(),
    "教育": "高考 学校 老师 考试 录取 作文 大学 课堂".split(),
}


def headlines(names, count, seed=0):
    """`count` different headlines of three words of their label, for each label."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        for name in names:
            rows.append((f"{''.join(rng.choice(WORDS[name], 3))}第{number}期", name))
    return rows


def mislabel(rows, places, names):
    """The rows with the next label at some places."""
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    return [
        (text, following[label] if place in places else label)
        for place, (text, label) in enumerate(rows)
    ]


@pytest.mark.parametrize("names", [["体育", "财经"], ["体育", "财经", "教育"]])
def test_wrong_labels_come_first_with_the_right_ones_beside_them(names):
    clean = headlines(names, 60)
    wrong = set(range(7, 100, 13))
    found = find_suspects(SmallPrepared(mislabel(clean, wrong, names)), seed=0)
    for row in found.rows[:5]:
        assert row["row"] - 1 in wrong
        assert row["suggested"] == clean[row["row"] - 1][1]
    scores = [row["score"] for row in found.rows]
    assert scores == sorted(scores) and 0 <= scores[0] < 0.5
    assert (found.examined, found.sampled) == (len(clean), False)
    assert found.agreed == pytest.approx(1 - len(wrong) / len(clean), abs=0.03)
    disagreed = sum(pair["rows"] for pair in found.figures()["confused"])
    assert disagreed == pytest.approx((1 - found.agreed) * len(clean))


def test_near_duplicates_do_not_vouch_for_each_other():
    texts = ["球队夺得冠军"] * 2 + [text for text, _ in headlines(["体育", "财经"], 30)]
    given = np.array([1, 1] + [0, 1] * 30)
    apart = out_of_fold(texts, given, np.arange(len(texts)), seed=1)
    together = out_of_fold(texts, given, np.array([0, 0, *range(2, len(texts))]), seed=1)
    assert together[0, 1] < 0.5  # nothing but its twin said 财经
    assert np.allclose(together.sum(1), 1) and np.allclose(apart.sum(1), 1)


def test_a_label_with_few_rows_is_left_alone():
    rows = [*headlines(["体育", "财经"], 30), ("高考作文", "教育"), ("大学录取", "教育")]
    found = find_suspects(SmallPrepared(rows), seed=0)
    assert found.examined == 60
    assert "教育" not in {row["label"] for row in found.rows}


@pytest.mark.parametrize(
    "rows",
    [
        headlines(["体育", "财经"], 3),
        [*headlines(["体育"], 40), ("股市", "财经")],
    ],
)
def test_of_too_few_rows_nothing_is_said(rows):
    found = find_suspects(SmallPrepared(rows), seed=0)
    assert (found.rows, found.examined, found.agreed) == ([], 0, None)
    assert found.csv().decode("utf-8-sig") == ",".join(COLUMNS) + "\r\n"


def test_a_label_that_is_all_one_group_is_left_alone():
    rows = headlines(["体育", "财经"], 30)
    units = [number if label == "体育" else 1 for number, (_, label) in enumerate(rows)]
    assert find_suspects(SmallPrepared(rows, units), seed=0).examined == 0


def test_many_rows_are_sampled_and_few_are_listed(monkeypatch):
    monkeypatch.setattr(suspects, "MOST_EXAMINED", 100)
    monkeypatch.setattr(suspects, "MOST_LISTED", 2)
    names = ["体育", "财经"]
    rows = SmallPrepared(mislabel(headlines(names, 80), set(range(0, 160, 5)), names))
    found = find_suspects(rows, seed=0)
    assert (found.examined, found.sampled, len(found.rows)) == (100, True, 2)
    assert found.found > 2
    assert found == find_suspects(rows, seed=0) != find_suspects(rows, seed=1)


def test_the_file_opens_in_excel_and_gives_back_every_character():
    names = ["体育", "财经"]
    rows = mislabel(headlines(names, 60), set(range(11, 100, 13)), names)
    rows = [(f'"{text}",\n第二行', label) for text, label in rows]
    data = find_suspects(SmallPrepared(rows), seed=0).csv()
    assert data.startswith(b"\xef\xbb\xbfsource,row,text,label,suggested,score\r\n")
    read = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert len(read) >= 5
    for row in read:
        assert (row["source"], row["label"] != row["suggested"]) == ("评论.csv", True)
        assert (row["text"], row["label"]) == rows[int(row["row"]) - 1]
        assert 0 <= float(row["score"]) <= 1


def test_nothing_is_printed(capfd):
    find_suspects(SmallPrepared(headlines(["体育", "财经"], 30)), seed=0)
    assert capfd.readouterr() == ("", "")
