"""A folder with a recipe and a few hundred different comments, half of them good."""

from pathlib import Path

THINGS = "这本书 这部手机 酒店的早餐 物流 这件衣服 水果 耳机 前台 屏幕 房间 做工 电池".split()
SAID = {
    "正面": "很好 非常满意 值得推荐 超出预期 好极了 让人喜欢 下次还买 没有缺点".split(),
    "负面": "很差 非常失望 不值得买 不如预期 糟透了 让人讨厌 不会再买 全是缺点".split(),
}

TWO_WORKERS = """name = "comments"
seed = 3
[data]
train = "评论.csv"
[model]
kind = "mlp"
[model.mlp]
dropout = 0
[train]
num_workers = 2
early_stop = 0
"""


def write_comments(place: Path, recipe: str) -> Path:
    """`评论.csv` and `recipe.toml`; returns the folder."""
    rows = [
        f"{thing}{what}，{when},{label}"
        for label, words in SAID.items()
        for thing in THINGS
        for what in words
        for when in ("用了一周", "朋友也这么说")
    ]
    (place / "评论.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    (place / "recipe.toml").write_text(recipe, encoding="utf-8")
    return place
