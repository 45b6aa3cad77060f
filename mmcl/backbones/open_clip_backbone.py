"""Image and text towers of an open_clip model as a backbone."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmcl.backbones.open_clip_sites import sites_of_transformer
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, Features, Tower, Vocabulary
from mmcl.models.sites import Site

if TYPE_CHECKING:
    from open_clip.transform import PreprocessCfg


class OpenCLIPBackbone(Backbone):
    """Image and text towers of an open_clip model.

    Args:
        clip: the model.
        config: its open_clip configuration (``model_cfg``).
        preprocess_train: image -> tensor with random resized crop, as open_clip builds it.
        preprocess_eval: image -> tensor.
        tokenizer: texts -> token ids.
        origin: what the report calls it, such as its architecture and its weights.
        remarks: what is not sure about it.
    """

    export_format = "open_clip"

    def __init__(
        self,
        clip: nn.Module,
        config: dict[str, Any],
        preprocess_train: Any,
        preprocess_eval: Any,
        tokenizer: Any,
        *,
        origin: Mapping[str, str] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.clip = clip
        self.config = config
        self.tokenizer = tokenizer
        self.origin = dict(origin or {"model": type(clip).__name__})
        self.remarks = tuple(remarks)
        tokens = _TokensOfOne(tokenizer)
        self.preprocess_train = {IMAGE: preprocess_train, TEXT: tokens}
        self.preprocess_eval = {IMAGE: preprocess_eval, TEXT: tokens}
        size = clip.visual.image_size  # type: ignore[union-attr]
        height, width = size if isinstance(size, tuple) else (size, size)
        self.specs = {
            IMAGE: ModalitySpec((3, int(height), int(width))),
            TEXT: ModalitySpec(tuple(tokens("").shape), torch.int64),
        }
        # open_clip spreads the text tower over the model, unless it is a module of its own
        modules = {IMAGE: clip.visual, TEXT: clip.text if hasattr(clip, "text") else clip.transformer}
        width = int(config["embed_dim"])
        self.towers = {name: Tower(module, frozenset({name}), width) for name, module in modules.items()}  # type: ignore[arg-type]

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """``image``: ``float[B, 3, H, W]``; ``text``: ``int64[B, L]``; both -> ``[B, D]``, not normalised."""
        if name == IMAGE:
            return Features(self.clip.encode_image(inputs[IMAGE]))  # type: ignore[operator]
        return Features(self.clip.encode_text(inputs[TEXT]))  # type: ignore[operator]

    def sites(self, tower: str) -> list[Site]:
        """Those of its residual attention blocks; none where open_clip's tower has no such blocks."""
        return list(sites_of_transformer(self.clip, self.towers[tower].module, tower))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """open_clip's tokeniser of this model."""
        tokens: Tensor = self.tokenizer(list(texts))
        return tokens

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids of CLIP's own tokeniser, or of a Hugging Face one that has a start and an end.

        Raises:
            PluginError: if the tokeniser lacks one of them.
        """
        from open_clip.tokenizer import SimpleTokenizer

        size = int(self.token_embedding.num_embeddings)  # type: ignore[arg-type]
        if isinstance(self.tokenizer, SimpleTokenizer):
            return Vocabulary(size, self.tokenizer.sot_token_id, self.tokenizer.eot_token_id, padding=0)
        inner = getattr(self.tokenizer, "tokenizer", None)
        start, end, padding = (getattr(inner, f"{name}_token_id", None) for name in ("bos", "eos", "pad"))
        if start is None or end is None or padding is None:
            raise self._lacking("'vocabulary' with start, end and padding", "token ids")
        return Vocabulary(size, start, end, padding)

    @property
    def token_embedding(self) -> nn.Module:
        """open_clip's embedding table.

        Raises:
            PluginError: if the text tower is not open_clip's own.
        """
        owner = getattr(self.clip, "text", self.clip)
        if not hasattr(owner, "token_embedding"):
            raise self._lacking("'token_embedding'", "embeddings of tokens")
        return owner.token_embedding  # type: ignore[return-value]

    @property
    def logit_scale(self) -> Tensor:
        """``exp`` of CLIP's stored parameter."""
        return self.clip.logit_scale.exp()  # type: ignore[operator]

    @property
    def description(self) -> dict[str, str]:
        """Where it comes from, and the function that it computes apart from its weights."""
        activations = {name: _activations(tower.module) for name, tower in self.towers.items()}
        each = [f"{words} ({name})" for name, words in activations.items()]
        prepared = self._preprocessing
        return {
            **self.origin,
            "activation": activations[IMAGE] if len(set(activations.values())) == 1 else ", ".join(each),
            "image size": " x ".join(str(side) for side in self.specs[IMAGE].shape[1:]),
            "mean": str(list(prepared.mean)),
            "std": str(list(prepared.std)),
            "interpolation": prepared.interpolation,
            "resize mode": prepared.resize_mode,
        }

    @property
    def _preprocessing(self) -> "PreprocessCfg":
        from open_clip.transform import PreprocessCfg

        return PreprocessCfg(**self.clip.visual.preprocess_cfg)  # type: ignore[union-attr,arg-type]

    def export(self, folder: Path) -> None:
        """Write ``open_clip_config.json``, ``open_clip_model.safetensors`` and, if it has one, the tokeniser.

        ``open_clip.create_model_and_transforms("local-dir:FOLDER")`` gives the same model in plain open_clip.
        """
        from open_clip.tokenizer import HFTokenizer
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        description = {"model_cfg": self.config, "preprocess_cfg": asdict(self._preprocessing)}
        (folder / "open_clip_config.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        weights = {name: value.detach().cpu().contiguous() for name, value in self.clip.state_dict().items()}
        save_file(weights, folder / "open_clip_model.safetensors")
        if isinstance(self.tokenizer, HFTokenizer):
            self.tokenizer.save_pretrained(str(folder))

    def __deepcopy__(self, memo: dict[int, Any]) -> "OpenCLIPBackbone":
        """A copy with its own weights; preprocessing and tokeniser, which hold no weights, are shared."""
        copy = OpenCLIPBackbone(
            deepcopy(self.clip, memo),
            deepcopy(self.config),
            self.preprocess_train[IMAGE],
            self.preprocess_eval[IMAGE],
            self.tokenizer,
            origin=self.origin,
            remarks=self.remarks,
        )
        copy._holders = deepcopy(self._holders, memo)
        copy.adapted, copy.lengthened = set(self.adapted), set(self.lengthened)
        memo[id(self)] = copy
        return copy.train(self.training)


@dataclass(frozen=True)
class _TokensOfOne:
    """Preprocessing of a text; an object of its own, so that worker processes do not receive the model."""

    tokenizer: Any

    def __call__(self, text: str) -> Tensor:
        tokens: Tensor = self.tokenizer([text])[0]
        return tokens


def _activations(tower: nn.Module) -> str:
    """The non-linearities inside a tower by the names of their classes, such as ``QuickGELU``."""
    names = {type(module).__name__ for module in tower.modules() if not list(module.children())}
    return ", ".join(sorted(name for name in names if "LU" in name)) or "of its own"
