"""Joint training: learn all experiences of the stream at once.

Paper: none.
Idea: the upper bound, what a model reaches that never has to learn one thing after another.
Computation: at the first experience, train on the union of all experiences, with as many steps as they would have
had one after the other. Later experiences that were part of the union are not trained again, so every row of the
result matrix shows the same, joint model. An experience that joins the stream later (``mmcl extend``) is trained
together with everything that is there by then.
Kept between experiences: which experiences have been learned.
Deviations: none. The learning-rate schedule runs once over the whole union.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from mmcl.data.sample import Batches
from mmcl.data.subset import Joined
from mmcl.learning.compose import Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin


@dataclass
class JointState:
    """Indices of the experiences that the model has been trained on."""

    learned: list[int] = field(default_factory=list)  # indices of experiences


@dataclass(kw_only=True, eq=False)
class Joint(StrategyPlugin):
    """Takes the training batches from the whole stream."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.BATCHES})
    order: ClassVar[Order] = "at once"

    state: JointState = field(default_factory=JointState, init=False, repr=False)

    def training_batches(self, learner: Learner) -> Batches:
        """Batches from the union of all experiences, or none if they have been learned."""
        if learner.current.index in self.state.learned:
            return []
        stream = learner.current.origin_stream
        for experience in stream:
            learner.meet(experience)
        self.state.learned = [experience.index for experience in stream]
        steps = sum(learner.iterations(experience) for experience in stream)
        return learner.batches(Joined([experience.samples for experience in stream]), steps, name="joint")
