"""The weights a checkpoint holds: all but those that are still as they were loaded."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from mmcl.errors import CheckpointError
from mmcl.models.multimodal import MultimodalModel


def frozen(model: nn.Module, names: Collection[str]) -> set[str]:
    """Those of ``names`` whose parameters need no gradient."""
    return {name for name, parameter in model.named_parameters() if name in names and not parameter.requires_grad}


def model_tensors(model: MultimodalModel, untouched: Collection[str]) -> dict[str, Tensor]:
    """Parameters and buffers; ``untouched`` pre-trained weights are kept by reference, in the configuration."""
    return {name: value.detach().cpu() for name, value in model.state_dict().items() if name not in untouched}


def restore_model(model: MultimodalModel, tensors: Mapping[str, Tensor]) -> set[str]:
    """Put back what ``model_tensors`` returned.

    Returns:
        Names of the parameters that stay as they are, the untouched ones.

    Raises:
        CheckpointError: if the model has other parameters than the ones saved.
    """
    unexpected = model.load_state_dict(tensors, strict=False).unexpected_keys
    absent = {name for name, _ in model.named_parameters() if name not in tensors}
    missing = sorted(absent - frozen(model, absent))
    if unexpected or missing:
        raise CheckpointError(
            "checkpoint",
            found=f"{len(unexpected)} unknown and {len(missing)} missing tensors: {(unexpected + missing)[:3]}",
            allowed="the tensors of the model that the configuration describes",
            remedy="Do not change backbone or strategies in the config.toml of a run that has begun.",
        )
    return absent
