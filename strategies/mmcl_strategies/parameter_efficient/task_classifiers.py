"""TaskClassifiers: linear units of each experience, of which a row is answered by those of its way."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.route import PLAIN
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.heads import Head
from mmcl.models.output import Output

NEVER = -1e4  # the score of a class that the classifier of a way does not know: finite in half precision, and no answer


class TaskClassifiers(Head):
    """A classifier for each experience, over its own classes; a class of several experiences has a unit in each.

    Rows on the plain way are answered by none: all their scores are 0.

    Args:
        width: W, of the features.
        tower: whose features it reads.
        dtype: of the backbone.

    Attributes:
        classifiers: id of an experience -> its linear units, in the order of its classes.
    """

    def __init__(self, width: int, tower: str, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.classifiers = nn.ModuleDict()
        self.tower = tower
        self._width, self._dtype = width, dtype
        self._classes: dict[str, list[int]] = {}

    def meet(self, arrival: Arrival) -> None:
        """Units for the classes of an experience."""
        name = str(arrival.index)
        self._classes[name] = list(arrival.label_space.ids)
        self.classifiers[name] = nn.Linear(self._width, len(self._classes[name]), dtype=self._dtype)

    def train_only(self, experience: int) -> None:
        """Freeze the classifiers of all other experiences."""
        for name, classifier in self.classifiers.items():
            classifier.requires_grad_(name == str(experience))

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether every class has a unit in some experience."""
        return set(label_space.ids) <= set().union(*self._classes.values())

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """``[B, C]``, what the classifier of each row's way gives to its classes, and 0 for those it does not know.

        An objective leaves these out.
        """
        return self._scores(output, label_space, 0.0)

    def predict(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The same, in which a class that the classifier of a row's way does not know is no answer."""
        return self._scores(output, label_space, NEVER)

    def _scores(self, output: Output, label_space: LabelSpace, unknown: float) -> Tensor:
        features = output.features[self.tower].to(self._dtype)
        scores = features.new_full((len(features), len(label_space)), unknown)
        assert output.route is not None
        for way, rows in output.route.ways():
            if way == PLAIN:
                scores[rows] = 0.0
                continue
            units, columns = self._asked(str(way), label_space)
            classifier = self.classifiers[str(way)]
            assert isinstance(classifier, nn.Linear)
            own = functional.linear(features[rows], classifier.weight[units], classifier.bias[units])
            scores[rows.unsqueeze(1), torch.tensor(columns, device=rows.device)] = own
        return scores

    def _asked(self, name: str, label_space: LabelSpace) -> tuple[list[int], list[int]]:
        """The units of an experience that are asked about, and their columns."""
        place = {id_: column for column, id_ in enumerate(label_space.ids)}
        units = [unit for unit, id_ in enumerate(self._classes[name]) if id_ in place]
        return units, [place[self._classes[name][unit]] for unit in units]
