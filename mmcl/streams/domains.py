"""Domains arrive: the same classes in one after the other (DIL)."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.names import plain_name
from mmcl.data.records import Columns
from mmcl.data.templates import Template, templates_of
from mmcl.signature import checked
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.named import sides_by_group, sides_by_name
from mmcl.streams.own import Reference, arrival, own_benchmark, titled
from mmcl.streams.reading import Reading
from mmcl.streams.scenario import DIL


@checked
def by_domain(
    data: Any,
    test: Any = None,
    *,
    order: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    name: str = "own",
    label: str = "label",
    domain: str = "domain",
    templates: Template | Sequence[Template] | None = None,
    columns: Columns | None = None,
    ready: bool = False,
    reference: Reference | None = None,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """The same classes in one domain after the other (DIL).

    Args:
        data: domain -> data set; or rows or a CSV file with a column for the domain.
        test: test data in the same form.
        order: the domains in the order of their arrival; by default that of the mapping, or the one in which they
            first occur in the rows.
        names: of the experiences, if they are to be called otherwise than the domains.
        name: of the stream.
        label: column of the class, for rows that are dictionaries and CSV files.
        domain: column of the domain.
        templates: prompts with one ``{}`` each, or one prompt; the first is used in training.
        columns: column -> modality it holds, or ``None`` if it is not needed, such as ``{"img": "image", "id": None}``.
        ready: whether values are tensors that have been preprocessed exactly as the backbone wants them.
        reference: a folder with ``images/`` and ``captions.txt`` outside the stream, for strategies that need them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if order, names or templates are impossible.
        DataError: if the data cannot be read, or a domain lacks classes or has others; the sentence names them.
    """
    prompts = templates_of(templates)
    read = Reading(label, columns, ready, group=domain, several=True)
    if isinstance(data, Mapping):
        every = sides_by_name(data, test, "domain", name, read)
    else:
        tested = None if test is None else read(test, f"{name}-test", column=domain)
        every = sides_by_group(read(data, name, column=domain), tested, "domain", domain)
    titles = arrival(order, list(every), "domains")
    labels: dict[str, ClassLabel] = {}
    parts = []
    for index, (title, called) in enumerate(zip(titles, titled(names, titles), strict=True)):
        sides = every[title]
        here = {label_: plain_name(sides.train.names[label_]) for label_ in sides.classes}
        for label_, plain in here.items():
            labels.setdefault(plain, ClassLabel(len(labels), sides.train.names[label_], prompts))
        space = LabelSpace(tuple(sorted((labels[plain] for plain in here.values()), key=lambda known: known.id)))
        train, held = sides.samples({label_: labels[plain].id for label_, plain in here.items()}, index)
        parts.append(ExperienceData(called, train, held, space, sides.train.modalities, domain=title))
    return own_benchmark(name, DIL, parts, every.values(), read, training=training, reference=reference)
