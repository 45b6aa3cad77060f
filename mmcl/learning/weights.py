"""The weights a checkpoint holds: those that were trained, and buffers."""

from collections.abc import Mapping

from torch import Tensor

from mmcl.errors import CheckpointError
from mmcl.models.multimodal import MultimodalModel


def model_tensors(model: MultimodalModel) -> dict[str, Tensor]:
    """Trainable parameters and buffers; frozen pre-trained weights are kept by reference, in the configuration."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: value.detach().cpu() for name, value in model.state_dict().items() if name not in frozen}


def restore_model(model: MultimodalModel, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``model_tensors`` returned.

    Raises:
        CheckpointError: if the model has other parameters than the ones saved.
    """
    unexpected = model.load_state_dict(tensors, strict=False).unexpected_keys
    missing = [n for n, p in model.named_parameters() if p.requires_grad and n not in tensors]
    if unexpected or missing:
        raise CheckpointError(
            "checkpoint",
            found=f"{len(unexpected)} unknown and {len(missing)} missing tensors: {(unexpected + missing)[:3]}",
            allowed="the tensors of the model that the configuration describes",
            remedy="Do not change backbone or strategies in the config.toml of a run that has begun.",
        )
