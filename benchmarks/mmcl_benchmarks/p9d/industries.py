"""The nine industries of P9D: their keys in the files, which contain a slash, and their sizes."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Industry:
    """One task.

    Attributes:
        key: its name in the JSON files.
        sizes: list -> number of products.
    """

    key: str
    sizes: Mapping[str, int]


def _industry(key: str, train: int, test: int, query: int, gallery: int) -> Industry:
    return Industry(key, {"train": train, "test": test, "query": query, "gallery": gallery})


INDUSTRIES: Mapping[str, Industry] = {
    "Household": _industry("家居用品", 220_148, 576, 1_007, 10_241),
    "Furnishings": _industry("家装家饰", 236_039, 690, 1_081, 10_883),
    "Food": _industry("食品/保健", 40_371, 120, 173, 1_843),
    "Beauty": _industry("美容护理", 38_007, 110, 175, 1_753),
    "Clothing": _industry("服饰鞋包", 67_871, 141, 318, 3_164),
    "Auto": _industry("车品配件", 86_710, 252, 396, 4_002),
    "Parenting": _industry("母婴", 91_356, 263, 421, 4_214),
    "Outdoor": _industry("运动/户外", 99_834, 309, 438, 4_560),
    "Electronics": _industry("3C数码", 134_263, 385, 606, 6_196),
}
