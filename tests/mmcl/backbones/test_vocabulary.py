"""What a backbone says about its texts: ids that mean something, and embeddings that can be put in their place."""

import json
from pathlib import Path

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from mmcl.backbones.openclip import GLYPH_CLIP, OpenCLIPBackbone, tiny_clip
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.testing.encoded import encoded


def of_tokenizer(tokenizer: object) -> OpenCLIPBackbone:
    backbone = tiny_clip()
    return OpenCLIPBackbone(backbone.clip, backbone.config, None, None, tokenizer)


@pytest.mark.parametrize("tokenizer", [tiny_clip().tokenizer, SimpleTokenizer(context_length=20)])
def test_a_tokenised_text_is_start_tokens_end_and_padding(tokenizer: object) -> None:
    backbone = of_tokenizer(tokenizer)
    vocabulary = backbone.vocabulary
    for text, inner in (("", 0), ("star", None)):
        tokens = backbone.tokenize([text])[0].tolist()
        end = tokens.index(vocabulary.end)
        assert tokens[0] == vocabulary.start
        assert inner is None or end == 1 + inner
        assert set(tokens[end + 1 :]) == {vocabulary.padding}


def test_the_vocabulary_is_as_large_as_the_embedding_table() -> None:
    assert tiny_clip().vocabulary.size == 2000


def test_the_shipped_tokeniser_names_a_class_that_every_allowed_transformers_has() -> None:
    described = json.loads((GLYPH_CLIP / "tokenizer_config.json").read_text())
    assert described["tokenizer_class"] == "PreTrainedTokenizerFast"  # transformers 5 writes a name of its own


def test_a_tokeniser_without_an_end_is_refused() -> None:
    def tokenizer(texts: list[str]) -> Tensor:
        return torch.zeros(len(texts), 20, dtype=torch.long)

    with pytest.raises(PluginError, match="'vocabulary' with start, end and padding"):
        _ = of_tokenizer(tokenizer).vocabulary


def test_own_embeddings_change_nothing_and_others_get_a_gradient() -> None:
    backbone = tiny_clip()
    tokens = backbone.tokenize(["star circle", "dot"])
    embedded = backbone.token_embedding(tokens).detach().requires_grad_()
    features = backbone.encode_embedded(tokens, embedded)
    assert torch.equal(features, encoded(backbone, TEXT, tokens).pooled)
    features.sum().backward()
    assert embedded.grad is not None
    # the tower is causal: what stands behind the end is not read
    end = (tokens[1] == backbone.vocabulary.end).nonzero().item()
    assert embedded.grad[1, : int(end) + 1].abs().sum() > 0
    assert not embedded.grad[1, int(end) + 1 :].any()


def test_the_embedding_is_put_back_even_after_an_error() -> None:
    backbone = tiny_clip()
    tokens = backbone.tokenize(["star"])
    before = encoded(backbone, TEXT, tokens).pooled
    with pytest.raises(RuntimeError):
        backbone.encode_embedded(tokens, torch.zeros(1, 3, 16))
    assert torch.equal(encoded(backbone, TEXT, tokens).pooled, before)


class Mute(Backbone):
    """Says nothing about texts."""

    def __init__(self) -> None:
        super().__init__()
        self.specs = {IMAGE: ModalitySpec((3, 8, 8))}
        self.towers = {IMAGE: Tower(self, frozenset({IMAGE}), 4)}
        self.preprocess_train = self.preprocess_eval = {}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(inputs[IMAGE].flatten(1)[:, :4])

    def tokenize(self, texts: object) -> Tensor:
        raise TypeError("it reads no text")

    @property
    def logit_scale(self) -> Tensor:
        return torch.ones(())

    def export(self, folder: Path) -> None:
        raise TypeError("it is exported nowhere")


@pytest.mark.parametrize("member", ["vocabulary", "token_embedding"])
def test_a_backbone_that_says_nothing_is_refused_by_name(member: str) -> None:
    with pytest.raises(PluginError, match=f"backbone Mute.*{member}"):
        getattr(Mute(), member)
