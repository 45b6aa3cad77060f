"""Pairs arrive: pictures with captions, sensor windows with descriptions; continual pre-training (DIL, TIL)."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.pairing import EachCaption, dealt, parts_called
from mmcl.data.records import Columns
from mmcl.data.table import TableSamples
from mmcl.errors import ConfigError
from mmcl.evaluation.retrieval_metric import Retrieval
from mmcl.objectives.contrastive import Contrastive
from mmcl.signature import checked
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.named import sides_by_group, sides_by_name
from mmcl.streams.own import Reference, arrival, own_benchmark, possible_scenario, titled
from mmcl.streams.reading import PairReading
from mmcl.streams.scenario import DIL, TIL
from mmcl.streams.sides import Sides


@checked
def of_pairs(
    data: Any,
    test: Any = None,
    *,
    column: str | None = None,
    experiences: int | None = None,
    order: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    scenario: str = "DIL",
    name: str = "own",
    columns: Columns | None = None,
    reference: Reference | None = None,
    training: Mapping[str, Any] | None = None,
) -> Benchmark:
    """Pairs without classes: trained by contrast, tested by retrieval.

    A pair is a text and a picture, or a text and a value of one other modality. Rows that show the same picture are
    one pair with several texts; so is a row whose text is a list. Training reads one of them, drawn anew each time.
    Retrieval asks with each of them, and a picture finds its text if it finds any of them.

    Args:
        data: pairs, rows or a file with the columns of both; or name -> such data, one experience each.
        test: test data in the same form; by default 20 % of the pairs are put aside.
        column: says which experience a row belongs to, such as its season or its shop.
        experiences: deals the pairs out to so many experiences of equal size, instead of a column.
        order: the experiences in the order of their arrival; by default the one in which they first occur.
        names: of the experiences, if they are to be called otherwise.
        scenario: ``"DIL"``, or ``"TIL"`` to reveal at test time which experience a pair belongs to.
        name: of the stream.
        columns: column -> modality it holds, or ``None`` if it is not needed, as ``{"title": "text", "id": None}``.
        reference: a folder with ``images/`` and ``captions.txt`` outside the stream, for strategies that need them.
        training: defaults for fields of ``TrainingConfig``.

    Raises:
        ConfigError: if scenario, order, names or the number of experiences are impossible.
        DataError: if the data cannot be read, or are no pairs.
    """
    kind = possible_scenario(scenario, (DIL, TIL), "pairs have no classes that could arrive")
    read = PairReading(columns=columns, group=column, several=True)
    every = _sides(data, test, column, experiences, name, read)
    titles = arrival(order, list(every), "experiences")
    called = zip(titles, titled(names, titles), strict=True)
    parts = [pair_experience(every[title], text, index) for index, (title, text) in enumerate(called)]
    return own_benchmark(
        name,
        kind,
        parts,
        every.values(),
        read,
        training=training,
        reference=reference,
        objective=Contrastive(),
        metric=Retrieval(by_target=True),
    )


def pair_experience(sides: Sides, title: str, index: int) -> ExperienceData:
    """Pairs as an experience: each for training, and each of their texts for testing."""
    train, test = (
        TableSamples(side, rows, range(len(rows)), index)
        for side, rows in ((sides.train, sides.train_rows), (sides.test, sides.test_rows))
    )
    return ExperienceData(title, train, EachCaption(test), LabelSpace(), sides.train.modalities, domain=title)


def _sides(
    data: Any, test: Any, column: str | None, experiences: int | None, name: str, read: PairReading
) -> dict[str, Sides]:
    """Training and test pairs of every experience."""
    several = isinstance(data, Mapping)
    if (several, column is not None, experiences is not None).count(True) != 1:
        raise ConfigError(
            "of_pairs",
            found="several data sets, and column or experiences beside them" if several else "one data set",
            allowed="name -> data set, or one data set with column=... or experiences=...",
            remedy="Leave them out." if several else "Say which column tells experiences apart, or how many there are.",
        )
    if several:
        return sides_by_name(data, test, "experience", name, read)
    train, held = read(data, name, column), None if test is None else read(test, f"{name}-test", column)
    if experiences is None:
        return sides_by_group(train, held, "experience", column or "")
    train, held = dealt(train, experiences), None if held is None else dealt(held, experiences)
    every = sides_by_group(train, held, "experience", "part")
    return {title: every[title] for title in parts_called(experiences)}
