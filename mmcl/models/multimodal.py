"""MultimodalModel: backbone -> fusion -> head."""

from collections.abc import Iterator

from torch import nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import TEXT
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone
from mmcl.models.fusion import MeanFusion
from mmcl.models.heads import Head, LinearHead, TextHead
from mmcl.models.output import Output


class MultimodalModel(nn.Module):
    """What learners train: ``model(inputs)`` scores the classes of ``model.label_space``.

    Args:
        backbone: encodes each modality.
        head: scores label spaces; the default is CLIP's text classifier, or a linear one if nothing encodes text.
        fusion: combines modalities; the default is the mean over those present.

    Attributes:
        label_space: the classes that compete in the next forward pass; the learner sets it.
    """

    def __init__(self, backbone: Backbone, head: Head | None = None, fusion: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.fusion = fusion if fusion is not None else MeanFusion()
        self.head = head if head is not None else _default_head(backbone)
        self.label_space = LabelSpace()

    def forward(self, inputs: Inputs) -> Output:
        """Encode, fuse and score a batch."""
        output = self.encode(inputs)
        assert output.fused is not None
        output.logits = self.head.logits(output.fused, self.label_space)
        return output

    def encode(self, inputs: Inputs) -> Output:
        """Features and their fusion, without scores."""
        features = {name: self.backbone.encode(name, value).pooled for name, value in inputs.items()}
        return Output(features=features, fused=self.fusion(features, inputs.present))

    def shared_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named trainable parameters that serve every experience: those of backbone and fusion, not of the head."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and not name.startswith("head."):
                yield name, parameter


def _default_head(backbone: Backbone) -> Head:
    return TextHead(backbone) if TEXT in backbone.specs else LinearHead(backbone.embed_dim)
