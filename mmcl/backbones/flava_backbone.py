"""Image, text and fusion encoders of transformers' FLAVA as a backbone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from mmcl.backbones.flava_sites import grown, open_entrance, sites_of_encoder
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, Features, Tower, Vocabulary
from mmcl.models.sites import Site

if TYPE_CHECKING:
    from transformers import FlavaModel

FUSION = "fusion"  # the tower that goes on from image and text


class FlavaBackbone(Backbone):
    """Towers ``image``, ``text`` and ``fusion`` of a FLAVA, each as wide as the others.

    Pooled features of image and text are those that FLAVA compares, its projections of their first tokens; those of the
    fusion are its first token. Tokens are what leaves the last norm. Rows that lack image or text have no fusion.

    Args:
        flava: the model.
        image_processor: its own, which resizes, crops and normalises images.
        tokenizer: its own.
        length: L, tokens of a text, with padding.
        origin: what the report calls it, such as the folder of its weights.
    """

    export_format = "transformers"

    def __init__(
        self,
        flava: "FlavaModel",
        image_processor: Any,
        tokenizer: Any,
        length: int,
        *,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.flava = flava
        self.origin = dict(origin or {"model": type(flava).__name__})
        pixels, tokens = Pixels(image_processor), Tokens(tokenizer, length)
        # in training, too: a crop or a flip may change the answer to a question
        self.preprocess_train = self.preprocess_eval = {IMAGE: pixels, TEXT: tokens}
        self.specs = {
            IMAGE: ModalitySpec(tuple(pixels(Image.new("RGB", (8, 8))).shape)),
            TEXT: ModalitySpec((length,), torch.int64),
        }
        width, each = int(flava.config.projection_dim), (IMAGE, TEXT)
        self._models: dict[str, Any] = {
            IMAGE: flava.image_model,
            TEXT: flava.text_model,
            FUSION: flava.multimodal_model,
        }
        self.towers = {
            **{name: Tower(self._models[name], frozenset({name}), width) for name in each},
            FUSION: Tower(flava.multimodal_model, frozenset(each), int(flava.mm_hidden_size), upon=frozenset(each)),
        }
        self._read: dict[str, tuple[Inputs, Any]] = {}
        for model in self._models.values():
            if not hasattr(model.encoder, "entrance"):
                open_entrance(model.encoder)

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """``image``: ``float[B, 3, H, W]``; ``text``: ``int64[B, L]``; ``fusion``: both. Not normalised."""
        if name == FUSION:
            tokens = self._fused(inputs)
            return Features(tokens[:, 0], tokens)
        tokens = self._encoded(name, inputs).last_hidden_state
        project = self.flava.image_projection if name == IMAGE else self.flava.text_projection
        return Features(project(tokens[:, 0]), tokens)

    def let_go(self) -> None:
        """What image and text encoders made of the batch."""
        self._read.clear()

    def sites(self, tower: str) -> list[Site]:
        """Those of its encoder."""
        return list(sites_of_encoder(self._models[tower], masked=tower != IMAGE))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """The tokeniser of the model, cut and padded to L."""
        return self._tokens.of(texts)

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids of its tokeniser, which is BERT's or has a start and an end.

        Raises:
            PluginError: if the tokeniser lacks one of them.
        """
        tokenizer = self._tokens.tokenizer
        start = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if start is None or end is None or tokenizer.pad_token_id is None:
            raise self._lacking("'vocabulary' with start, end and padding", "token ids")
        size = int(self._models[TEXT].config.vocab_size)
        return Vocabulary(size, start, end, tokenizer.pad_token_id)

    @property
    def token_embedding(self) -> torch.nn.Module:
        """FLAVA's table of words; positions are added behind it."""
        return self.flava.text_model.embeddings.word_embeddings

    @property
    def logit_scale(self) -> Tensor:
        """``exp`` of FLAVA's stored parameter."""
        return self.flava.logit_scale.exp()

    @property
    def description(self) -> dict[str, str]:
        """Where it comes from, and the function that it computes apart from its weights."""
        processor = self._pixels.processor
        activations = {str(model.config.hidden_act): None for model in self._models.values()}
        return {
            **self.origin,
            "activation": ", ".join(activations),
            "image size": " x ".join(str(side) for side in self.specs[IMAGE].shape[1:]),
            "mean": str([round(float(value), 6) for value in processor.image_mean]),
            "std": str([round(float(value), 6) for value in processor.image_std]),
            "text length": str(self._tokens.length),
        }

    def export(self, folder: Path) -> None:
        """Write model, image processor and tokeniser as transformers does, whose ``from_pretrained`` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        with without_bars():
            for part in (self.flava, self._pixels.processor, self._tokens.tokenizer):
                part.save_pretrained(folder)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FlavaBackbone":
        """A copy with its own weights; preprocessing and tokeniser, which hold no weights, are shared."""
        copy = FlavaBackbone(
            deepcopy(self.flava, memo),
            self._pixels.processor,
            self._tokens.tokenizer,
            self._tokens.length,
            origin=self.origin,
        )
        copy._holders = deepcopy(self._holders, memo)
        copy.adapted, copy.lengthened = set(self.adapted), set(self.lengthened)
        memo[id(self)] = copy
        return copy.train(self.training)

    def _encoded(self, name: str, inputs: Inputs) -> Any:
        """What the encoder of image or text makes of these very inputs, once for its own tower and for the fusion."""
        if name in self._read and self._read[name][0] is inputs:
            return self._read[name][1]
        if name == IMAGE:
            found = self.flava.image_model(pixel_values=inputs[IMAGE], output_hidden_states=True, return_dict=True)
        else:
            found = self.flava.text_model(
                input_ids=inputs[TEXT],
                attention_mask=self._words(inputs),
                output_hidden_states=True,
                return_dict=True,
            )
        self._read[name] = (inputs, found)
        return found

    def _fused(self, inputs: Inputs) -> Tensor:
        """``[B, L, W]``, the first token, then image and text, which come without their last norms, as in FLAVA."""
        image, text = (self._encoded(name, inputs).hidden_states[-1] for name in (IMAGE, TEXT))
        model, words = self.flava.multimodal_model, grown(self._words(inputs), text.shape[1])
        seen = torch.ones(len(image), image.shape[1] + int(model.use_cls_token), device=image.device)
        entering = [self.flava.image_to_mm_projection(image), self.flava.text_to_mm_projection(text)]
        found = model(torch.cat(entering, dim=1), attention_mask=torch.cat([seen, words], dim=1), return_dict=True)
        tokens: Tensor = found.last_hidden_state
        return tokens

    def _words(self, inputs: Inputs) -> Tensor:
        """``int64[B, L]``: 1 where a token is no padding."""
        words: Tensor = inputs[TEXT] != self._tokens.tokenizer.pad_token_id
        return words.long()

    @property
    def _pixels(self) -> "Pixels":
        pixels = self.preprocess_eval[IMAGE]
        assert isinstance(pixels, Pixels)
        return pixels

    @property
    def _tokens(self) -> "Tokens":
        tokens = self.preprocess_eval[TEXT]
        assert isinstance(tokens, Tokens)
        return tokens


@dataclass(frozen=True)
class Pixels:
    """Preprocessing of an image; an object of its own, so that worker processes do not receive the model."""

    processor: Any

    def __call__(self, image: Image.Image) -> Tensor:
        """``float[3, H, W]``, resized, cropped and normalised as the processor says."""
        pixels: Tensor = self.processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return pixels


@dataclass(frozen=True)
class Tokens:
    """Preprocessing of texts, likewise."""

    tokenizer: Any
    length: int

    def __call__(self, text: str) -> Tensor:
        """``int64[L]`` of a text."""
        return self.of([text])[0]

    def of(self, texts: Sequence[str]) -> Tensor:
        """``int64[N, L]`` of N texts."""
        found: Tensor = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
        )["input_ids"]
        return found


@contextmanager
def without_bars() -> Iterator[None]:
    """Transformers draws no bars of its own inside the body: a run has one, or is to be quiet."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
