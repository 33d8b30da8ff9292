"""A few hundred different reviews, and the file that holds some."""

from itertools import product
from pathlib import Path

THINGS = "这本书 这部手机 酒店的早餐 物流 这件衣服 水果 耳机 前台 屏幕 房间 做工 电池".split()
GOOD = "很好 非常满意 值得推荐 超出预期 好极了 让人喜欢 下次还买 没有缺点 物有所值 五星好评".split()
BAD = "很差 非常失望 不值得买 不如预期 糟透了 让人讨厌 不会再买 全是缺点 太不值了 一星差评".split()
WHEN = ["", "，用了一周", "，朋友也这么说"]


def labelled() -> list[tuple[str, str]]:
    """720 different texts, half of them good."""
    rows = []
    for thing, (good, bad), when in product(THINGS, zip(GOOD, BAD, strict=True), WHEN):
        rows += [(f"{thing}{good}{when}", "正面"), (f"{thing}{bad}{when}", "负面")]
    return rows


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
