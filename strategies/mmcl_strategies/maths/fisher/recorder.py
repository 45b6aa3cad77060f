"""Records one forward pass and proposes per-sample gradients for everything used in rows of samples.

Supported modules are recorded by forward hooks, and count only if they ran exactly once and nobody wrote into what they
read or wrote. Bare parameters (embeddings, projections) are found in the backward graph by the operation that uses
them. All proposals are checked in ``fisher`` before they count.
"""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import Node

from mmcl_strategies.maths.fisher.per_sample import Call, Dense, Outer, PerSample, rule_for


class Recorder:
    """Context manager that records the calls of supported modules during a forward pass.

    Args:
        parameters: name -> trainable parameter whose gradients are wanted.
        row_aligned: modules that, with all their submodules, process each sample in rows of its own, samples along the
            first dimension.
    """

    def __init__(self, parameters: Mapping[str, Tensor], row_aligned: Iterable[nn.Module]) -> None:
        self._name_of = {id(parameter): name for name, parameter in parameters.items()}
        self._modules = {id(module): module for root in row_aligned for module in root.modules()}
        self._calls: dict[int, list[Call]] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> "Recorder":
        for module in self._modules.values():
            if rule_for(module) is not None:
                self._handles.append(module.register_forward_hook(self._record, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        written = output[0] if isinstance(output, tuple) else output
        arguments = arguments or tuple(options[name] for name in ("query", "input") if name in options)
        if arguments and isinstance(arguments[0], Tensor) and isinstance(written, Tensor):
            first, read = arguments[0], arguments[0].detach()
            arguments = tuple(read if value is first else value for value in arguments)
            options = {name: read if value is first else value for name, value in options.items()}
            call = Call(arguments, options, written, (read._version, written._version))
            self._calls.setdefault(id(module), []).append(call)

    def gradients(self, values: Float[Tensor, " B"]) -> dict[str, PerSample]:
        """Proposed per-sample gradients of ``values`` by parameter name; the graph of ``values`` is kept."""
        samples = len(values)
        once = {
            key: calls[0]
            for key, calls in self._calls.items()
            if len(calls) == 1 and calls[0].untouched and calls[0].output.requires_grad
        }
        ruled = {
            self._name_of[id(parameter)]
            for key in once
            for parameter in self._modules[key].parameters()
            if id(parameter) in self._name_of
        }
        raw = {
            id(parameter): parameter
            for module in self._modules.values()
            for parameter in module._parameters.values()
            if parameter is not None and self._name_of.get(id(parameter), "") not in ruled | {""}
        }
        if not once and not raw:
            return {}
        with _Consumers(values, raw) as consumers:
            deltas = torch.autograd.grad(
                values.sum(),
                [call.output for call in once.values()] + list(raw.values()),
                retain_graph=True,
                allow_unused=True,
            )
        proposals: dict[str, PerSample] = {}
        for (key, call), delta in zip(once.items(), deltas, strict=False):
            module = self._modules[key]
            rule = rule_for(module)
            if delta is None or rule is None or call.output.shape[0] % samples:
                continue
            for attribute, gradient in rule(module, call, delta.detach(), samples).items():
                name = self._name_of.get(id(_attribute(module, attribute)))
                if name is not None:
                    proposals[name] = gradient
        for key, gradient in consumers.gradients().items():
            proposals[self._name_of[key]] = gradient
        return proposals


class _Consumers:
    """Catches the gradient that reaches the one operation in which a bare parameter is used.

    Covers addition to and concatenation with rows of samples (position and class embeddings) and right
    multiplication (projections).
    """

    THROUGH = ("ViewBackward0", "UnsqueezeBackward0", "ReshapeAliasBackward0", "UnsafeViewBackward0")

    def __init__(self, values: Tensor, parameters: Mapping[int, Tensor]) -> None:
        self._parameters = parameters
        self._samples = len(values)
        self._nodes: dict[int, Node] = {}
        self._caught: dict[int, Tensor] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        if not parameters or values.grad_fn is None:
            return
        users, leaves = backward_graph(values.grad_fn)
        for node in leaves:
            key, above = id(node.variable), users[node]
            while len(above) == 1 and above[0].name() in self.THROUGH:
                above = users[above[0]]
            if key in parameters and len(users[node]) == 1 and len(above) == 1:
                self._nodes[key] = above[0]

    def __enter__(self) -> "_Consumers":
        for key, node in self._nodes.items():
            self._handles.append(node.register_prehook(self._catcher(key)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _catcher(self, key: int) -> Callable[[tuple[Tensor, ...]], None]:
        def catch(gradients: tuple[Tensor, ...]) -> None:
            if gradients and gradients[0] is not None:
                self._caught[key] = gradients[0].detach()

        return catch

    def gradients(self) -> dict[int, PerSample]:
        found: dict[int, PerSample] = {}
        for key, delta in self._caught.items():
            parameter, node = self._parameters[key], self._nodes[key]
            if delta.shape[:1] != (self._samples,):
                continue
            if node.name() in ("AddBackward0", "ExpandBackward0") and delta[0].numel() % parameter.numel() == 0:
                found[key] = Dense(delta.reshape(self._samples, -1, *parameter.shape).sum(1))
            elif node.name() == "MmBackward0" and parameter.ndim == 2:
                read = cast(Any, node)._saved_self
                if read is not None and parameter.shape == (read.shape[1], delta.shape[1]):
                    found[key] = Outer(read.detach()[:, None], delta[:, None], parameter.shape)
        return found


def backward_graph(root: Node) -> tuple[dict[Any, list[Any]], list[Any]]:
    """The nodes that use each node of the backward graph below ``root``, and the leaves, ``leaf.variable`` each."""
    users: dict[Any, list[Any]] = {root: []}
    leaves, open_nodes = [], [root]
    while open_nodes:
        node = open_nodes.pop()
        if hasattr(node, "variable"):
            leaves.append(node)
        for below, _ in node.next_functions:
            if below is None:
                continue
            if below not in users:
                users[below] = []
                open_nodes.append(below)
            users[below].append(node)
    return users, leaves


def _attribute(module: nn.Module, path: str) -> object:
    found: object = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return found
