"""LabelSpace: which classes compete for a prediction, what they are called and how they are put into words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from mmcl.data.templates import PHOTO, Template, templates_of
from mmcl.errors import DataError
from mmcl.options import shown
from mmcl.signature import fitted

MOST_ID = 10_000_000  # a table of all ids below the largest takes 80 MB


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One class of a benchmark.

    Attributes:
        id: global class id, unique in the benchmark; the targets of samples are these ids.
        name: readable name.
        templates: prompts with one ``{}`` each. The first is used in training, all of them at evaluation.

    Raises:
        ConfigError: if a template has no place for the name, or more than one.
    """

    id: int
    name: str
    templates: tuple[str, ...] = (PHOTO,)

    def __post_init__(self) -> None:
        """Check the templates where they are written."""
        object.__setattr__(self, "templates", templates_of(self.templates))

    @classmethod
    def stored(cls, id_: int, name: str, templates: Sequence[str]) -> "ClassLabel":
        """A class of a run that was accepted when it began."""
        label = object.__new__(cls)
        for attribute, value in (("id", id_), ("name", name), ("templates", tuple(templates))):
            object.__setattr__(label, attribute, value)
        return label

    @property
    def prompts(self) -> tuple[str, ...]:
        """The name in every template."""
        return tuple(template.format(self.name) for template in self.templates)


@dataclass(frozen=True)
class LabelSpace:
    """An ordered set of classes. Column ``c`` of a logit matrix belongs to ``classes[c]``.

    Attributes:
        classes: in column order.
        parts: spaces that follow each other in this one, if it was made of such: what is known of them is known of it.

    Raises:
        DataError: if an id is no whole number from 0 to ``MOST_ID``, or two classes have the same.
    """

    classes: tuple[ClassLabel, ...] = ()
    parts: "tuple[LabelSpace, ...]" = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the ids, which are targets of samples and places in a table."""
        met: dict[int, ClassLabel] = {}
        for label in self.classes:
            id_ = label.id
            if not isinstance(id_, Integral) or isinstance(id_, bool) or not 0 <= id_ <= MOST_ID:
                raise DataError(
                    f"class {label.name!r}",
                    found=f"the id {shown(id_)}",
                    allowed=f"a whole number from 0 to {MOST_ID}",
                    remedy="Number the classes of the stream from 0.",
                )
            if met.setdefault(id_, label) is not label:
                raise DataError(
                    f"class {label.name!r}",
                    found=f"the id {id_}, which is that of {met[id_].name!r} too",
                    allowed="one class per id",
                    remedy="Number the classes of the stream anew.",
                )

    @classmethod
    def of(
        cls, names: Sequence[str], *, first_id: int = 0, templates: Template | Sequence[Template] | None = None
    ) -> "LabelSpace":
        """Classes with consecutive ids and common templates, a list of them or one.

        Raises:
            ConfigError: if a template is none, or the names are no list of texts.
        """
        frames, called = templates_of(templates), fitted(names, Sequence[str], "LabelSpace.of: names")
        return cls(tuple(ClassLabel(first_id + i, name, frames) for i, name in enumerate(called)))

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ClassLabel]:
        return iter(self.classes)

    def __hash__(self) -> int:
        """Of the ids alone: equal spaces have equal ones, and whole numbers hash alike in every process."""
        return hash(self.ids)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Global class ids in column order."""
        return tuple(label.id for label in self.classes)

    @cached_property
    def counted(self) -> bool:
        """Whether the ids count from 0 in column order, so that a class has the column of its id."""
        return self.ids == tuple(range(len(self)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Class names in column order."""
        return tuple(label.name for label in self.classes)

    @cached_property
    def _column_of(self) -> Tensor:
        table = torch.full((max(self.ids, default=-1) + 2,), -1)
        table[torch.tensor(self.ids, dtype=torch.long)] = torch.arange(len(self))
        return table

    def columns(self, ids: Tensor) -> Tensor:
        """Global class ids ``int64[B]`` -> column indices ``int64[B]``, -1 where a class is not in this space."""
        table = self._column_of.to(ids.device)
        return table.take(ids.clamp(-1, table.shape[0] - 1))

    @classmethod
    def joined(cls, spaces: "Iterable[LabelSpace]") -> "LabelSpace":
        """The classes of several spaces, each once, in the order in which they come; of one space, itself."""
        every = list(spaces)
        if len(every) == 1:
            return every[0]
        known: dict[int, ClassLabel] = {}
        for space in every:
            for label in space:
                known.setdefault(label.id, label)
        return cls(tuple(known.values()))

    def members(self, spaces: "Sequence[LabelSpace]") -> Tensor:
        """``bool[len(spaces), C]``: which classes of this space belong to which of ``spaces``."""
        found = torch.zeros(len(spaces), len(self), dtype=torch.bool)
        for row, space in enumerate(spaces):
            found[row, self.columns(torch.tensor(space.ids, dtype=torch.long))] = True
        return found

    def union(self, other: Iterable[ClassLabel]) -> "LabelSpace":
        """This space followed by those classes of ``other`` that are new, by id."""
        return LabelSpace(self.classes + tuple(label for label in other if label.id not in self._known))

    def followed_by(self, other: "LabelSpace") -> "LabelSpace":
        """``union`` that remembers its two parts; the one itself where the other adds nothing."""
        new = LabelSpace(tuple(label for label in other if label.id not in self._known))
        if not new or not self:
            return other if new else self
        last = other if len(new) == len(other) else new
        return LabelSpace(self.classes + last.classes, (self, last))

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self.ids)

    @cached_property
    def for_training(self) -> "LabelSpace":
        """The same classes with their first template only, the one used in training."""
        return LabelSpace(tuple(ClassLabel.stored(label.id, label.name, label.templates[:1]) for label in self.classes))

    def __deepcopy__(self, memo: dict[int, Any]) -> "LabelSpace":
        """Itself: it never changes."""
        return self

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        return [{"id": label.id, "name": label.name, "templates": list(label.templates)} for label in self]

    @classmethod
    def from_list(cls, stored: Iterable[Mapping[str, Any]]) -> "LabelSpace":
        """The inverse of ``to_list``."""
        return cls(tuple(ClassLabel.stored(c["id"], c["name"], c["templates"]) for c in stored))

    def restrict(self, ids: Iterable[int]) -> "LabelSpace":
        """Only the classes with these ids, in the order of this space."""
        wanted = set(ids)
        return LabelSpace(tuple(label for label in self.classes if label.id in wanted))
