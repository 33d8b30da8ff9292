"""Examples for the contract, as people send them."""

from typing import Any

_REQUEST_ID = "9f3c2a7be8d14c0f9a60b1d2e3f40516"

OF: dict[str, dict[str, Any]] = {
    "ClassifyRequest": {
        "one": {"summary": "One text", "value": {"inputs": "我喜欢读书"}},
        "several": {
            "summary": "Several texts, both labels of each",
            "value": {
                "inputs": ["物流很快，包装完好，五星好评", "手机电池不耐用，后悔买"],
                "parameters": {"top_k": 2},
            },
        },
        "explained": {
            "summary": "With the words that moved the label",
            "value": {"inputs": "房间很脏，服务态度恶劣", "parameters": {"explain": True}},
        },
    },
    "ClassifyResponse": {
        "one": {
            "summary": "To one text",
            "value": {
                "model": "reviews",
                "version": "7",
                "request_id": _REQUEST_ID,
                "predictions": [
                    {
                        "labels": [{"label": "正面", "score": 0.97}],
                        "abstained": False,
                        "truncated": False,
                    }
                ],
                "usage": {"items": 1, "characters": 5},
            },
        },
        "explained": {
            "summary": "With the words that moved the label",
            "value": {
                "model": "reviews",
                "version": "7",
                "request_id": _REQUEST_ID,
                "predictions": [
                    {
                        "labels": [{"label": "负面", "score": 0.99}],
                        "abstained": False,
                        "truncated": False,
                        "words": [
                            {"text": "脏", "start": 3, "end": 4, "weight": 1.9},
                            {"text": "恶劣", "start": 9, "end": 11, "weight": 2.4},
                        ],
                    }
                ],
                "usage": {"items": 1, "characters": 11},
            },
        },
    },
    "InferRequest": {
        "two": {
            "summary": "Two texts, the best two scores of each",
            "value": {
                "id": "42",
                "inputs": [
                    {
                        "name": "text",
                        "shape": [2],
                        "datatype": "BYTES",
                        "data": ["书很好看，一口气读完", "味道太差，不会再来了"],
                    }
                ],
                "parameters": {"top_k": 2},
            },
        },
    },
    "InferResponse": {
        "two": {
            "summary": "To two texts",
            "value": {
                "model_name": "reviews",
                "model_version": "7",
                "id": "42",
                "outputs": [
                    {
                        "name": "label",
                        "shape": [2],
                        "datatype": "BYTES",
                        "data": ["正面", "负面"],
                    },
                    {
                        "name": "score",
                        "shape": [2, 2],
                        "datatype": "FP32",
                        "data": [0.98, 0.02, 0.95, 0.05],
                    },
                ],
            },
        },
    },
}
"""Name of a schema -> its examples."""
