"""A device that is none: tensors say that they are on ``cuda:0`` and keep to its manners, while the CPU does the work.

    with pretended_cuda():
        model.to("cuda:0")

As on a GPU, an operation refuses tensors of both sides unless those of the CPU are single numbers or indices,
generators of the CPU are refused for numbers of the device, and nothing becomes a NumPy array before ``cpu()``. To C++
such a tensor is on ``meta``, like torch's own fake tensors: autograd needs no device thread for it, and what C++ makes
of it is on the device, too. Name the device with its index: C++ would ask the driver for the current one.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.data.dataloader import _SingleProcessDataLoaderIter

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
aten = torch.ops.aten
_CROSSING = {aten._to_copy.default, aten.copy_.default, aten.copy.default}
_INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class OnDevice(Tensor):
    """A tensor that claims to be on the device; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> "OnDevice":
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device="meta",
            requires_grad=requires_grad,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return aten._to_copy.default(self, device=CPU)  # type: ignore[no-any-return]

    def cuda(self, *_: Any, **__: Any) -> Tensor:
        return self

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        copied = kwargs.pop("copy", False)
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype)
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        target, kind = device or CUDA, dtype or self.dtype
        if target.type == "cuda" and kind == self.dtype and not copied:
            return self
        return aten._to_copy.default(self, device=target, dtype=kind)  # type: ignore[no-any-return]

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=CUDA)

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_on_device(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_on_device(index), value)

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_: Any) -> Any:
        self.numpy()

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnDevice":
        if id(self) not in memo:
            memo[id(self)] = OnDevice(self.held.clone(), self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                memo[id(self)]._is_param = True
        return memo[id(self)]  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnDevice({self.held})"


def _on_device(index: Any) -> Any:
    """Lists among indices become tensors of the device."""
    if isinstance(index, tuple):
        return tuple(map(_on_device, index))
    if not isinstance(index, list):
        return index
    return torch.tensor(index, dtype=None if index else torch.long, device=CUDA)


def dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU, unless a GPU would have refused it; its results are where a GPU's would be."""
    leaves, _ = tree_flatten((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
    here = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, OnDevice)]
    assert not any(tensor.is_meta for tensor in here), f"{func} got a tensor that slipped through the pretence"
    named = kwargs.get("device")
    result_there = bool(there) if named is None else torch.device(named).type in ("cuda", "meta")
    if there and any(tensor.dim() for tensor in _minded(func, args, here)):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu in {func}")
    if result_there and any(isinstance(leaf, torch.Generator) for leaf in leaves):
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' in {func}")
    plain_args, plain_kwargs = tree_map_only(OnDevice, lambda tensor: tensor.held, (args, kwargs))
    if named is not None:
        plain_kwargs["device"] = CPU
        plain_kwargs.pop("pin_memory", None)
    result = func(*plain_args, **plain_kwargs)
    if func._schema.is_mutable:
        return _itself(func, args, kwargs, result)
    return tree_map_only(Tensor, OnDevice, result) if result_there else result


def _minded(func: Any, args: Any, here: list[Tensor]) -> list[Tensor]:
    """Tensors of the CPU that may not meet one of the device: neither those that are copied nor indices into it."""
    if func in _CROSSING:
        return []
    if func in _INDEXING and isinstance(args[0], OnDevice):
        return [tensor for tensor in here if not any(tensor is index for index in args[1])]
    return here


def _itself(func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> Any:
    """What an operation in place returns: the tensors it wrote to."""
    arguments = func._schema.arguments
    written = [
        args[i] if i < len(args) else kwargs[argument.name]
        for i, argument in enumerate(arguments)
        if argument.alias_info is not None
        and argument.alias_info.is_write
        and (i < len(args) or argument.name in kwargs)
    ]
    if len(func._schema.returns) == 1 and isinstance(result, Tensor):
        return written[0]
    there = any(isinstance(leaf, OnDevice) for leaf in tree_flatten((args, kwargs))[0])
    return tree_map_only(Tensor, OnDevice, result) if there else result


class _Pretence(TorchDispatchMode):
    """Catches what begins without a tensor of the device: factories and copies to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


def _begun(self: Any, loader: Any, begin: Any = _SingleProcessDataLoaderIter.__init__) -> None:
    """An iterator that pins if it should, although torch finds no accelerator."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no accelerator is found")
        begin(self, loader)
    self._pin_memory = loader.pin_memory


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """Let ``cuda:0`` exist inside the body; pinned tensors stay where they are."""
    lifting = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    try:
        with (
            patch("torch.cuda._lazy_init", lambda: None),
            patch("torch.cuda.get_device_name", lambda *_: "pretended"),
            patch.object(Tensor, "pin_memory", lambda tensor, *_: tensor),
            patch.object(_SingleProcessDataLoaderIter, "__init__", _begun),
            _Pretence(),
        ):
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(lifting)  # type: ignore[attr-defined]
