"""Settings that belong to weights: those of every architecture and tag of open_clip, and those of files."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.constants import INCEPTION_MEAN, OPENAI_DATASET_MEAN

from mmcl.backbones.open_clip_config import agreed, of_archive, of_file, of_folder, of_random, of_tag
from mmcl.errors import ConfigError

ARCHITECTURES = Path(open_clip.__file__).parent / "model_configs"
WHO = "backbone 'openclip:...'"


def quick_in_file(architecture: str) -> bool:
    return bool(json.loads((ARCHITECTURES / f"{architecture}.json").read_text()).get("quick_gelu", False))


def test_every_pair_has_the_settings_of_its_tag_and_else_of_its_architecture() -> None:
    wrong: list[tuple[str, str, str, Any]] = []
    against_their_file = 0
    for architecture, tag in open_clip.list_pretrained():
        entry, settings = open_clip.get_pretrained_cfg(architecture, tag), of_tag(architecture, tag)
        right = {name: entry[name] for name in ("mean", "std", "interpolation", "resize_mode")}
        right["quick_gelu"] = entry.get("quick_gelu", quick_in_file(architecture))
        against_their_file += right["quick_gelu"] != quick_in_file(architecture)
        wrong += [(architecture, tag, name, settings[name]) for name in right if settings[name] != right[name]]
    assert wrong == []
    assert against_their_file >= 26


@pytest.mark.parametrize(
    ("architecture", "tag", "quick"),
    [
        ("ViT-B-16", "openai", True),
        ("ViT-B-16", "laion2b_s34b_b88k", False),
        ("ViT-B-32", "laion400m_e32", True),
        ("ViT-H-14", "dfn5b", True),
        ("roberta-ViT-B-32", "laion2b_s12b_b32k", True),
    ],
)
def test_the_activation_is_the_one_that_the_weights_were_trained_with(architecture: str, tag: str, quick: bool) -> None:
    assert of_tag(architecture, tag)["quick_gelu"] is quick


def test_tags_are_read_as_open_clip_reads_them() -> None:
    assert of_tag("ViT-B-16", "OpenAI") == of_tag("ViT-B-16", "openai")
    assert of_tag("ViT-L-14", "laion2b-s32b-b82k")["mean"] == INCEPTION_MEAN


def test_a_tag_goes_before_its_architecture_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"quick_gelu": False, "mean": (0.1, 0.2, 0.3), "fill_color": 7}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["ViT-B-16-quickgelu"], "mine", entry)
    settings = of_tag("ViT-B-16-quickgelu", "mine")
    assert {name: settings[name] for name in entry} == entry
    assert settings["resize_mode"] == "shortest"


def test_quickgelu_architectures_stay_quick_whatever_their_weights_are(tmp_path: Path) -> None:
    named = [name for name in open_clip.list_models() if name.endswith("-quickgelu")]
    assert len(named) >= 12
    for name in named:
        assert of_random(name, {}, WHO)["quick_gelu"] is True
        assert of_file(name, tmp_path / "mine.pt", {}, WHO)[0]["quick_gelu"] is True
        with pytest.raises(ConfigError, match=f"quick_gelu=False, but {name} has quick_gelu=True"):
            of_file(name, tmp_path / "mine.pt", {"quick_gelu": False}, WHO)


@pytest.mark.parametrize("architecture", ["ViT-B-16", "ViT-L-14-336", "RN50"])
def test_a_file_that_may_have_either_activation_is_refused_until_somebody_says_it(
    architecture: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"trained with GELU or with QuickGELU.*--set backbone.quick_gelu=true"):
        of_file(architecture, tmp_path / "mine.pt", {}, WHO)
    for quick in (True, False):
        settings, remarks = of_file(architecture, tmp_path / "mine.pt", {"quick_gelu": quick}, WHO)
        assert settings["quick_gelu"] is quick
        assert settings["mean"] == OPENAI_DATASET_MEAN
        assert remarks == []


def test_a_file_has_the_settings_that_all_tags_of_its_architecture_share(tmp_path: Path) -> None:
    settings, remarks = of_file("ViT-B-16-SigLIP", tmp_path / "mine.pt", {}, WHO)
    assert settings == of_tag("ViT-B-16-SigLIP", "webli")
    assert (settings["mean"], settings["resize_mode"], remarks) == ((0.5, 0.5, 0.5), "squash", [])


def test_where_tags_differ_the_first_is_taken_with_a_remark_for_each_setting(tmp_path: Path) -> None:
    settings, remarks = of_file("ViT-L-14", tmp_path / "mine.pt", {"quick_gelu": False}, WHO)
    assert settings["mean"] == OPENAI_DATASET_MEAN
    assert [sentence.partition("exist with ")[2].split()[0] for sentence in remarks] == ["mean", "std"]
    asked = {"quick_gelu": False, "mean": INCEPTION_MEAN, "std": (0.5, 0.5, 0.5)}
    settings, remarks = of_file("ViT-L-14", tmp_path / "mine.pt", asked, WHO)
    assert ({name: settings[name] for name in asked}, remarks) == (asked, [])


def test_tags_of_the_other_activation_say_nothing_of_a_file(tmp_path: Path) -> None:
    assert of_file("ViT-L-14", tmp_path / "mine.pt", {"quick_gelu": True}, WHO)[1] == []


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_the_code_of_a_torchscript_archive_says_its_activation(quick: bool, tmp_path: Path) -> None:
    layer = open_clip.transformer.QuickGELU() if quick else torch.nn.GELU()
    torch.jit.script(torch.nn.Sequential(layer)).save(str(tmp_path / "scripted.pt"))
    assert of_archive(tmp_path / "scripted.pt") == {"quick_gelu": quick}
    assert of_file("ViT-B-16", tmp_path / "scripted.pt", {}, WHO)[0]["quick_gelu"] is quick
    with pytest.raises(ConfigError, match=f"quick_gelu={not quick}, but its code has quick_gelu={quick}"):
        of_file("ViT-B-16", tmp_path / "scripted.pt", {"quick_gelu": not quick}, WHO)


def test_stored_tensors_say_nothing_of_their_activation(tmp_path: Path) -> None:
    torch.save({"QuickGELU": torch.ones(1)}, tmp_path / "tensors.pt")
    assert of_archive(tmp_path / "tensors.pt") == {}
    assert of_archive(tmp_path / "missing.pt") == {}


def test_a_folder_has_the_settings_of_its_configuration_and_else_open_clips(tmp_path: Path) -> None:
    model = {"embed_dim": 4, "quick_gelu": True}
    description = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "interpolation": None}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(description))
    settings = of_folder(tmp_path, WHO)
    assert (settings["quick_gelu"], settings["mean"]) == (True, (0.5, 0.5, 0.5))
    assert (settings["interpolation"], settings["resize_mode"]) == ("bicubic", "shortest")


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_folder_without_a_readable_configuration_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"in open_clip's own format"):
        of_folder(tmp_path, WHO)


def test_what_is_asked_fills_in_and_never_contradicts() -> None:
    assert agreed({"mean": 1}, {"mean": 1, "std": 2}, WHO, "it") == {"mean": 1, "std": 2}
    with pytest.raises(ConfigError, match=r"mean=3, but it has mean=1. Allowed: mean=1, or nothing"):
        agreed({"mean": 1}, {"mean": 3}, WHO, "it")
