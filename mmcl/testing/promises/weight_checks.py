"""What the weights of a backbone promise: they can be copied, saved, exported and moved."""

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mmcl.data.nested import leaves
from mmcl.models.backbone import Backbone
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.encoded import encoded_by
from mmcl.testing.laboratory.miniature import miniature, read_by
from mmcl.testing.laboratory.nested import difference

_ROWS = 3


@promise
def copies(backbone: Subject) -> None:
    """A deep copy has the same features and mode, and shares no memory with the original."""
    miniature(backbone)
    mini = backbone.fresh().miniature().eval()
    copy = deepcopy(mini)
    mine = {tensor.untyped_storage().data_ptr() for tensor in mini.state_dict().values() if tensor.numel()}
    for name, tensor in copy.state_dict().items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in mine:
            raise BrokenPromiseError(f"{name!r} of a deep copy is that of the original", "A teacher must not follow.")
    if copy.training != mini.training:
        raise BrokenPromiseError("a deep copy is in another mode", "Keep the mode in __deepcopy__.")
    before = _features(mini)
    _require_same(before, _features(copy), "of a deep copy", "Copy everything that 'encode' reads.")
    with torch.no_grad():
        for parameter in mini.parameters():
            parameter.add_(1.0)
    _require_same(
        before, _features(copy), "of a deep copy beside a changed original", "Let no hook close over a module."
    )


@promise
def saved_weights(backbone: Subject) -> None:
    """Its state dictionary holds everything that its features depend on."""
    mini = miniature(backbone)
    trained = deepcopy(mini)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    fresh = backbone.fresh().miniature().eval()
    fresh.load_state_dict(trained.state_dict())
    _require_same(
        _features(trained),
        _features(fresh),
        "loaded from a state dictionary",
        "Register tensors as parameters or buffers.",
    )


@promise
def registered_tensors(backbone: Subject) -> None:
    """All its tensors are parameters or buffers, which move with it to another device."""
    mini = miniature(backbone)
    known = {id(tensor) for tensor in (*mini.parameters(), *mini.buffers())}
    for path, module in mini.named_modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            for _, leaf in leaves(value):
                if isinstance(leaf, Tensor) and id(leaf) not in known:
                    raise BrokenPromiseError(
                        f"{'.'.join(filter(None, (path, name)))!r} is a tensor that nobody moves",
                        "Use register_buffer.",
                    )
    if torch.cuda.is_available():
        moved = deepcopy(mini).to("cuda")
        with torch.no_grad():
            for name in mini.towers:
                read = read_by(mini, name, _ROWS)
                encoded_by(moved, name, {modality: value.to("cuda") for modality, value in read.items()})


@promise
def exported_weights(backbone: Subject) -> None:
    """What it exports can be loaded again, with the same features."""
    mini = deepcopy(miniature(backbone))
    with torch.no_grad():
        for parameter in mini.parameters():
            parameter.mul_(1.01)
    with TemporaryDirectory() as name:
        folder = Path(name) / "exported"
        mini.export(folder)
        if not folder.is_dir() or not any(folder.iterdir()):
            raise BrokenPromiseError("export writes nothing into the folder", "Write weights and configuration there.")
        loader = backbone.plugin.of_export(folder)
        if loader is None:
            raise NotApplicable("no option of it loads what it exports (of_export gives None)")
        again = loader.build().eval()
        _require_same(
            _features(mini),
            _features(again),
            "exported and loaded",
            "Export and load the same weights and configuration.",
            1e-6,
        )


WEIGHT_CHECKS: tuple[Check, ...] = (copies, saved_weights, registered_tensors, exported_weights)


@torch.no_grad()
def _features(backbone: Backbone) -> dict[str, Tensor]:
    return {name: encoded_by(backbone, name, read_by(backbone, name, _ROWS)).pooled for name in backbone.towers}


def _require_same(
    one: dict[str, Tensor], other: dict[str, Tensor], what: str, remedy: str, tolerance: float = 0.0
) -> None:
    if found := difference(one, other, tolerance):
        raise BrokenPromiseError(f"the features {what}: {found}", remedy)
