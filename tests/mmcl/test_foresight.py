"""What can be known before training is said before training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.config import TrainingConfig
from mmcl.data.collate import Collator, TensorSamples
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.sample import Sample
from mmcl.errors import DataError
from mmcl.foresight import alike_prompts, check_ready, foreseen, short_trainings, single_classes
from mmcl.models.heads import LinearHead, TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.remarks import Remark
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_pairs
from mmcl.testing.toy.models import ImageTower


def settings(benchmark: Benchmark, **fields: object) -> list[TrainingConfig]:
    return [TrainingConfig(**fields) for _ in benchmark.experiences]  # type: ignore[arg-type]


def single(scenario: Scenario, **fields: object) -> list[str]:
    benchmark = toy_benchmark(scenario, classes=1)
    return list(single_classes(benchmark, settings(benchmark, **fields)))


def named(scenario: Scenario, *names: Sequence[str]) -> Benchmark:
    toy = toy_benchmark(scenario, experiences=len(names), classes=len(names[0]))
    return Benchmark(
        name="toy",
        edition="toy",
        scenario=scenario,
        experiences=[
            replace(data, label_space=LabelSpace.of(of, first_id=data.label_space.ids[0], templates=["a {}", "{}"]))
            for data, of in zip(toy.experiences, names, strict=True)
        ],
    )


# A single class.


def test_a_single_class_that_competes_with_nothing_is_named_with_the_remedy() -> None:
    (said,) = single(TIL)
    assert all(f"'toy{i}' (class '{name}')" in said for i, name in enumerate(("alpha", "beta", "gamma")))
    assert "Choose scenario CIL" in said


def test_in_cil_only_the_first_class_stands_alone() -> None:
    (said,) = single(CIL)
    assert "'toy0' (class 'alpha')" in said
    assert "toy1" not in said


def test_in_dil_one_class_stands_alone_in_every_domain() -> None:
    assert "'toy2'" in single(DIL)[0]


def test_own_classes_leave_a_single_class_alone_in_cil_too() -> None:
    assert "'toy2'" in single(CIL, own_classes=True)[0]


def test_two_classes_are_a_task() -> None:
    for scenario in (TIL, CIL, DIL):
        benchmark = toy_benchmark(scenario)
        assert not list(single_classes(benchmark, settings(benchmark, own_classes=True)))


# Few steps.


def test_experiences_of_fewer_than_ten_steps_are_counted_and_named() -> None:
    (said,) = short_trainings({"a": 9, "b": 10, "c": 12})
    assert said.startswith("1 of 3 experiences get fewer than 10 training steps")
    assert "'a' (9)" in said
    assert not list(short_trainings({"a": 10}))


def test_steps_are_those_of_each_experience_and_its_settings() -> None:
    benchmark, model = toy_benchmark(CIL), MultimodalModel(tiny_clip())  # 16 samples each
    each = [TrainingConfig(iterations=9), TrainingConfig(iterations=10), TrainingConfig(epochs=2, batch_size=3)]
    (said,) = foreseen(benchmark, each, model)
    assert "1 of 3" in said
    assert "'toy0' (9)" in said
    few, warm = foreseen(benchmark, settings(benchmark, batch_size=16, epochs=5, warmup=6), model)
    assert "3 of 3" in few
    assert "'toy2' (5)" in few
    assert "shorter than its warm-up (5 of 6 steps)" in warm


# Prompts of the same tokens.


LONG = "very long product name that never ends and goes on and on until nothing is left of it "


@pytest.mark.parametrize(
    "names", [(f"{LONG}red", f"{LONG}blue"), ("\u7ea2\u8272", "\u84dd\u8272"), ("owl \u4e00", "owl \u4e8c")]
)
def test_classes_whose_prompts_are_the_same_tokens_are_both_named(names: tuple[str, str]) -> None:
    head = TextHead(tiny_clip())
    (said,) = alike_prompts(named(TIL, names, ("ant", "bee")), head)
    assert f"0 {names[0]!r}, 1 {names[1]!r}" in said
    across = (names[0], "ant"), (names[1], "bee")
    (said,) = alike_prompts(named(CIL, *across), head)
    assert f"0 {names[0]!r}, 2 {names[1]!r}" in said
    assert not list(alike_prompts(named(TIL, *across), head))
    assert not list(alike_prompts(named(CIL, *across), LinearHead(16)))


def test_many_alike_are_one_sentence() -> None:
    names = [f"{LONG}{i}" for i in range(6)]
    (said,) = alike_prompts(named(CIL, names), TextHead(tiny_clip()))
    assert "and 3 more" in said


def test_prompts_that_only_share_words_are_not_alike() -> None:
    assert not list(alike_prompts(named(CIL, ("red fox", "fox red"), ("foxred", "red")), TextHead(tiny_clip())))


# Tensors that are said to be ready.


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (torch.zeros(16, 3, 16, 16), r"float32\[3, 16, 16\]"),
        (torch.zeros(16, 3, 32, 32, dtype=torch.float64), r"float64\[3, 32, 32\]"),
        (torch.zeros(16, 3, 32, 32, dtype=torch.uint8), r"uint8\[3, 32, 32\]"),
    ],
)
def test_ready_tensors_of_another_kind_than_the_backbone_takes_are_refused(image: torch.Tensor, found: str) -> None:
    toy = toy_benchmark(CIL)
    strange = TensorSamples({IMAGE: image}, torch.arange(16) % 2 + 2, 1)
    for part in (replace(toy.experiences[1], train=strange), replace(toy.experiences[1], test=strange)):
        stream = Benchmark(
            name="toy", edition="toy", scenario=CIL, experiences=[toy.experiences[0], part, toy.experiences[2]]
        )
        with pytest.raises(DataError, match=rf"image {found}, said to be ready.*Allowed: float32\[3, 32, 32\]"):
            check_ready(stream, tiny_clip())


def test_ready_tensors_as_the_backbone_takes_them_and_raw_values_pass() -> None:
    check_ready(toy_benchmark(CIL), tiny_clip())
    check_ready(toy_pairs(), tiny_clip())
    check_ready(
        mmcl.streams.by_class([(Image.new("RGB", (5, 9)), i % 2) for i in range(6)], experiences=1), tiny_clip()
    )


def windows() -> ImageTower:
    """A backbone that asks for windows of eight steps."""
    tower = ImageTower()
    tower.specs = {"emg": ModalitySpec((8,))}
    tower.preprocess_train = tower.preprocess_eval = {"emg": torch.as_tensor}
    return tower


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        (np.zeros(9, np.float32), r"emg of shape \[9\] after preprocessing. Allowed: \[8\]"),
        (np.zeros((8, 1), np.float32), r"emg of shape \[8, 1\]"),
        (np.array(["a"] * 8), r"emg of type ndarray, which the backbone cannot prepare"),
    ],
)
def test_raw_values_of_another_kind_than_the_backbone_takes_are_refused_before_training(
    window: NDArray[Any], sentence: str
) -> None:
    def stream(value: NDArray[Any]) -> Benchmark:
        rows = [{"emg": value, "label": i % 2} for i in range(4)]
        return mmcl.streams.by_class(rows, rows, experiences=1, columns={"emg": "emg"})

    check_ready(stream(np.zeros(8, np.float32)), windows())
    with pytest.raises(DataError, match=rf"sample own.*{sentence}"):
        check_ready(stream(window), windows())


def test_a_value_of_another_size_inside_a_batch_is_named() -> None:
    collate = Collator({IMAGE: ModalitySpec((3, 4, 4))})
    good, odd = (Sample({IMAGE: torch.zeros(3, size, 4)}, 0, f"s{size}", 0, finished=True) for size in (4, 5))
    assert collate([good, good]).inputs[IMAGE].shape == (2, 3, 4, 4)
    with pytest.raises(DataError, match=r"sample s5: image of shape \[3, 5, 4\].*Allowed: \[3, 4, 4\]"):
        collate([good, odd])


# All of it, in a run.


def test_pairs_have_no_classes_to_speak_of() -> None:
    pairs = toy_pairs()
    assert not list(foreseen(pairs, settings(pairs, iterations=10), MultimodalModel(tiny_clip())))
    assert pairs.modalities == {IMAGE, TEXT}


def test_a_run_says_it_before_training_and_keeps_it(tmp_path: Path, cache: Path) -> None:
    rows = [(Image.new("RGB", (8, 8), (40 * i,) * 3), ("\u7ea2", "\u84dd", "cat")[i % 3]) for i in range(30)]
    stream = mmcl.streams.by_class(rows, experiences=[1, 2], scenario="TIL", training={"iterations": 2})
    with pytest.warns(Remark) as told:
        result = mmcl.run(benchmark=stream, out=tmp_path / "run", quiet=True)
    said = result.results["remarks"]
    assert len(said) == 3
    assert {str(warning.message) for warning in told} >= set(said)
    for part in ("'class 1' (class 'cat')", "1 '\u7ea2', 2 '\u84dd'", "2 of 2 experiences"):
        assert any(part in sentence for sentence in said), part


def test_a_run_refuses_tensors_of_another_size_before_anything_is_evaluated(tmp_path: Path, cache: Path) -> None:
    stream = mmcl.streams.by_class([(torch.rand(3, 8, 8), i % 2) for i in range(8)], experiences=1, ready=True)
    with pytest.raises(DataError, match="said to be ready"):
        mmcl.run(benchmark=stream, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "progress.json").exists()
