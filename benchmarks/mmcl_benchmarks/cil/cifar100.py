"""CIFAR-100 class by class: a hundred classes in 10, 20 or 50 experiences, classified by CLIP's text tower.

Source: protocol of Continual-CLIP (Thengane et al. 2022), also used by ZSCL (Zheng et al., ICCV 2023) and
MoE-Adapters4CL (Yu et al., CVPR 2024).
Scenario: CIL. Nothing but the image is known at test time; all classes seen so far compete, no others. With
``task_ids`` the same stream is task-incremental (TIL): only the classes of a sample's own experience compete.
Protocol: learn the new classes; then classify the test images of all classes seen so far with the one prompt "a bad
photo of a {}.", no ensemble. Scores: Last is accuracy on the union of all test sets after the last experience
(``acc_weighted``), Avg the mean over experiences of accuracy on the union of those seen so far (``aia_weighted``).
Order: the fixed one of DER and DyTox; class names as ``meta`` has them, with underscores.
Few shots: with ``shots`` the few-shot class-incremental protocol (see ``sessions``): 60 classes with all images, then 8
sessions of 5 classes with so many images of each, in the order of their labels, with the prompt "{}.".
Training defaults: ZSCL's class-incremental settings: one epoch per experience, AdamW without weight decay, rate 7.1e-6
after 30 steps of warm-up, batch 64, label smoothing 0.2.
Data: ``--data-root`` holds ``cifar-100-python``; ``--download`` lets torchvision fetch it. The embedded edition has
the same files with a hundred held-out symbols of the glyph world.
Deviations: test images are resized and centre-cropped; the reference code tests with its training transform, a random
crop, which moves its numbers by about 0.1 to 0.3 points (our estimate). In training all classes seen compete; with
``own_classes=true`` those of the current experience alone, as in the code. An experience of N batches has N steps, the
last at rate 0, where the code makes one more.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmcl.errors import ConfigError
from mmcl.options import Count, Natural, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.grouping import group_sizes
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl_benchmarks.cil.embedded import EDITION, write_embedded_cifar100
from mmcl_benchmarks.cil.orders import CIFAR100_ORDER
from mmcl_benchmarks.cil.sessions import Shots, few_shot, session_protocol
from mmcl_benchmarks.cil.stream import TRAINING, Protocol, class_stream
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.formats.cifar100_files import FOLDER, OWNER, SIZES, read_cifar100
from mmcl_benchmarks.formats.labelled import check_plausible

TEMPLATE = "a bad photo of a {}."
FIRST_SESSION, SESSIONS = 60, 8  # classes, and few-shot sessions of the rest


@dataclass(kw_only=True)
class CIFAR100(BenchmarkPlugin):
    """A hundred classes, as many in every experience, or few-shot sessions."""

    name: ClassVar[str] = "cifar100"

    data_root: str | None = None  # folder that holds cifar-100-python
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    steps: Literal[10, 20, 50] = 10  # experiences that the classes are cut into
    shots: Count | None = None  # instead of steps: 60 classes, then 8 sessions of 5 with so many images of each
    draw: Natural | None = None  # with shots: which images; by default those of index_list/cifar100, if it is there
    experiences: Count | None = None  # only the first ones
    task_ids: bool = False  # reveal the experience of every test image: TIL instead of CIL
    download: bool = False  # let torchvision fetch what is missing
    strict: bool = False  # refuse data that do not have the official size

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, self.steps if self.shots is None else 1 + SESSIONS)
        if self.shots is None and self.draw is not None:
            raise ConfigError(
                f"{self.name}.draw",
                found=f"{self.draw}, of classes that are learned from all images",
                allowed="a number together with shots",
                remedy="Choose few-shot sessions with --set benchmark.shots=5, or leave it out.",
            )
        if self.shots is not None and self.steps != CIFAR100.steps:
            raise ConfigError(
                f"{self.name}.steps",
                found=f"{self.steps}, and {self.shots} shots",
                allowed="equal experiences, or few-shot sessions",
                remedy="Leave out one of the two: sessions are 60 classes and 8 times 5.",
            )

    @property
    def scenario(self) -> Scenario:
        """CIL, or TIL with ``task_ids``."""
        return TIL if self.task_ids else CIL

    def build(self) -> Benchmark:
        """Read the three files.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a file is missing or damaged or, with ``strict``, not of its official size.
        """
        root, edition, who = opened(self, write_embedded_cifar100, EDITION, FOLDER, download=self.download)
        if not self.download:
            require(root, FOLDER, who, OWNER, f"Get it from {OWNER}, or add --download.")
        with reading(who, f"{FOLDER} below {root}", OWNER):
            source = read_cifar100(root, self.download)
            check_plausible(source, root)
            if len(source.names) != len(CIFAR100_ORDER):
                raise ValueError(f"meta: {len(source.names)} class names instead of {len(CIFAR100_ORDER)}")
            found = {"training samples": len(source.train), "test samples": len(source.test)}
            protocol, facts = self._protocol, None
            if self.shots is not None:
                source, facts = few_shot(source, protocol, root, Shots(self.name, self.shots, self.draw))
        if edition.official:
            check_size(who, found, dict(zip(found, SIZES, strict=True)), self.strict)
        return class_stream(
            self.name,
            source,
            protocol,
            root=root,
            edition=edition,
            scenario=self.scenario,
            experiences=self.experiences,
            facts=facts,
        )

    @property
    def _protocol(self) -> Protocol:
        classes = len(CIFAR100_ORDER)
        if self.shots is not None:
            return session_protocol(classes, FIRST_SESSION, SESSIONS)
        return Protocol(CIFAR100_ORDER, group_sizes(classes, self.steps), TEMPLATE, TRAINING, "der-order")
