"""Names of ImageNet's classes by their WordNet id (``wnid``).

CLIP's curated names come from open_clip, in the order of the classifier's outputs, and the ids in that order from timm,
which open_clip brings along. CLIP calls two pairs of classes alike ("missile", "sunglasses"): where both of a pair are
in a benchmark, they go by their first names in WordNet, since two classes of one prompt can never be told apart. What
is none of ImageNet's thousand classes is called by the first synonym that the data set's own list gives it:
``words.txt`` of Tiny ImageNet, ``LOC_synset_mapping.txt`` of ImageNet.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from mmcl.data.names import plain_name


@cache
def curated_names() -> Mapping[str, str]:
    """CLIP's names by wnid, for the thousand classes, sorted by wnid."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    return dict(zip(_first_names(), IMAGENET_CLASSNAMES, strict=True))


@cache
def _first_names() -> Mapping[str, str]:
    """WordNet's first names by wnid, of which each class has its own, in the same order."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    wnids: list[str] = info.label_names()  # type: ignore[no-untyped-call]
    described = (info.index_to_description(number, detailed=False) for number in range(len(wnids)))
    return {wnid: text.partition(",")[0] for wnid, text in zip(wnids, described, strict=True)}


def class_names(wnids: Sequence[str], companion: Path) -> list[str]:
    """A name for every class; ``companion`` is the data set's own list, read only if it is needed.

    Raises:
        OSError: if the companion is needed and missing.
        ValueError: if it does not name a class either.
    """
    curated = curated_names()
    listed = {} if all(wnid in curated for wnid in wnids) else _listed(companion)
    unknown = [wnid for wnid in wnids if wnid not in curated and wnid not in listed]
    if unknown:
        raise ValueError(f"{companion.name} has no name for {unknown[0]}")
    names = [curated.get(wnid) or listed[wnid] for wnid in wnids]
    times = Counter(map(plain_name, names))
    return [
        _first_names().get(wnid, name) if times[plain_name(name)] > 1 else name
        for wnid, name in zip(wnids, names, strict=True)
    ]


def _listed(companion: Path) -> dict[str, str]:
    """The first synonym of every class that a data set's own list names."""
    lines = [line.split(maxsplit=1) for line in companion.read_text("utf-8").splitlines()]
    return {line[0]: line[1].partition(",")[0].strip() for line in lines if len(line) == 2}
