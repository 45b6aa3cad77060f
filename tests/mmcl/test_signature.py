"""What is handed to a public function is taken as it is meant, or refused in a sentence that says what it may be."""

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.distillation.zscl import ZSCL

import mmcl
from mmcl.config import PluginConfig, RunConfig
from mmcl.data.label_space import LabelSpace
from mmcl.data.reference import ReferenceData
from mmcl.errors import ConfigError, MMCLError, nearest
from mmcl.signature import checked, fitted, shown
from mmcl.streams.scenario import CIL


@checked
def several(
    numbers: int | Sequence[int],
    *,
    place: str | Path = "",
    share: float = 0.0,
    said: Mapping[str, str | None] | None = None,
) -> tuple[Any, ...]:
    """Any function."""
    return numbers, place, share, said


class Place(os.PathLike[str]):
    """A path of another library."""

    def __fspath__(self) -> str:
        return "here"


def test_what_means_the_same_is_taken() -> None:
    assert several(np.int64(3)) == (3, "", 0.0, None)
    assert type(several(np.int64(3))[0]) is int
    assert several(np.array([1, 2]))[0] == [1, 2]
    assert several(torch.tensor([1, 2]))[0] == [1, 2]
    assert several((1, 2))[0] == [1, 2]
    assert several({1: "a", 2: "b"}.keys())[0] == [1, 2]
    assert several(1, place=Place())[1] == Path("here")
    assert several(1, share=np.float32(0.5))[2] == 0.5
    assert several(1, said={"id": None})[3] == {"id": None}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("7",), r"several: numbers: '7'. Allowed: a whole number or a list of whole numbers. Write \['7'\]."),
        ((["A"],), r"numbers: \['A'\]. Allowed: a whole number or a list of whole numbers"),
        ((True,), "numbers: True"),
        ((1.5,), "numbers: 1.5"),
        ((None,), "numbers: None"),
        ((iter([1]),), "an object of type list_iterator.*Make a list of it"),
        (({1, 2},), r"numbers: \{1, 2\}.*Make a list of it, in the order that is meant"),
        (({"a": 1},), "numbers: {'a': 1}"),
        ((int,), "the class int"),
        ((), "missing a required argument: 'numbers'"),
        ((1, 2), "too many positional arguments"),
    ],
)
def test_another_kind_is_refused_with_what_it_is_and_what_it_may_be(arguments: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        several(*arguments)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"place": 3}, "several: place: 3. Allowed: a text or a path"),
        ({"share": "0.5"}, "several: share: '0.5'. Allowed: a number"),
        ({"share": False}, "several: share: False. Allowed: a number"),
        ({"said": ["id"]}, r"several: said: \['id'\]. Allowed: a dictionary or None"),
        ({"said": {"id": 3}}, "several: said: {'id': 3}"),
        ({"said": {3: "id"}}, "several: said: {3: 'id'}"),
        (
            {"shared": 0.5},
            "the unknown argument 'shared'. Allowed: several.numbers, place, share, said.. Did you mean 'share'",
        ),
    ],
)
def test_another_kind_of_option_is_refused_too(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        several(1, **options)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_whatever_is_handed_over_is_returned_or_refused_in_a_sentence(value: Any) -> None:
    hints = (int, str, bool, float, Path, Sequence[int], Mapping[str, int], int | None, Literal["a"], Callable[[], int])
    for hint in hints:
        try:
            taken = fitted(value, hint, "x")
        except ConfigError:
            continue
        assert taken == value


def test_long_values_are_cut_in_the_sentence() -> None:
    assert len(shown("x" * 10_000)) < 100
    assert len(shown(list(range(10_000)))) < 100
    assert shown(torch.zeros(1000)) == "an object of type Tensor"


def test_a_short_form_is_near_its_long_form() -> None:
    assert nearest("learning_rate", ["lr", "epochs", "precision"]) == "Did you mean 'lr'?"
    assert nearest("wd", ["lr", "weight_decay"]) == "Did you mean 'weight_decay'?"
    with pytest.raises(ConfigError, match=r"'learning_rate'.*Did you mean 'lr'"):
        RunConfig(benchmark=PluginConfig("mtil"), training={"learning_rate": 1e-3})


CALLS: Mapping[str, Callable[[], Any]] = {
    "a strategy that stands alone": lambda: mmcl.run(benchmark="mtil", strategies="ewc"),
    "a class of a strategy": lambda: mmcl.run(benchmark="mtil", strategies=[ZSCL]),  # type: ignore[list-item]
    "a number for a benchmark": lambda: mmcl.run(benchmark=3),
    "a class of a benchmark": lambda: mmcl.run(benchmark=mmcl.Benchmark),  # type: ignore[arg-type]
    "a list for training": lambda: mmcl.run(benchmark="mtil", training=["lr"]),  # type: ignore[arg-type]
    "a text for a seed": lambda: mmcl.run(benchmark="mtil", seed="1"),  # type: ignore[arg-type]
    "a number for a folder": lambda: mmcl.run(benchmark="mtil", out=3),
    "a text for loggers": lambda: mmcl.run(benchmark="mtil", log="wandb"),
    "an argument that does not exist": lambda: mmcl.run(benchmark="mtil", strategy="ewc"),
    "no folder to resume": lambda: mmcl.resume(None),
    "no folder to extend": lambda: mmcl.extend(None),
    "a list of folders to extend": lambda: mmcl.extend("run", ["a", "b"]),
    "a file that stands alone": lambda: mmcl.predict("run", "image.jpg"),
    "a number of classes as a text": lambda: mmcl.predict("run", ["image.jpg"], top="3"),  # type: ignore[arg-type]
    "a number for a format": lambda: mmcl.export("run", 3),  # type: ignore[arg-type]
    "a number for a name": lambda: mmcl.strategy(3),
    "no name": lambda: mmcl.backbone(None),
    "a list for a name": lambda: mmcl.benchmark(["mtil"]),
    "one strategy to explain": lambda: mmcl.explain("ewc"),
    "a learner without a model": lambda: mmcl.Learner(model=None, scenario=CIL),
    "a scenario by name": lambda: mmcl.Learner(model=None, scenario="CIL"),
    "a model of nothing": lambda: mmcl.MultimodalModel(None),
    "a benchmark of nothing": lambda: mmcl.Benchmark(name="x", edition="own", scenario=CIL, experiences=None),
    "a configuration of names": lambda: RunConfig(benchmark="mtil"),  # type: ignore[arg-type]
    "a plugin without a name": lambda: PluginConfig(None),  # type: ignore[arg-type]
    "a class name for class names": lambda: LabelSpace.of("dog"),
    "a folder without anything": lambda: ReferenceData.from_folder("nowhere"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_public_functions_refuse_wrong_kinds_in_a_sentence(call: Callable[[], Any]) -> None:
    with pytest.raises(MMCLError):
        call()


def test_a_path_is_a_folder_of_data_wherever_one_is_named(tmp_path: Path) -> None:
    assert mmcl.benchmark("mtil", data_root=tmp_path).data_root == str(tmp_path)
    assert mmcl.strategy("zscl", reference=tmp_path).reference == str(tmp_path)
    (tmp_path / "images").mkdir()
    for place in (tmp_path, str(tmp_path)):
        with pytest.raises(MMCLError, match="0 images"):
            ReferenceData.from_folder(place)


def test_numbers_of_numpy_are_options() -> None:
    assert type(mmcl.strategy("ewc", strength=np.float32(2)).strength) is float
    assert mmcl.strategy("replay", size=np.int64(5)).size == 5


def test_a_checked_function_keeps_its_name_and_can_be_sent_elsewhere() -> None:
    assert mmcl.streams.by_class.__doc__ is not None
    assert pickle.loads(pickle.dumps(mmcl.streams.by_class)) is mmcl.streams.by_class
