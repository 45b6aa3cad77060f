"""Models that are really built: a small architecture with two tags, whose download a local file stands in for."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip import factory
from open_clip.transformer import QuickGELU
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor
from transformers import RobertaConfig

from mmcl.backbones.openclip import GLYPH_CLIP, OpenCLIP, OpenCLIPBackbone, tiny_clip
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError
from mmcl.testing.encoded import encoded

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
RESNET: dict[str, Any] = {
    **CONFIG,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
}
OTHERS = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture
def picture() -> Image.Image:
    noise = torch.randint(256, (50, 41, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Image.fromarray(noise.numpy())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An architecture in GELU with the tags ``openai`` (QuickGELU, other preprocessing) and ``plain``; its weights."""
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", CONFIG)
    tags = {"openai": {"quick_gelu": True, **OTHERS}, "plain": {"url": "https://nowhere/plain.pt"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        stored = open_clip.CLIP(**CONFIG).state_dict()
    # tenfold, so that the two activations are told apart
    torch.save({name: value * (10 if "c_fc" in name else 1) for name, value in stored.items()}, tmp_path / "tiny.pt")
    monkeypatch.setattr(factory, "download_pretrained", lambda *_, **__: str(tmp_path / "tiny.pt"))
    return tmp_path / "tiny.pt"


def reference(weights: Path, quick_gelu: bool) -> nn.Module:
    model: nn.Module = open_clip.CLIP(**CONFIG, quick_gelu=quick_gelu).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model


def features(clip: nn.Module) -> Tensor:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = torch.randint(1, 2000, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.cat([clip.encode_image(images), clip.encode_text(texts)])  # type: ignore[operator]


def reloaded(backbone: OpenCLIPBackbone, folder: Path) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    backbone.export(folder)
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return clip.eval(), preprocess


@pytest.mark.parametrize(("tag", "quick"), [("openai", True), ("plain", False)])
def test_a_tag_is_the_function_that_its_weights_were_trained_as(tiny: Path, tag: str, quick: bool) -> None:
    built = features(OpenCLIP(weights=f"tiny/{tag}").build().clip)
    assert torch.equal(built, features(reference(tiny, quick)))
    assert not torch.allclose(built, features(reference(tiny, not quick)), atol=1e-3)


@pytest.mark.parametrize(("weights", "options"), [
    ("tiny/openai", {}),
    ("tiny/plain", {}),
    ("tiny/random", {"quick_gelu": True, "mean": (0.3, 0.2, 0.1), "resize_mode": "longest"}),
])  # fmt: skip
def test_an_export_is_the_same_function_in_plain_open_clip(
    tiny: Path, picture: Image.Image, tmp_path: Path, weights: str, options: dict[str, Any]
) -> None:
    backbone = OpenCLIP(weights=weights, **options).build()
    clip, preprocess = reloaded(backbone, tmp_path / "out")
    assert torch.equal(features(clip), features(backbone.clip))
    assert torch.equal(preprocess(picture), backbone.preprocess_eval[IMAGE](picture))
    again = OpenCLIP(weights=f"local-dir/{tmp_path / 'out'}").build()
    assert torch.equal(features(again.clip), features(backbone.clip))
    said = json.loads((tmp_path / "out" / "open_clip_config.json").read_text())["model_cfg"].get("quick_gelu", False)
    assert said is ("plain" not in weights)


def test_pictures_are_prepared_as_the_tag_says(tiny: Path, picture: Image.Image) -> None:
    found = OpenCLIP(weights="tiny/openai").build().preprocess_eval[IMAGE](picture)
    squashed = pil_to_tensor(picture.resize((32, 32), Image.Resampling.BILINEAR))
    mean, std = (torch.tensor(OTHERS[name]).view(3, 1, 1) for name in ("mean", "std"))
    assert torch.allclose(found, (squashed / 255 - mean) / std, atol=1e-5)
    assert OpenCLIP(weights="tiny/plain").build().preprocess_eval[IMAGE](picture).shape == (3, 32, 32)


def test_a_file_in_doubt_is_refused_before_anything_is_loaded(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="weights of tiny are trained with GELU or with QuickGELU"):
        OpenCLIP(weights=f"tiny/{tiny}")


@pytest.mark.parametrize("quick", [True, False])
def test_an_option_says_the_activation_of_a_file(tiny: Path, quick: bool) -> None:
    built = OpenCLIP(weights=f"tiny/{tiny}", quick_gelu=quick).build()
    assert torch.equal(features(built.clip), features(reference(tiny, quick)))


def test_options_say_how_pictures_of_a_file_are_prepared(tiny: Path) -> None:
    backbone = OpenCLIP(weights=f"tiny/{tiny}", quick_gelu=False, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)).build()
    assert backbone.clip.visual.preprocess_cfg["mean"] == (0.5, 0.5, 0.5)  # type: ignore[union-attr,index]
    assert backbone.description["std"] == "[0.2, 0.2, 0.2]"


def test_doubts_about_the_preprocessing_of_a_file_are_remarks_of_the_backbone(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"quick_gelu": True, "mean": (0.7, 0.8, 0.9)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["tiny"], "other", other)
    backbone = OpenCLIP(weights=f"tiny/{tiny}", quick_gelu=True).build()
    assert any("mean (0.1, 0.2, 0.3) or (0.7, 0.8, 0.9)" in sentence for sentence in backbone.remarks)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.filterwarnings("ignore:`torch.jit.(script|save|trace):FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.(script|save|trace):DeprecationWarning")
def test_a_torchscript_archive_needs_no_option(tiny: Path, tmp_path: Path, quick: bool) -> None:
    model = reference(tiny, quick)
    # as in OpenAI's archives, which hold three numbers and no mask
    model.attn_mask = model._buffers.pop("attn_mask")
    for name in ("input_resolution", "context_length", "vocab_size"):
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(1))
    torch.jit.script(model).save(str(tmp_path / "scripted.pt"))
    built = OpenCLIP(weights=f"tiny/{tmp_path / 'scripted.pt'}").build()
    assert torch.equal(features(built.clip), features(reference(tiny, quick)))


def test_the_default_model_has_the_activation_of_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "download_pretrained", lambda *_, **__: "unread.pt")
    monkeypatch.setattr(factory, "load_checkpoint", lambda *_, **__: None)
    backbone = OpenCLIP().build()
    activations = [module for module in backbone.modules() if isinstance(module, QuickGELU | nn.GELU)]
    assert len(activations) == 24
    assert all(isinstance(module, QuickGELU) for module in activations)
    assert backbone.description["activation"] == "QuickGELU"


