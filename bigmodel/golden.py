"""Texts that every artefact answers once when it is sealed, and again whenever it is loaded."""

GOLDEN_TEXTS = (
    "我喜欢读书",
    "手机电池不耐用",
    "房间很干净，服务态度也好，下次还会再来！",
    "物流太慢，等了两个星期，客服也没人理，非常失望。",
    "ＡＢＣ　１２３ 全角字符",
    "這本書寫得很好，推薦給大家",
    "国足昨晚0比1不敌对手",
    "央行宣布下调存款准备金率0.5个百分点",
    "😀👍 好评！！！",
    "iPhone 15 Pro Max 256GB",
    "。。。？！",
    "x",
    "",
    "乒乓球拍卖完了",
    "南京市长江大桥",
    "这款洗发水味道不错，就是有点贵。" * 24,
)
