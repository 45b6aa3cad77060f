"""MultimodalModel: backbone -> fusion -> head."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Backbone, Encoded
from mmcl.models.fusion import MeanFusion
from mmcl.models.heads import Head, LinearHead, TextHead
from mmcl.models.output import Output
from mmcl.models.routing import Router
from mmcl.models.sites import ADDONS, AddOn, Site
from mmcl.signature import checked

_OWNED = ("head.", "router.", "parts.")


class MultimodalModel(nn.Module):
    """What learners train: ``model(inputs)`` scores the classes that ``inputs`` are asked about.

    Args:
        backbone: encodes each modality.
        head: scores label spaces; the default is CLIP's text classifier, or a linear one if nothing encodes text.
        fusion: combines modalities; the default is the mean over those present.

    Attributes:
        router: finds the way of each row through what strategies have added; without one there is one way for all.
        parts: what strategies keep in the model that sits in none of the backbone's modules, by owner.
        computing: makes the context of every pass, which decides its precision; copies pass in the same one.
    """

    @checked
    def __init__(self, backbone: Backbone, head: Head | None = None, fusion: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.fusion = fusion if fusion is not None else MeanFusion()
        self.head = head if head is not None else _default_head(backbone)
        self.router: Router | None = None
        self.parts = nn.ModuleDict()
        self.computing: Callable[[], AbstractContextManager[object]] = nullcontext
        self._met: set[int] = set()

    def forward(self, inputs: Inputs) -> Output:
        """Encode, fuse and score a batch: what is trained. Where no classes compete there are no scores."""
        with self.computing():
            output = self.encode(inputs)
            if len(inputs.asked.label_space):
                output.logits = self.head.score(output, inputs, inputs.asked.label_space)
        return output

    def predict(self, inputs: Inputs) -> Output:
        """Encode, fuse and decide: as ``forward``, with the scores that the head answers by at evaluation."""
        with self.computing():
            output = self.encode(inputs)
            if len(inputs.asked.label_space):
                output.logits = self.head.predict(output, inputs, inputs.asked.label_space)
                output.confidence = self.head.confidence
        return output

    def encode(self, inputs: Inputs) -> Output:
        """Features and their fusion, without scores."""
        with self.computing():
            if self.router is not None and inputs.route is None:
                inputs = inputs.replace(route=self._routed(self.router, inputs))
            encoded = self.backbone.encode(inputs)
            pooled, tokens = {}, {}
            for name, found in encoded.features.items():
                pooled[name] = found.pooled
                if found.tokens is not None:
                    tokens[name] = found.tokens
            embedded = self.head.embed(pooled, inputs)
            return Output(
                fused=self.fusion(embedded, encoded.present),
                features=embedded,
                present=encoded.present,
                tokens=tokens,
                route=inputs.route,
                logit_scale=encoded.logit_scale,
            )

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Features ``[N, D]`` of texts ``int64[N, L]`` that are no samples, such as prompts."""
        with self.computing():
            return self.backbone.encode_texts(tokens)

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The head's logits ``[B, C]`` of encoded inputs for any label space."""
        with self.computing():
            return self.head.score(output, inputs, label_space)

    @contextmanager
    def in_full_precision(self) -> Iterator[None]:
        """Passes inside the body are made in the precision of the weights."""
        computing, self.computing = self.computing, nullcontext
        try:
            yield
        finally:
            self.computing = computing

    def attach(self, owner: str, site: Site, addon: AddOn) -> None:
        """Add a module at one of the backbone's sites: ``backbone.attach``."""
        self.backbone.attach(owner, site, addon)

    def _routed(self, router: Router, inputs: Inputs) -> Route:
        """The way of each row: that of its experience where it is known and was met, else what the router finds."""
        known: list[tuple[Inputs, Encoded]] = []

        def plain(asked: Inputs) -> Encoded:
            for other, encoded in known:
                if other is asked:
                    return encoded
            way = Route.plain(asked.batch_size, next(iter(asked.values())).device)
            known.append((asked, self.backbone.encode(asked.replace(route=way))))
            return known[-1][1]

        with torch.no_grad():
            if inputs.task_ids is not None:
                met = torch.tensor(sorted(self._met), dtype=torch.long, device=inputs.task_ids.device)
                return router.told(torch.where(torch.isin(inputs.task_ids, met), inputs.task_ids, PLAIN), inputs, plain)
            route: Route = router(inputs, plain)
        return route

    def meet(self, arrival: Arrival) -> None:
        """Make room for an experience in the head, the add-ons and the router, unless that has been done."""
        if arrival.index in self._met:
            return
        self._met.add(arrival.index)
        self.head.meet(arrival)
        self.backbone.meet(arrival)
        if self.router is not None:
            self.router.meet(arrival)

    def shared_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named trainable parameters that serve every experience: those of backbone and fusion.

        Parameters of the head, of add-ons, of the router and of parts are their owners' business.
        """
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and not name.startswith(_OWNED) and f".{ADDONS}." not in name:
                yield name, parameter


def _default_head(backbone: Backbone) -> Head:
    return TextHead(backbone) if TEXT in backbone.towers else LinearHead(backbone.width)