def test_an_option_that_contradicts_a_tag_is_refused(tiny: Path) -> None:
    assert OpenCLIP(weights="tiny/openai", quick_gelu=True).build()
    with pytest.raises(ConfigError, match=r"quick_gelu=False, but the tag 'openai' has quick_gelu=True"):
        OpenCLIP(weights="tiny/openai", quick_gelu=False)
    with pytest.raises(ConfigError, match=r"mean=\(0.5, 0.5, 0.5\), but the tag 'openai' has"):
        OpenCLIP(weights="tiny/openai", mean=(0.5, 0.5, 0.5))


def test_an_option_that_contradicts_a_folder_is_refused(tmp_path: Path) -> None:
    tiny_clip().export(tmp_path)
    with pytest.raises(ConfigError, match=r"quick_gelu=True, but its open_clip_config.json has quick_gelu=False"):
        OpenCLIP(weights=f"local-dir/{tmp_path}", quick_gelu=True)


def test_random_weights_follow_from_the_seed_alone(tiny: Path) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (OpenCLIP(weights="tiny/random", seed=seed).build() for seed in (None, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(features(first.clip), features(again.clip))
    assert not torch.equal(features(first.clip), features(other.clip))
    assert other.description["weights"] == "random, seed 1"


def test_a_seed_without_random_weights_is_refused(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed=1, and nothing is random"):
        OpenCLIP(weights="tiny/openai", seed=1)


def test_what_is_no_weights_is_refused_with_what_there_is(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"Allowed: a file, random, or one of openai, plain. Did you mean 'openai'"):
        OpenCLIP(weights="tiny/opnai")


def test_weights_of_another_architecture_are_refused_in_one_sentence(tiny: Path, tmp_path: Path) -> None:
    torch.save(open_clip.CLIP(**RESNET).state_dict(), tmp_path / "resnet.pt")
    with pytest.raises(ConfigError, match=r"open_clip cannot load it .RuntimeError: Error.* in loading state_dict"):
        OpenCLIP(weights=f"tiny/{tmp_path / 'resnet.pt'}", quick_gelu=False).build()


def test_a_file_that_is_no_checkpoint_is_refused_in_one_sentence(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("text.pt", "text.safetensors"):
        with pytest.raises(ConfigError, match=r"open_clip cannot load it"):
            OpenCLIP(weights=f"tiny/{tmp_path / name}", quick_gelu=False).build()


def test_a_download_that_fails_is_a_sentence(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(factory, "download_pretrained", unreachable)
    with pytest.raises(ConfigError, match=r"no route to host.*a tag needs the network once"):
        OpenCLIP(weights="tiny/openai").build()


def test_a_folder_without_weights_is_refused_instead_of_random(tmp_path: Path) -> None:
    tiny_clip().export(tmp_path)
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"open_clip cannot load it .RuntimeError: Required pretrained weights"):
        OpenCLIP(weights=f"local-dir/{tmp_path}").build()


def test_a_folder_with_one_file_of_weights_is_loaded_whatever_its_name_is(tmp_path: Path) -> None:
    tiny_clip(seed=3).export(tmp_path)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / "epoch_1.safetensors")
    built = OpenCLIP(weights=f"local-dir/{tmp_path}").build()
    assert torch.equal(features(built.clip), features(tiny_clip(seed=3).clip.eval()))


def test_a_folder_in_which_open_clip_would_pick_one_of_several_weights_is_refused(tmp_path: Path) -> None:
    tiny_clip().export(tmp_path)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / "epoch_1.safetensors")
    shutil.copy(tmp_path / "epoch_1.safetensors", tmp_path / "epoch_2.safetensors")
    with pytest.raises(ConfigError, match=r"open_clip doubts it: Multiple checkpoints found .*epoch_1.*epoch_2"):
        OpenCLIP(weights=f"local-dir/{tmp_path}").build()


def test_random_weights_are_no_reason_for_a_warning(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    filters = list(logging.getLogger().filters)
    OpenCLIP(weights="tiny/random").build()
    assert caplog.messages == []
    assert logging.getLogger().filters == filters


def test_what_open_clip_only_warns_of_is_an_error(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubtful(*_: object, **__: object) -> None:
        warnings.warn("3 keys are missing", UserWarning, stacklevel=1)

    monkeypatch.setattr(factory, "load_checkpoint", doubtful)
    with pytest.raises(ConfigError, match=r"open_clip doubts it: 3 keys are missing. Allowed: weights and settings"):
        OpenCLIP(weights="tiny/openai").build()


def test_other_warnings_stay_warnings(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def outdated(*_: object, **__: object) -> None:
        warnings.warn("it will be gone", FutureWarning, stacklevel=1)
        message, elsewhere = "a word of torch", str(Path(torch.__file__).parent / "serialization.py")
        warnings.warn_explicit(message, UserWarning, elsewhere, 1)

    monkeypatch.setattr(factory, "load_checkpoint", outdated)
    with pytest.warns(FutureWarning, match=r"it will be gone"), pytest.warns(UserWarning, match=r"a word of torch"):
        OpenCLIP(weights="tiny/openai").build()


def test_a_text_tower_of_transformers_is_built_exported_and_reloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    RobertaConfig(
        vocab_size=2000, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    ).save_pretrained(tmp_path / "roberta")
    text = {
        "hf_model_name": str(tmp_path / "roberta"),
        "hf_tokenizer_name": str(GLYPH_CLIP),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "mean_pooler",
    }
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-hf", {**CONFIG, "quick_gelu": True, "text_cfg": text})
    backbone = OpenCLIP(weights="tiny-hf/random").build()
    tokens = backbone.tokenize(["a star"])
    clip, _ = reloaded(backbone, tmp_path / "out")
    with torch.no_grad():
        assert torch.equal(clip.encode_text(tokens), encoded(backbone, TEXT, tokens).pooled)  # type: ignore[operator]
    assert backbone.description["activation"] == "QuickGELU (image), GELU, GELUActivation (text)"


def test_a_text_tower_of_its_own_has_the_activation_of_the_tag(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", {**CONFIG, "custom_text": True})
    backbone = OpenCLIP(weights="tiny/openai").build()
    assert isinstance(backbone.clip, open_clip.CustomTextCLIP)
    assert backbone.description["activation"] == "QuickGELU"
    assert torch.equal(features(backbone.clip), features(reference(tiny, quick_gelu=True)))


def test_the_description_names_model_weights_activation_and_preprocessing(tiny: Path) -> None:
    assert OpenCLIP(weights="tiny/openai").build().description == {
        "model": "tiny",
        "weights": "openai",
        "activation": "QuickGELU",
        "image size": "32 x 32",
        "mean": "[0.1, 0.2, 0.3]",
        "std": "[0.4, 0.5, 0.6]",
        "interpolation": "bilinear",
        "resize mode": "squash",
    }


def test_the_description_tells_the_towers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-resnet", RESNET)
    backbone = OpenCLIP(weights="tiny-resnet/random", quick_gelu=True).build()
    assert backbone.description["activation"] == "ReLU (image), QuickGELU (text)"
