"""Teachers: frozen copies of the model, held once per learner however many strategies read them."""

from collections.abc import Iterable
from copy import deepcopy

import torch

from mmcl.data.sample import Batch
from mmcl.errors import PluginError
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output

POLICIES = frozenset({"initial", "previous"})


class Teacher:
    """A frozen copy in evaluation mode whose output on the current batch is computed once.

    Attributes:
        model: the copy; its parameters need no gradient and share no storage with the student's.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self._batch: Batch | None = None
        self._output: Output | None = None

    def output(self, batch: Batch) -> Output:
        """Features of ``batch`` as the teacher sees them (no scores)."""
        if self._batch is not batch:
            with torch.no_grad():
                self._batch, self._output = batch, self.model.encode(batch.inputs)
        assert self._output is not None
        return self._output


class Teachers:
    """The copies that strategies asked for.

    ``initial`` is taken when the learner is built and never changes. ``previous`` is taken at the start of every
    experience, when the weights still are those handed over by the last one.
    """

    def __init__(self, model: MultimodalModel, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        if unknown := self._names - POLICIES:
            raise PluginError(
                "teachers",
                found=f"a strategy asks for {sorted(unknown)}",
                allowed=f"{sorted(POLICIES)}",
                remedy="Correct the 'teachers' of the strategy.",
            )
        self._teachers = {"initial": Teacher(model)} if "initial" in self._names else {}

    def begin_experience(self, model: MultimodalModel) -> None:
        """Copy the model that the last experience handed over."""
        if "previous" in self._names:
            self._teachers["previous"] = Teacher(model)

    def __getitem__(self, name: str) -> Teacher:
        if name not in self._teachers:
            raise PluginError(
                f"teacher {name!r}",
                found="no strategy declared it, or no experience has begun",
                allowed=f"{sorted(self._names)}",
                remedy="Add it to the 'teachers' of the strategy.",
            )
        return self._teachers[name]
