"""A recipe that `bigmodel new` wrote, by the real command, as far as the prepared rows."""

import csv

SAID = {"很好，值得一看": "好评", "很差，读不下去": "差评"}
ROWS = [(f"第{i}本书{said}", kind) for i in range(60) for said, kind in SAID.items()]


def test_a_recipe_of_new_runs(run, on_our_ray, tmp_path):
    with open(tmp_path / "导出.csv", "w", encoding="gb18030", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["编号", "评论内容", "类别", "时间"])
        writer.writerows(
            (number, text, kind, "2026-11-22") for number, (text, kind) in enumerate(ROWS)
        )
    made = run("new", "书评", "--data", "导出.csv", "--json", cwd=tmp_path).json
    assert made["recipe"] == "书评/recipe.toml"
    assert (made["text_column"], made["label_column"]) == ("评论内容", "类别")
    found = on_our_ray("run", made["recipe"], "--until", "prepare", "--json", cwd=tmp_path).json
    assert (found["rows_read"], found["rows_kept"]) == (made["rows_looked_at"], 120)
    kept = {label: 0 for label in made["labels"]}
    for labels in found["splits"].values():
        for label, count in labels.items():
            kept[label] += count
    assert kept == made["labels"] == {"好评": 60, "差评": 60}
