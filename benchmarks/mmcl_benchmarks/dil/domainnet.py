"""DomainNet: 345 classes in six domains, from clipart to sketches, one after the other.

Source: data set by Peng et al. (ICCV 2019); protocol of S-Prompts (Wang, Huang and Hong, NeurIPS 2022).
Scenario: DIL. All domains have the same classes; the domain of a test image is not known.
Protocol: clipart, infograph, painting, quickdraw, real, sketch; after each, test on the test lists of all six. The
published "average accuracy" is accuracy on the union of the test images (``acc_weighted``); ``acc`` weighs domains
equally.
Class names: folder names with blanks for underscores, in the one prompt "a photo of a {}." (ours: S-Prompts learns its
prompts).
Training defaults: SGD with momentum 0.9, cosine, batch 128, 30 epochs, rate 0.01, weight decay 2e-4 (5e-4 in the first
domain). They are made for prompts on a frozen model.
Data: ``--data-root`` holds ``DOMAIN/CLASS/IMAGE`` and the lists ``DOMAIN_train.txt`` and ``DOMAIN_test.txt`` with lines
"DOMAIN/CLASS/IMAGE LABEL"; take the cleaned release. The embedded edition has the same layout with 30 held-out symbols
in six combinations of font and style.
Deviations: the reference code normalises with ImageNet's mean and deviation even for CLIP; here preprocessing is the
backbone's business. Its cosine moves once an epoch, ours at every step.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mmcl.options import Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import DIL, Scenario
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.dil.embedded import EDITION, write_embedded_domainnet
from mmcl_benchmarks.dil.stream import Settings, domain_stream
from mmcl_benchmarks.formats.labelled import Source, check_plausible
from mmcl_benchmarks.formats.listing import Entry, Tree, found_side, listed_classes, read_list

OWNER = "Boston University"
SIZES: Mapping[str, int] = {  # images of both lists
    "clipart": 48_129,
    "infograph": 51_605,
    "painting": 72_266,
    "quickdraw": 172_500,
    "real": 172_947,
    "sketch": 69_128,
}
CLASSES = 345
TEMPLATE = "a photo of a {}."
SETTINGS = Settings(
    later={
        "optimizer": "sgd",
        "momentum": 0.9,
        "schedule": "cosine",
        "epochs": 30,
        "batch_size": 128,
        "lr": 0.01,
        "weight_decay": 2e-4,
    },
    first={"weight_decay": 5e-4},
)


@dataclass(kw_only=True)
class DomainNet(BenchmarkPlugin):
    """The same classes in one kind of picture after the other."""

    name: ClassVar[str] = "domainnet"
    scenario: ClassVar[Scenario] = DIL

    data_root: str | None = None  # folder that holds the domains and their lists
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    experiences: Count | None = None  # only the first domains
    strict: bool = False  # refuse data that do not have the official size or lack files

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, len(SIZES))

    def build(self) -> Benchmark:
        """Read the lists.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a list is missing or damaged or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(self, write_embedded_domainnet, EDITION, "the six domains and their lists")
        domains = list(SIZES)[: self.experiences]
        for domain in domains:
            for place in _lists(domain):
                require(root, place, f"{who}, domain {domain}", OWNER)
        sources = _sources(root, domains, who, self.strict)
        if edition.official:
            for domain, source in sources.items():
                found = {"classes": len(source.names), "images": len(source.train) + len(source.test)}
                official = {"classes": CLASSES, "images": SIZES[domain]}
                check_size(f"{who}, domain {domain}", found, official, self.strict)
        return domain_stream(
            self.name,
            sources,
            root=root,
            edition=edition,
            template=TEMPLATE,
            settings=SETTINGS,
            convention="official-list",
        )


def _sources(root: Path, domains: list[str], who: str, strict: bool) -> dict[str, Source]:
    """What the lists of all domains name; the folder of an image is its class."""
    lists: dict[str, list[Entry]] = {}
    with reading(who, f"the lists below {root}", OWNER):
        for domain in domains:
            for place in _lists(domain):
                lists[place] = read_list(root / place)
                stray = next((name for name, _ in lists[place] if not re.fullmatch(f"{domain}/[^/]+/[^/]+", name)), "")
                if stray:
                    raise ValueError(f"{place}: {stray} is not of the form {domain}/CLASS/IMAGE")
        names = [folder.replace("_", " ") for folder in listed_classes(lists)]
    tree, sources = Tree(root), {}
    for domain in domains:
        owner = f"{who}, domain {domain}"
        with reading(owner, f"{domain} below {root}", OWNER):
            (train, lost), (test, also_lost) = (
                found_side(lists[place], tree, owner, strict) for place in _lists(domain)
            )
            sources[domain] = Source(train, test, names, lost + also_lost)
            check_plausible(sources[domain], root)
    return sources


def _lists(domain: str) -> tuple[str, str]:
    return f"{domain}_train.txt", f"{domain}_test.txt"
