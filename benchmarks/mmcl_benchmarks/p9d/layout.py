"""Writes products in the layout of P9D."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mmcl_benchmarks.glyphs.drawn import write_jpeg
from mmcl_benchmarks.p9d.industries import INDUSTRIES


class DrawnProduct(NamedTuple):
    """A product with its picture."""

    title: str
    category: str
    picture: Image.Image


Part = Mapping[str, Sequence[DrawnProduct]]  # industry name -> products


def write_p9d(folder: Path, parts: Mapping[str, Part], missing: int = 0) -> None:
    """Write the four lists and the pictures.

    Args:
        folder: the data root.
        parts: ``train``, ``test``, ``query`` and ``gallery``.
        missing: so many training pictures are left out, as behind dead links.
    """
    lists: dict[str, dict[str, Any]] = {}
    number = 0
    for part, industries in parts.items():
        lists[part] = {}
        for industry, products in industries.items():
            for product in products:
                number += 1
                id_, key = f"{600_000_000_000 + 7_919 * number}", INDUSTRIES[industry].key
                record = {
                    "title": product.title,
                    "cate_name": product.category,
                    "industry_name": key,
                    "image_link": f"https://example.com/{id_}.jpg",
                }
                if part == "train":
                    del record["industry_name"]
                    lists[part].setdefault(key, {})[id_] = record
                else:
                    lists[part][id_] = record
                if number > missing or part != "train":
                    place = "train_images" if part == "train" else "gallery_images"
                    write_jpeg(product.picture, folder / place / f"{id_}.jpg")
    (folder / "json").mkdir()
    for part, listed in lists.items():
        (folder / "json" / f"{part}.json").write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")
