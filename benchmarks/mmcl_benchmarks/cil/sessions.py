"""Few-shot sessions: a first one with all images of many classes, then a few images of a few new classes each.

Source: few-shot class-incremental learning (FSCIL), Tao et al., CVPR 2020, and its published index lists, which CEC
(Zhang et al., CVPR 2021) has unchanged and CPE-CLIP (D'Alessandro et al., ICCV Workshops 2023) goes by.
Lists: ``session_N.txt`` with a line for every training image: its row in CIFAR-100's ``train``, else a path that ends
in its file name. N counts sessions from 1; the list of the first names all images of its classes and is not read.
Settings: epochs and batches are CPE-CLIP's. Optimiser and rate are those of the other class-incremental benchmarks
(ours): CPE-CLIP's suit its prompts, and it brings them itself. A later session has some thirty steps, hence no warm-up.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmcl.streams.grouping import group_sizes
from mmcl_benchmarks.cil.stream import TRAINING, Protocol
from mmcl_benchmarks.formats.labelled import Source
from mmcl_benchmarks.formats.shots import few_positions

LISTS = "index_list"  # the folder of the lists below the data root, with a folder for each data set
PUBLISHED = 5  # images of a class in the published lists
TEMPLATE = "{}."  # of CPE-CLIP
FIRST: Mapping[str, Any] = {**TRAINING, "epochs": 5, "batch_size": 32, "label_smoothing": 0.0}
LATER: Mapping[str, Any] = {"epochs": 5, "batch_size": 4, "warmup": 0}


def session_protocol(classes: int, first: int, sessions: int, training: Mapping[str, Any] = FIRST) -> Protocol:
    """Classes in the order of their labels: ``first`` of them, then equal sessions.

    Args:
        classes: of the data set.
        first: of them in the first session.
        sessions: after the first.
        training: settings of the first session.
    """
    return Protocol(
        order=range(classes),
        sizes=group_sizes(classes, sessions, first=first),
        template=TEMPLATE,
        training=training,
        convention="fscil",
        later=LATER,
    )


@dataclass(frozen=True)
class Shots:
    """Which training images the classes of later sessions have.

    Attributes:
        data_set: what the published lists call it; it also names what is drawn.
        count: images of a class.
        draw: which of them; ``None`` for those of the lists, where they are there and of so many, else for draw 0.
    """

    data_set: str
    count: int
    draw: int | None


class FewShot(NamedTuple):
    """A data set of which later sessions have few training images, and which these are, for the metadata."""

    source: Source
    facts: Mapping[str, Any]


def few_shot(source: Source, protocol: Protocol, root: Path, shots: Shots) -> FewShot:
    """Leave few training images to every class of the later sessions, and all to those of the first.

    Raises:
        OSError: if a list is missing.
        ValueError: if one names anything but five training images of every class of its session.
    """
    labels, first = source.train.labels, set(protocol.groups[0])
    folder = root / LISTS / shots.data_set
    if shots.draw is None and shots.count == PUBLISHED and folder.is_dir():
        origin = f"those of {LISTS}/{shots.data_set}"
        chosen = set(_listed(source, protocol.groups, root, folder))
    else:
        origin = f"drawn, draw {shots.draw or 0}"
        generator = random.Random(f"{shots.data_set} {shots.draw or 0}")
        chosen = set(few_positions(labels, shots.count, generator))
    kept = [position for position, label in enumerate(labels) if label in first or position in chosen]
    facts = {"shots": shots.count, "images of later sessions": origin}
    return FewShot(replace(source, train=source.train.part(kept)), facts)


def _listed(source: Source, groups: Sequence[Sequence[int]], root: Path, folder: Path) -> Iterator[int]:
    """Positions of the training images that the lists of the later sessions name."""
    position_of = {PurePosixPath(id_).name: position for position, id_ in enumerate(source.train.ids(root))}
    for session, group in enumerate(groups[1:], 2):
        file = folder / f"session_{session}.txt"
        names = [PurePosixPath(line.strip()).name for line in file.read_text("utf-8").splitlines() if line.strip()]
        unknown = [name for name in names if name not in position_of]
        if unknown:
            raise ValueError(f"{file.name} names {unknown[0]!r}, which is no training image of this copy")
        positions = {position_of[name] for name in names}
        counts = Counter(source.train.labels[position] for position in positions)
        for label in sorted({*group, *counts}):
            wanted = PUBLISHED if label in group else 0
            if counts[label] != wanted:
                raise ValueError(f"{file.name} names {counts[label]} images of {source.names[label]!r}, not {wanted}")
        yield from positions
