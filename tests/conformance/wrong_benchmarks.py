"""Benchmarks that break one promise each."""

import random
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Sample
from mmcl.data.subset import Joined, Subset
from mmcl.errors import ConfigError
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import TIL

from . import wrong_benchmark_card
from .good_benchmark import Mapped, build, experiences_of, plugin, root_of
from .sabotage import Sabotage


def changed(plugin: Any, change: Callable[[Sample, int], Sample], side: str = "train") -> Benchmark:
    """The good stream with other samples on one side of its first experience."""
    first, *rest = experiences_of(plugin, root_of(plugin))
    other = replace(first, **{side: Mapped(getattr(first, side), change)})
    return build(plugin, experiences=[other, *rest])


def no_protocol(plugin: Any) -> Benchmark:
    return build(plugin)


def no_experiences(plugin: Any) -> Benchmark:
    return build(plugin, experiences=experiences_of(SimpleNamespace(experiences=None), root_of(plugin)))


def embedded_at_once(plugin: Any) -> Benchmark:
    return build(plugin)


def nothing_embedded(plugin: Any) -> Benchmark:
    if plugin.embedded and plugin.data_root is None:
        raise FileNotFoundError("no images")
    return build(plugin)


def writes_beside(plugin: Any) -> Benchmark:
    Path("index.txt").write_text("images")
    return build(plugin)


def calls_home(plugin: Any) -> Benchmark:
    with suppress(OSError), socket.socket() as home:
        home.connect(("127.0.0.1", 9))
    return build(plugin)


def calls_itself_official(plugin: Any) -> Benchmark:
    return build(plugin, edition="official")


def builds_another_scenario(plugin: Any) -> Benchmark:
    return build(plugin, scenario=TIL)


def chooses_by_itself(plugin: Any) -> Benchmark:
    both = plugin.embedded == (plugin.data_root is not None)
    return build(replace(plugin, embedded=True, data_root=None) if both else plugin)


def complains_in_python(plugin: Any) -> Benchmark:
    if plugin.data_root is not None and not plugin.embedded:
        next(Path(plugin.data_root).iterdir())
    return build(plugin)


def names_no_folder(plugin: Any) -> Benchmark:
    if plugin.data_root is not None and not plugin.embedded and not Path(plugin.data_root).is_dir():
        raise ConfigError("colours", found="no images", allowed="images", remedy="Find them.")
    return build(plugin)


def shuffles(plugin: Any) -> Benchmark:
    first, *rest = experiences_of(plugin, root_of(plugin))
    order = list(range(len(first.train)))
    random.SystemRandom().shuffle(order)
    return build(plugin, experiences=[replace(first, train=Subset(first.train, order)), *rest])


