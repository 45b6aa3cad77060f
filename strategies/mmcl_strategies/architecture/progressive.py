"""Progressive networks: a new column for each experience, which reads the activations of the frozen earlier ones.

Paper: Rusu et al., "Progressive neural networks", arXiv 1606.04671, 2016. There is no official code.
Idea: nothing is overwritten, so nothing is forgotten; what earlier columns have found out is passed on through small
trainable laterals.
Equation: with f = ReLU, and no f in the output layer, layer i of column k has
``h_i^k = f(W_i^k h_(i-1)^k + U_i^k f(V_i^k [a_1 h_(i-1)^1; ...; a_(k-1) h_(i-1)^(k-1)]))`` and one learned scalar a_j
per earlier column (Eq. 2, ``lateral="adapter"``), or ``... + sum_j U_i^(k:j) h_(i-1)^j`` (Eq. 1, ``lateral="linear"``).
The first layer has no lateral, the output layer has one. Earlier columns run with their own laterals, so that what a
column reads of them is what they compute for their own experience.
Kept between experiences: all columns, in the model; all but the newest are frozen, in evaluation mode and not in the
optimiser. Their number of parameters grows with the square of the number of experiences.
Columns stand on the features of the frozen backbone: one projection for each modality of the column's experience,
summed. Where a sample lacks all of them, the column contributes zeros. The classes of an experience are always scored
by its own column, so the task id must be known at test time.
Deviations: there are biases, as in all public code; the multimodal first layer is ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Inputs
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.models.arrival import Arrival
from mmcl.models.heads import Head
from mmcl.models.output import Output
from mmcl.options import PartialShare, Positive, Rate, Width, check_options
from mmcl_strategies.architecture.column import Activations, AdapterLateral, Column, LinearLateral
from mmcl_strategies.architecture.ownership import Ownership
from mmcl_strategies.shared.choices import require

Lateral = Literal["adapter", "linear"]


@dataclass(frozen=True)
class Shape:
    """How columns are made; the fields are those of the strategy."""

    hidden: tuple[int, ...]
    lateral: Lateral
    bottleneck: int | None
    alpha: float
    dropout: float

    def laterals(self, earlier: int, classes: int) -> list[nn.Module]:
        """Of a column that has ``earlier`` columns before it."""
        made: list[nn.Module] = []
        for before, after in zip(self.hidden, (*self.hidden[1:], classes), strict=True):
            read = [before] * earlier
            if self.lateral == "linear":
                made.append(LinearLateral(read, after))
            else:
                made.append(AdapterLateral(read, self.bottleneck or before, after, self.alpha))
        return made


class ProgressiveHead(Head):
    """One column per experience.

    Args:
        embed_dim: width of the features of every modality.
        shape: of the columns.
    """

    def __init__(self, embed_dim: int, shape: Shape) -> None:
        super().__init__()
        self.embed_dim, self.shape = embed_dim, shape
        self.columns = nn.ModuleList()
        self.ownership = Ownership()

    def meet(self, arrival: Arrival) -> None:
        """A column for an experience; the earlier ones are frozen, and stay in evaluation mode."""
        self.columns.requires_grad_(False).zero_grad()
        classes = len(arrival.label_space)
        laterals = self.shape.laterals(len(self.columns), classes) if len(self.columns) else None
        widths = dict.fromkeys(arrival.modalities, self.embed_dim)
        self.columns.append(Column(widths, self.shape.hidden, classes, laterals, self.shape.dropout))
        self.ownership.add(arrival.index, arrival.label_space)
        self.train(self.training)

    def train(self, mode: bool = True) -> "ProgressiveHead":
        """Only the newest column is ever trained."""
        super().train(mode)
        for column in self.columns[:-1]:
            column.eval()
        return self

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether a column has each of the classes."""
        return self.ownership.knows(label_space)

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """Each class is scored by the column of the experience it belongs to."""
        run = Run(self.columns, output.features, output.present)
        return self.ownership.gather(label_space, inputs.task_ids, run.scores)


class Run:
    """A pass of a batch through as many columns as are asked for; the hidden layers of each run once."""

    def __init__(self, columns: nn.ModuleList, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        self.columns, self.features, self.present = columns, features, present
        self.activations: list[Activations] = []

    def scores(self, row: int) -> Tensor:
        """The scores ``[B, C]`` of the classes of one experience."""
        while len(self.activations) <= row:
            column = self._column(len(self.activations))
            self.activations.append(column.hidden(self.features, self.present, self.activations))
        return self._column(row).scores(self.activations[row], self.activations[:row])

    def _column(self, row: int) -> Column:
        column = self.columns[row]
        assert isinstance(column, Column)
        return column


@dataclass(kw_only=True, eq=False)
class Progressive(StrategyPlugin):
    """Adds a column with laterals for each experience and freezes the earlier ones."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEAD})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TASK_ID, Need.CLASSES})
    order: ClassVar[Order] = "in turn"
    grows: ClassVar[bool] = True

    hidden: tuple[Width, ...] = (256, 256)  # n_i, widths of the hidden layers of every column
    lateral: Lateral = "adapter"  # Eq. 2; "linear": Eq. 1
    bottleneck: Width | None = None  # width of an adapter; None: n_(i-1), the width of the layer it reads
    alpha: Positive = 0.01  # its scalars begin uniform in [0, alpha)
    dropout: PartialShare = 0.0  # behind the hidden layers of the newest column
    lr: Rate | None = 0.003  # learning rate of the columns; None: that of the training settings

    def __post_init__(self) -> None:
        """Refuse a column without a hidden layer."""
        check_options(self, "progressive")
        require(bool(self.hidden), "progressive.hidden", self.hidden, "one width or more")

    def adapt_model(self, learner: Learner) -> None:
        """Freeze backbone and fusion, put the columns in the place of the head."""
        for _, parameter in list(learner.model.shared_parameters()):
            parameter.requires_grad_(False)
        shape = Shape(self.hidden, self.lateral, self.bottleneck, self.alpha, self.dropout)
        learner.model.head = ProgressiveHead(learner.model.backbone.width, shape)

    def rates(self, learner: Learner) -> Iterator[tuple[nn.Parameter, float]]:
        """The columns have their own."""
        if self.lr is not None:
            yield from ((parameter, self.lr) for parameter in learner.model.head.parameters())

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """What is frozen keeps its statistics too."""
        learner.model.backbone.eval()
