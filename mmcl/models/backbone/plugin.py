"""BackbonePlugin: what an entry point provides, and what it declares before anything is loaded."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from mmcl.former import refuse_former
from mmcl.models.backbone.backbone import Backbone
from mmcl.options import check_options
from mmcl.registry import BACKBONES, name_of


class BackbonePlugin(ABC):
    """What an entry point of group ``mmcl.backbones`` names: a keyword-only dataclass whose fields are the options.

    Compositions are checked against what it declares before anything is loaded.

    Attributes:
        writes: whether it writes text, as scenarios with open answers ask for.
    """

    writes: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_former(cls, {"generates": "'writes'"})

    def __post_init__(self) -> None:
        """Check numbers and choices; a backbone with checks of its own calls ``check_options`` in them."""
        check_options(self, name_of(BACKBONES, type(self)))

    @property
    @abstractmethod
    def modalities(self) -> frozenset[str]:
        """What the towers encode: a class variable, or a property if options decide."""

    @property
    def reads(self) -> frozenset[frozenset[str]]:
        """Which modalities each tower reads: one each, unless a backbone encodes several together."""
        return frozenset(frozenset({name}) for name in self.modalities)

    @abstractmethod
    def build(self) -> Backbone:
        """Load weights and preprocessing."""

    def of_export(self, folder: Path) -> "BackbonePlugin | None":
        """The plugin that loads what ``export`` of its backbone wrote into ``folder``; ``None`` if there is none."""
        return None

    def miniature(self) -> Backbone:
        """A random backbone of the same class that needs no weights and trains in a fraction of a second, for tests."""
        raise NotImplementedError(f"{type(self).__name__} has no miniature")
