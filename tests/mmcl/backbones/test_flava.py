"""FLAVA is transformers' model: three towers in one pass, whose sequences add-ons may lengthen."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import FlavaForPreTraining, FlavaModel

import mmcl
from mmcl.backbones.composite import Composite, CompositeBackbone
from mmcl.backbones.flava import Flava, tiny_flava
from mmcl.backbones.flava_backbone import FUSION, FlavaBackbone
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Here

TEXTS = ["red star", "square of dots", "bar"]


def asked(rows: int = 3, lacks_text: tuple[int, ...] = (), lacks_image: tuple[int, ...] = ()) -> Inputs:
    images = torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    text, image = torch.ones(rows, dtype=torch.bool), torch.ones(rows, dtype=torch.bool)
    text[list(lacks_text)], image[list(lacks_image)] = False, False
    return Inputs({IMAGE: images, TEXT: tiny_flava().tokenize(TEXTS[:rows])}, {IMAGE: image, TEXT: text})


@torch.no_grad()
def pooled(backbone: FlavaBackbone, inputs: Inputs) -> dict[str, Tensor]:
    return {name: found.pooled for name, found in backbone.encode(inputs).features.items()}


class Longer(AddOn):
    """Puts vectors behind the first token, in rows that take a way."""

    lengthens = True

    def __init__(self, count: int, width: int = 16) -> None:
        super().__init__()
        self.vectors = torch.nn.Parameter(torch.randn(count, width, generator=torch.Generator().manual_seed(count)))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        if inputs.route is not None and not bool(inputs.route.taken.any()):
            return here.value
        vectors = self.vectors.expand(len(here.value), -1, -1)
        return torch.cat([here.value[:, :1], vectors, here.value[:, 1:]], dim=1)


def test_the_towers_have_what_the_model_of_the_library_gives_in_one_pass() -> None:
    backbone, inputs = tiny_flava(), asked()
    flava, pixels, tokens = backbone.flava, inputs[IMAGE], inputs[TEXT]
    with torch.no_grad():
        found = backbone.encode(inputs).features
        whole = flava(input_ids=tokens, pixel_values=pixels, attention_mask=(tokens != 0).long())
        assert torch.equal(found[FUSION].tokens, whole.multimodal_embeddings)
        assert torch.equal(found[FUSION].pooled, whole.multimodal_embeddings[:, 0])
        for name, project in ((IMAGE, flava.image_projection), (TEXT, flava.text_projection)):
            embedded = getattr(whole, f"{name}_embeddings")
            assert torch.equal(found[name].tokens, embedded)
            assert torch.equal(found[name].pooled, project(embedded[:, 0]))
        assert torch.equal(backbone.logit_scale, flava.logit_scale.exp())


def test_padding_changes_nothing_in_text_and_fusion() -> None:
    backbone, inputs = tiny_flava(), asked()
    short = inputs.replace(values={IMAGE: inputs[IMAGE], TEXT: inputs[TEXT][:, :9]})
    for name, value in pooled(backbone, short).items():
        torch.testing.assert_close(value, pooled(backbone, inputs)[name])


@pytest.mark.parametrize("tower", [IMAGE, TEXT, FUSION])
@pytest.mark.parametrize(("kind", "number"), [("tokens", 0), ("block", 0)])
def test_what_lengthens_a_sequence_is_seen_by_all_and_padding_still_by_none(tower: str, kind: str, number: int) -> None:
    backbone, inputs = tiny_flava(), asked()
    bare = pooled(backbone, inputs)
    backbone.attach("longer", backbone.sites_of(tower, kind)[number], Longer(4))
    found = pooled(backbone, inputs)
    for name, value in found.items():
        assert torch.allclose(value, bare[name]) == (name not in (tower, FUSION))
    for row in range(3):
        alone = inputs.select(torch.tensor([row]))
        words = int((alone[TEXT] != 0).sum())
        whole = pooled(backbone, alone.replace(values={IMAGE: alone[IMAGE], TEXT: alone[TEXT][:, :words]}))
        for name, value in found.items():
            torch.testing.assert_close(whole[name][0], value[row])


def test_what_lengthens_an_encoder_lengthens_the_fusion_so_that_plain_rows_pass_apart() -> None:
    backbone, inputs = tiny_flava(), asked()
    bare = pooled(backbone, inputs)
    backbone.attach("longer", backbone.sites_of(IMAGE, "tokens")[0], Longer(4))
    assert backbone.lengthened == backbone.adapted == {IMAGE, FUSION}
    found = pooled(backbone, inputs.replace(route=Route.given(torch.tensor([0, PLAIN, 0]))))
    alone = {name: value[1] for name, value in found.items()}
    for name in (IMAGE, FUSION):
        torch.testing.assert_close(alone[name], bare[name][1])
        assert not torch.allclose(found[name][0], bare[name][0])


def test_rows_that_lack_image_or_text_have_no_fusion() -> None:
    inputs = asked(lacks_text=(0,), lacks_image=(2,))
    backbone = tiny_flava()
    encoded = backbone.encode(inputs)
    assert encoded.present[FUSION].tolist() == [False, True, False]
    assert encoded.present[TEXT].tolist() == [False, True, True]
    found = {name: features.pooled for name, features in encoded.features.items()}
    assert not found[FUSION][[0, 2]].any()
    torch.testing.assert_close(found[FUSION][1:2], pooled(backbone, asked().select(torch.tensor([1])))[FUSION])


def test_images_alone_are_what_the_image_encoder_makes_of_them() -> None:
    whole = asked()
    inputs = whole.replace(values={IMAGE: whole[IMAGE]}, present={IMAGE: whole.present[IMAGE]})
    output = MultimodalModel(tiny_flava()).encode(inputs)
    assert output.features.keys() == {IMAGE}
    assert torch.equal(output.fused, output.features[IMAGE])


def test_each_encoder_passes_a_batch_once_and_nothing_of_it_is_kept() -> None:
    backbone, calls = tiny_flava(), []
    for model in (backbone.flava.image_model, backbone.flava.text_model, backbone.flava.multimodal_model):
        model.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    features = backbone.encode(asked()).features
    assert calls == ["FlavaImageModel", "FlavaTextModel", "FlavaMultimodalModel"]
    assert features[FUSION].pooled.requires_grad
    deepcopy(backbone)  # which a tensor of a graph would not allow
    assert not backbone._read
    composite = CompositeBackbone([backbone])
    assert torch.equal(composite.encode(asked()).features[FUSION].pooled, features[FUSION].pooled)
    assert not backbone._read
    assert Composite(towers=("flava",)).reads == Flava().reads


def test_an_attention_can_be_computed_from_what_its_site_says_and_a_masked_one_does_not_say() -> None:
    backbone, inputs, seen = tiny_flava(), asked(), []
    (site, *_) = backbone.sites_of(IMAGE, "attention")
    site.exit.register_forward_hook(lambda module, entered, left: seen.append((entered[0], left[0])))
    pooled(backbone, inputs)
    assert site.attention is not None
    ((entered, left),) = seen
    queries, keys, values = site.attention.project(site.exit, entered)
    assert torch.equal(site.attention.query(site.exit, entered), queries)
    found = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    torch.testing.assert_close(site.attention.merge(site.exit, found), left)
    assert all(site.attention is None for name in (TEXT, FUSION) for site in backbone.sites_of(name, "attention"))


def test_beside_an_mlp_is_what_enters_its_norm_and_what_is_added_to_it() -> None:
    backbone, seen = tiny_flava(), {}

    class Noted(AddOn):
        def forward(self, here: Here, inputs: Inputs) -> Tensor:
            seen[self] = here
            return here.value

    mlp, block = Noted(), Noted()
    backbone.attach("a", backbone.sites_of(IMAGE, "mlp")[0], mlp)
    backbone.attach("b", backbone.sites_of(IMAGE, "block")[0], block)
    pooled(backbone, asked())
    assert torch.equal(seen[mlp].entered + seen[mlp].value, seen[block].value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flava") / "mine"
    tiny_flava(3).export(path)
    return path


def test_an_export_is_the_same_function_in_plain_transformers_and_here(folder: Path) -> None:
    inputs, mine = asked(), tiny_flava(3)
    flava = FlavaModel.from_pretrained(folder).eval()
    again = Flava(weights=str(folder)).build().eval()
    for name, value in pooled(mine, inputs).items():
        assert torch.equal(pooled(again, inputs)[name], value)
    with torch.no_grad():
        whole = flava(input_ids=inputs[TEXT], pixel_values=inputs[IMAGE], attention_mask=(inputs[TEXT] != 0).long())
    assert torch.equal(whole.multimodal_embeddings[:, 0], pooled(mine, inputs)[FUSION])
    assert again.tokenize(TEXTS).tolist() == mine.tokenize(TEXTS).tolist()
    picture = Image.new("RGB", (50, 41), (200, 10, 90))
    assert torch.equal(again.preprocess_eval[IMAGE](picture), mine.preprocess_eval[IMAGE](picture))
    assert again.description["weights"] == "mine"


def test_the_checkpoint_of_the_pretraining_is_loaded_in_full_precision(folder: Path, tmp_path: Path) -> None:
    mine = tiny_flava(3)
    config = deepcopy(mine.flava.config)
    config.init_codebook = False
    whole: Any = FlavaForPreTraining(config)
    whole.flava.load_state_dict(mine.flava.state_dict())
    shutil.copytree(folder, tmp_path / "full")
    (tmp_path / "full" / "model.safetensors").unlink()
    whole.half().save_pretrained(tmp_path / "full")
    backbone = Flava(weights=str(tmp_path / "full")).build().eval()
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    for name, value in pooled(backbone, asked()).items():
        torch.testing.assert_close(value, pooled(mine, asked())[name], rtol=0.01, atol=0.02)


def test_a_folder_that_is_not_there_is_refused_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder flava-full.*hf download facebook/flava-full"):
        Flava().build()
    with pytest.raises(ConfigError, match=r"no config.json in"):
        Flava(weights=str(tmp_path)).build()


def test_weights_that_are_not_all_there_are_refused_instead_of_drawn(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "part")
    weights = load_file(tmp_path / "part" / "model.safetensors")
    lost = [name for name in weights if "image_to_mm_projection" in name]
    save_file(
        {n: v for n, v in weights.items() if n not in lost}, tmp_path / "part" / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ConfigError, match=r"weights without image_to_mm_projection.bias and 1 others"):
        Flava(weights=str(tmp_path / "part")).build()


def test_an_image_processor_for_another_size_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    path = next((tmp_path / "other").glob("*processor_config.json"))
    settings = json.loads(path.read_text("utf-8"))
    settings |= {"size": {"height": 48, "width": 48}, "crop_size": {"height": 48, "width": 48}}
    path.write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ConfigError, match=r"a model for images of \(32, 32\)"):
        Flava(weights=str(tmp_path / "other")).build()


def test_more_tokens_than_the_model_has_positions_for_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="77, and the model has positions for 20 tokens"):
        Flava(weights=str(folder), text_length=77).build()
    assert Flava(weights=str(folder), text_length=8).build().tokenize(TEXTS).shape == (3, 8)


def test_questions_of_ones_own_are_learned_and_a_run_is_resumed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            "image": Image.new("RGB", (40, 30), ("red", "green")[number % 2]),
            "text": question,
            "label": answers[number % 2],
        }
        for question, answers in (("what colour", ("red", "green")), ("how many", ("one", "two")))
        for number in range(10)
    ]
    stream = mmcl.streams.by_class(rows, experiences=2, training={"iterations": 2, "batch_size": 4})
    options: dict[str, Any] = {"backbone": f"flava:{folder}", "strategies": ["triplet:expert_length=2"], "quiet": True}
    result = mmcl.run(benchmark=stream, out=tmp_path / "run", **options)
    assert np.isfinite(result.matrix[-1]).all()
    assert result.results["model"]["model"] == "FLAVA"
    again = mmcl.resume(tmp_path / "run", benchmark=stream, quiet=True).matrix
    assert np.array_equal(again, result.matrix, equal_nan=True)
    assert "%|" not in capsys.readouterr().err, "no bars in a quiet run"
