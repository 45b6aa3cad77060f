"""Targets: every sample of a class that its experience has, known before training."""

from mmcl.data.digest import outline_of
from mmcl.data.label_space import LabelSpace
from mmcl.data.names import some
from mmcl.data.sample import SampleDataset
from mmcl.errors import DataError


def check_targets(samples: SampleDataset, space: LabelSpace, who: str) -> None:
    """Refuse a sample whose target is none of the classes. Samples are read only where nothing else tells the target.

    Args:
        samples: of one side of an experience.
        space: the classes of the experience.
        who: the side, for the sentence.

    Raises:
        DataError: naming the row, the sample and its target.
    """
    known = set(space.ids)
    for row in range(len(samples)):
        sample = outline_of(samples, row)
        if int(sample.target) not in known:
            raise DataError(
                who,
                found=f"row {row}, sample {sample.sample_id!r}, has the target {int(sample.target)}",
                allowed=f"a class id of this experience: {some([str(id_) for id_ in space.ids])}",
                remedy="Correct the target, or add the class to the label space.",
            )
