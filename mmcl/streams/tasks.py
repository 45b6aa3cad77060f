"""Tasks arrive: one data set after the other, each with classes of its own (TIL, MDTIL)."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcl.data.records import Columns
from mmcl.data.templates import Template, templates_of
from mmcl.signature import checked
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.named import sides_by_name, with_own_classes
from mmcl.streams.own import Reference, own_benchmark
from mmcl.streams.reading import Reading
from mmcl.streams.scenario import MDTIL, TIL


@checked
def by_task(
    tasks: Any,
    test: Any = None,
    *,
    names: Sequence[str] | None = None,
    name: str = "own",
    label: str = "label",
    templates: Template | Sequence[Template] | None = None,
    columns: Columns | None = None,
    ready: bool = False,
    reference: Reference | None = None,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """One data set after the other, each with classes of its own; TIL, or MDTIL where their modalities differ.

    Args:
        tasks: name -> data set, or a list of data sets.
        test: test data in the same form.
        names: of the experiences where they are a list; by default ``task 1``, ``task 2``, ...
        name: of the stream.
        label: column of the class, for rows that are dictionaries and CSV files.
        templates: prompts with one ``{}`` each, or one prompt; the first is used in training.
        columns: column -> modality it holds, or ``None`` if it is not needed, such as ``{"img": "image", "id": None}``.
        ready: whether values are tensors that have been preprocessed exactly as the backbone wants them.
        reference: a folder with ``images/`` and ``captions.txt`` outside the stream, for strategies that need them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if a template is none, or there is not a name for every task.
        DataError: if the data cannot be read.
    """
    prompts = templates_of(templates)
    read = Reading(label, columns, ready, several=True)
    every = sides_by_name(tasks, test, "task", name, read, names)
    parts = with_own_classes(every, prompts)
    differ = len({part.modalities for part in parts}) > 1
    return own_benchmark(
        name, MDTIL if differ else TIL, parts, every.values(), read, training=training, reference=reference
    )
