"""Overview: what there is to learn and to test, as a table."""

from collections.abc import Sequence

from mmcl.data.experience_data import ExperienceData
from mmcl.evaluation.markdown_table import markdown_table


def overview(experiences: Sequence[ExperienceData]) -> list[str]:
    """A table in Markdown: what there is to learn and to test."""
    return markdown_table(
        ["experience", "modalities", "classes", "for training", "for the test"],
        [
            [
                data.name,
                " ".join(sorted(data.modalities)),
                *map(str, (len(data.label_space), len(data.train), len(data.test))),
            ]
            for data in experiences
        ],
    )
