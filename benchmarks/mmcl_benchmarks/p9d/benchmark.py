"""P9D: a million pictures of products with Chinese titles, one industry after the other (VLCP).

Source: data set and protocol of CTP (Zhu, Wei, Liang, Zhang and Zhao, ICCV 2023); KevinLight831/CTP and P9D.
Scenario: DIL without classes: continual pre-training on pairs; the industry of a test pair is not known. With
``task_ids`` it is (TIL), for strategies that have a part for each industry; that is not the benchmark's protocol.
Protocol: nine industries in the authors' order or the reverse; after each, image-text retrieval on the test pairs
and retrieval of queries in the gallery by picture and title together, relevant being what has the query's fine
category. The official score after experience i is the one on the pool of industries 0..i: ``pool r_mean``, ``pool
mAP@1`` and the others among the further matrices, where the entry (i, j) is model i on the pool of 0..j. The main
matrix, ``r_mean``, has each industry's own test pairs, so that its columns do not get harder as the pool grows.
Titles: lower case, without the marks that the authors drop, at most 30 words. How many tokens, the backbone decides.
Training defaults: 5 epochs, AdamW, weight decay 0.05, rate 1e-4, cosine, batch 512 (the authors: 128 on each of four
GPUs).
Data: ``--data-root`` holds ``json/train.json``, ``test.json``, ``query.json`` and ``gallery.json``, and the folders
``train_images`` and ``gallery_images`` with one ``ID.jpg`` per product; the latter holds test and query pictures too.
Products without a picture, as links rot, and records without title, category or
industry are left out and counted. The embedded edition has the same layout.
Deviations: the authors train a masked language model over a fusion encoder beside the contrast, here the contrast is
the objective; a query is the fusion of its features, for CLIP the mean, where the authors have that encoder. Their
cosine ends at 1e-6, here at 0. Augmentation is the backbone's business.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import DataError
from mmcl.evaluation.retrieval_metric import Item, Retrieval
from mmcl.objectives.contrastive import Contrastive
from mmcl.objectives.objective import Objective
from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import DIL, TIL, Scenario
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, reference_below, require, require_count
from mmcl_benchmarks.formats.listing import Tree, found_side
from mmcl_benchmarks.p9d.embedded import EDITION, write_embedded_p9d
from mmcl_benchmarks.p9d.industries import INDUSTRIES
from mmcl_benchmarks.p9d.products import Entry, Listed, Products, read_flat, read_nested

OWNER = "the authors of CTP (P9D, academic use only)"
PARTS: Mapping[str, str] = {  # list -> folder of its pictures
    "train": "train_images",
    "test": "gallery_images",
    "query": "gallery_images",
    "gallery": "gallery_images",
}
TRAINING: Mapping[str, Any] = {"epochs": 5, "batch_size": 512, "lr": 1e-4, "weight_decay": 0.05}

Lists = Mapping[str, Mapping[str, Listed]]  # list -> industry key -> what it says


class _Found(NamedTuple):
    entries: list[Entry]
    missing: int


@dataclass(kw_only=True)
class P9D(BenchmarkPlugin):
    """Nine industries in one of two orders."""

    name: ClassVar[str] = "p9d"
    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE, TEXT})
    objective: ClassVar[Objective] = Contrastive()

    data_root: str | None = None  # folder that holds json, train_images and gallery_images
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    order: Literal[1, 2] = 1  # 1: from household to electronics, 2: the reverse
    experiences: Count | None = None  # only the first ones of the order
    task_ids: bool = False  # reveal the industry of every test pair: TIL, which is not the protocol
    strict: bool = False  # refuse data that do not have the official size or lack pictures

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, len(INDUSTRIES))

    @property
    def scenario(self) -> Scenario:
        """DIL, or TIL with ``task_ids``."""
        return TIL if self.task_ids else DIL

    def build(self) -> Benchmark:
        """Read the lists.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a list is missing or damaged or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(
            self, write_embedded_p9d, EDITION, "the folders json, train_images and gallery_images"
        )
        lists, astray = self._lists(root, who)
        names = list(INDUSTRIES)[:: 1 if self.order == 1 else -1][: self.experiences]
        tree, data, counts, missing, incomplete, digests = Tree(root), [], {}, 0, astray, {}
        for task_id, name in enumerate(names):
            found = {part: self._found(tree, lists, part, name) for part in PARTS}
            if edition.official:
                numbers = {f"{part} products": len(lists[part][INDUSTRIES[name].key]) for part in PARTS}
                sizes = {f"{part} products": size for part, size in INDUSTRIES[name].sizes.items()}
                check_size(f"{who}, industry {name}", numbers, sizes, self.strict)
            train = found["train"].entries
            test = [entry for part in ("test", "query", "gallery") for entry in found[part].entries]
            for side, entries in (("training", train), ("test", found["test"].entries)):
                if not entries:
                    raise DataError(
                        f"{who}, industry {name}",
                        found=f"no {side} product has a picture",
                        allowed="at least one",
                        remedy=f"Get the pictures from {OWNER}.",
                    )
            samples = Products(train, task_id), Products(test, task_id)
            data.append(ExperienceData(name, *samples, LabelSpace(), self.modalities, domain=name))
            counts[name] = {part: len(found[part].entries) for part in PARTS}
            missing += sum(part.missing for part in found.values())
            incomplete += sum(len(lists[part][INDUSTRIES[name].key].incomplete) for part in PARTS)
            digests[name] = sha256("\n".join(e.sample_id for e in (*train, *test)).encode()).hexdigest()[:16]
        return Benchmark(
            name=self.name,
            edition=edition.name,
            scenario=self.scenario,
            experiences=data,
            objective=self.objective,
            metric=Retrieval(queries=_items(lists, "query"), gallery=_items(lists, "gallery")),
            training=edition.settings(TRAINING),
            reference=reference_below(root),
            metadata={
                "convention": "official-list",
                "order": self.order,
                "synthetic": edition.synthetic,
                "gallery": "scores called 'pool': the union of the industries up to the column; others: its own",
                "samples": counts,
                "missing": missing,
                "incomplete": incomplete,
                "digest": digests,
            },
        )

    def _lists(self, root: Path, who: str) -> tuple[Lists, int]:
        """The four lists, each of which must name all industries; and the number of records of none of them."""
        lists: dict[str, dict[str, Listed]] = {}
        astray = 0
        for part in PARTS:
            path = require(root, f"json/{part}.json", who, OWNER)
            with reading(who, f"json/{part}.json below {root}", OWNER):
                lists[part] = read_nested(path) if part == "train" else read_flat(path)
                keys = [industry.key for industry in INDUSTRIES.values()]
                lacking = [key for key in keys if not lists[part].get(key, Listed()).products]
                unknown = [key for key in lists[part] if key not in keys]
                if lacking or (unknown and part == "train"):
                    raise ValueError(f"industries {unknown} are unknown, {lacking} have no product")
            others = [f"{len(lists[part][key])} are of {key!r}" for key in unknown]
            self._leave_out(f"{who}, {part} products", "of another industry", others)
            astray += sum(len(lists[part][key]) for key in unknown)
        return lists, astray

    def _found(self, tree: Tree, lists: Lists, part: str, name: str) -> _Found:
        """The products of an industry whose pictures exist, and the number of those that lack one."""
        listed = lists[part][INDUSTRIES[name].key]
        products = listed.products
        who = f"benchmark {self.name!r}, {part} products of {name}"
        self._leave_out(who, "without a text", listed.incomplete)
        with reading(who, f"the pictures below {tree.root}", OWNER):
            places = [(f"{PARTS[part]}/{product.id}.jpg", number) for number, product in enumerate(products)]
            side, missing = found_side(places, tree, who, self.strict)
        pairs = zip(side.labels, side.files, strict=True)
        return _Found([Entry(f"{part}/{products[n].id}", file, products[n].title) for n, file in pairs], missing)

    def _leave_out(self, who: str, what: str, each: Sequence[str]) -> None:
        """Say what is left out, or refuse it with ``strict``."""
        if each and self.strict:
            raise DataError(
                who,
                found=f"records {what} ({len(each)}; {each[0]})",
                allowed="title, cate_name and industry in words",
                remedy="Get a complete copy, or leave out --set benchmark.strict=true.",
            )
        if each:
            warnings.warn(f"{who}: records {what} are left out ({len(each)}; {each[0]})", stacklevel=3)


def _items(lists: Lists, part: str) -> dict[str, Item]:
    """Sample id -> item, of the whole list."""
    products = [product for listed in lists[part].values() for product in listed.products]
    return {f"{part}/{product.id}": Item(product.id, product.category) for product in products}