def paints_anew(plugin: Any) -> Benchmark:
    colour = random.SystemRandom().randrange(2**62)

    def change(sample: Sample, index: int) -> Sample:
        image = sample.inputs[IMAGE].copy()
        image.putpixel((0, 0), (colour % 256, colour // 256 % 256, colour // 65536 % 256))
        return replace(sample, inputs={IMAGE: image})

    first, *rest = experiences_of(plugin, root_of(plugin))
    other = replace(first, train=Painted(first.train, change))
    return build(plugin, experiences=[other, *rest])


class Painted(Mapped):
    """Painted once, so that a copy of it shows the same."""

    def __init__(self, samples: Any, change: Any) -> None:
        self.held = [change(samples[index], index) for index in range(len(samples))]

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> Sample:
        return self.held[index]


def takes_the_last(plugin: Any) -> Benchmark:
    every = experiences_of(replace(plugin, experiences=None), root_of(plugin))
    if plugin.experiences is not None:
        every = experiences_of(plugin, root_of(plugin)) and every[-plugin.experiences :]
    return build(plugin, experiences=every)


def takes_what_there_is(plugin: Any) -> Benchmark:
    wanted = None if plugin.experiences is not None and plugin.experiences > 3 else plugin.experiences
    return build(plugin, experiences=experiences_of(replace(plugin, experiences=wanted), root_of(plugin)))


def has_an_unknown_setting(plugin: Any) -> Benchmark:
    return build(plugin, training={"iteration": 3})


def keeps_an_index(plugin: Any) -> Benchmark:
    stream = build(plugin)
    if plugin.data_root is not None:
        (Path(plugin.data_root) / "index.txt").write_text("images")
    return stream


def repeats_an_id(plugin: Any) -> Benchmark:
    return changed(plugin, _first_id)


def mistakes_the_experience(plugin: Any) -> Benchmark:
    return changed(plugin, _second_experience)


def finishes_images(plugin: Any) -> Benchmark:
    *rest, last = experiences_of(plugin, root_of(plugin))
    return build(plugin, experiences=[*rest, replace(last, test=Mapped(last.test, _finished))])


def has_a_foreign_class(plugin: Any) -> Benchmark:
    return changed(plugin, _foreign_class, side="test")


def hides_a_class(plugin: Any) -> Benchmark:
    first, *rest = experiences_of(plugin, root_of(plugin))
    return build(plugin, experiences=[replace(first, train=Subset(first.train, [0, 1, 2])), *rest])


def trains_on_tests(plugin: Any) -> Benchmark:
    first, *rest = experiences_of(plugin, root_of(plugin))
    return build(plugin, experiences=[replace(first, train=Joined([first.train, Subset(first.test, [0])])), *rest])


def promises_texts(plugin: Any) -> Benchmark:
    every = experiences_of(plugin, root_of(plugin))
    return build(plugin, experiences=[replace(data, modalities=frozenset({IMAGE, TEXT})) for data in every])


def cannot_be_sent(plugin: Any) -> Benchmark:
    return changed(plugin, lambda sample, index: sample)


def draws_for_nothing(plugin: Any) -> Benchmark:
    return changed(plugin, _drawn)


def shows_the_stream_as_reference(plugin: Any) -> Benchmark:
    every = experiences_of(plugin, root_of(plugin))
    return build(plugin, experiences=every, reference=ReferenceData(every[0].test, ["a colour"]))


def is_not_finite(plugin: Any) -> Benchmark:
    return changed(plugin, _not_finite)


def _first_id(sample: Sample, index: int) -> Sample:
    return replace(sample, sample_id="0")


def _second_experience(sample: Sample, index: int) -> Sample:
    return replace(sample, task_id=1)


def _finished(sample: Sample, index: int) -> Sample:
    return replace(sample, finished=index == 5)


def _foreign_class(sample: Sample, index: int) -> Sample:
    return replace(sample, target=3) if index == 5 else sample


def _drawn(sample: Sample, index: int) -> Sample:
    random.random()
    return sample


def _not_finite(sample: Sample, index: int) -> Sample:
    return replace(sample, inputs={IMAGE: torch.full((3, 32, 32), torch.nan)}, finished=True)


WRONG_BENCHMARKS = (
    Sabotage(plugin(no_protocol, __module__=wrong_benchmark_card.__name__), "card", "does not say the protocol"),
    Sabotage(plugin(no_experiences, experiences=...), "usual options", "it has no option 'experiences'"),
    Sabotage(plugin(embedded_at_once, embedded=True), "usual options", "option 'embedded' is True by default"),
    Sabotage(
        plugin(nothing_embedded), "embedded edition", "with embedded = True it raises FileNotFoundError: no image"
    ),
    Sabotage(plugin(writes_beside), "embedded edition", r"it writes .*index\.txt"),
    Sabotage(plugin(calls_home), "embedded edition", r"it calls .*127\.0\.0\.1"),
    Sabotage(plugin(calls_itself_official), "embedded edition", "its embedded edition calls itself 'official'"),
    Sabotage(plugin(builds_another_scenario), "declarations", "scenario is declared as .*CIL.* and built as .*TIL"),
    Sabotage(plugin(chooses_by_itself), "one source", "it builds with neither of embedded and data_root"),
    Sabotage(plugin(complains_in_python), "missing data", "it raises FileNotFoundError.* Raise a ConfigError or DataE"),
    Sabotage(plugin(names_no_folder), "missing data", "the sentence does not name the missing folder"),
    Sabotage(plugin(shuffles), "determinism", "train samples of experience 0 have other ids or another order"),
    Sabotage(plugin(paints_anew), "determinism", "train sample 'a/train/dim/0.png' has other values the second time"),
    Sabotage(plugin(takes_the_last), "first experiences", "with experiences = 1 the name of 'a' is another one"),
    Sabotage(plugin(takes_what_there_is), "first experiences", "it accepts experiences = 1003"),
    Sabotage(plugin(has_an_unknown_setting), "training defaults", "the unknown key 'iteration'"),
    Sabotage(plugin(keeps_an_index), "untouched data", "'index.txt' in the data root has changed"),
    Sabotage(plugin(repeats_an_id), "samples", "several samples have the id '0'"),
    Sabotage(plugin(mistakes_the_experience), "samples", "a sample says it belongs to experience 1"),
    Sabotage(plugin(finishes_images), "samples", "sample 'c/test/violet/2.png' is finished, and not all its values"),
    Sabotage(plugin(has_a_foreign_class), "targets", "a test sample of experience 0 has the class 3"),
    Sabotage(plugin(hides_a_class), "targets", "no training sample of experience 0 has the class 'red'"),
    Sabotage(plugin(trains_on_tests), "disjoint sides", "'a/test/dim/0.png' is a training sample of experience 0 and"),
    Sabotage(
        plugin(promises_texts, modalities=frozenset({IMAGE, TEXT})),
        "modalities",
        r"experience 0 declares \['image', 'text'\], and its samples have \['image'\]",
    ),
    Sabotage(plugin(cannot_be_sent), "stable samples", "the train side of experience 0 cannot be sent to a worker"),
    Sabotage(plugin(draws_for_nothing), "stable samples", "reading uses the global generator of Python's random"),
    Sabotage(
        plugin(shows_the_stream_as_reference), "reference data", "reference image 'a/test/dim/0.png' is in the st"
    ),
    Sabotage(plugin(is_not_finite), "learns", "TrainingError: .* the loss is nan"),
)
