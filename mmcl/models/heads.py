"""Heads: from fused features to the scores of a label space."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.modality import TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.former import refuse_former
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Backbone
from mmcl.models.by_value import ByValue
from mmcl.models.output import Output, probabilities


class Head(nn.Module, ABC):
    """Scores the classes of any label space; which one is asked for is an argument, never a hidden mode."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        changes = {
            "grow": "meet(arrival), whose label_space has the new classes",
            "meet(task_id, label_space, modalities)": "meet(arrival)",
        }
        refuse_former(cls, changes)

    @abstractmethod
    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """Logits ``[B, C]`` of encoded inputs, one column per class of ``label_space``: what is trained.

        Args:
            output: with ``features`` and ``fused``.
            inputs: what they were computed from.
            label_space: the classes to score.
        """

    def embed(self, features: dict[str, Tensor], inputs: Inputs) -> dict[str, Tensor]:
        """What samples are compared by, as in retrieval: the backbone's features, unless a head makes others of them.

        Args:
            features: modality -> pooled features ``[B, D]`` of the backbone.
            inputs: what they were computed from.
        """
        return features

    def predict(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """Scores ``[B, C]`` whose largest is the answer at evaluation; where nothing else is decided, the logits."""
        return self.score(output, inputs, label_space)

    def confidence(self, scores: Tensor) -> Tensor:
        """How sure the head is of every class: probabilities ``[B, C]`` of what ``predict`` gave.

        Their softmax, as of logits; a head whose scores are none says here what they are.
        """
        return probabilities(scores)

    def meet(self, arrival: Arrival) -> None:
        """Make room for an experience; called once for each, before there is an optimiser for it.

        Heads made of text need none.
        """

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether the head can score these classes; heads made of text can score any."""
        return True

    @property
    def prompted(self) -> "TextHead | None":
        """What embeds prompts of the classes, if these are what it scores by."""
        return None

    def alike(self, label_space: LabelSpace) -> list[list[ClassLabel]]:
        """Groups of classes that the head can never tell apart, whatever is trained; most heads know none."""
        return []


Way = tuple[int, float]  # that prompts take: the experience whose additions they pass, and how much of them
_Prompts = tuple[Tensor, Tensor | None]  # tokens, and the class each belongs to unless there is one for each


class TextHead(Head):
    """CLIP's zero-shot classifier: cosine similarity to the embedded prompts of each class, times the logit scale.

    For every class all its prompts are embedded, normalised, averaged and normalised again (MTIL protocol). With a
    single template this is plain CLIP. Text features carry gradient; where nothing needs one, they are kept until a
    parameter of the backbone or the precision changes.

    Attributes:
        frame: the words that a method puts around every name in place of the benchmark's templates, with one ``{}``.
            Prompts on the plain way keep the templates.
    """

    def __init__(self, backbone: Backbone, frame: str | None = None) -> None:
        super().__init__()
        self.frame = frame
        self._backbone = [backbone]  # in a list: the backbone is a child of the model, not of its head
        self._tokens: ByValue[LabelSpace, dict[str | None, _Prompts]] = ByValue()
        self._kept: ByValue[LabelSpace, dict[Way | None, Tensor]] = ByValue()
        self._kept_at: tuple[object, ...] = ()
        self._held: tuple[LabelSpace, Tensor] | None = None

    @property
    def prompted(self) -> "TextHead":
        """The head itself, which embeds them."""
        return self

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The logits of the fused features; the prompts take the way of each row if the text tower has add-ons."""
        if output.route is None or TEXT not in self._backbone[0].adapted:
            return self.logits(output.fused, label_space)
        ways = _ways_of_prompts(output.route)
        # of all rows: the product of some of them may differ in the last digit from that of the whole batch
        found = (self._compared(output.fused, text) for text in self._of_ways(label_space, ways))
        if len(ways) == 1:
            return next(found)
        scores = torch.cat([of_batch[rows] for of_batch, rows in zip(found, ways.values(), strict=True)])
        place = torch.tensor(list(chain(*ways.values())), device=scores.device)
        return scores[place.argsort()]

    def logits(self, fused: Tensor, label_space: LabelSpace, way: Way | None = None) -> Tensor:
        """``scale * norm(fused) @ text_features.T``, of prompts that take a way."""
        return self._compared(fused, self.text_features(label_space, way))

    def text_features(self, label_space: LabelSpace, way: Way | None = None) -> Tensor:
        """Unit-length class embeddings ``[C, D]``, of prompts that take a way."""
        if way is None and self._held is not None and self._held[0] == label_space:
            return self._held[1]
        return self._of_ways(label_space, [way])[0]

    @contextmanager
    def holding(self, label_space: LabelSpace, features: Tensor) -> Iterator[None]:
        """Answer ``text_features(label_space)`` with ``features`` while the context lasts.

        For passes over many batches with unchanged weights, which need not embed the prompts in each of them.
        """
        self._held = (label_space, features)
        try:
            yield
        finally:
            self._held = None

    def alike(self, label_space: LabelSpace) -> list[list[ClassLabel]]:
        """Classes whose prompts are the same tokens."""
        groups: dict[tuple[tuple[int, ...], ...], list[ClassLabel]] = {}
        asked = [_prompts(label, self.frame) for label in label_space]
        rows = iter(self._backbone[0].tokenize([prompt for of_label in asked for prompt in of_label]).tolist())
        for label, of_label in zip(label_space, asked, strict=True):
            groups.setdefault(tuple(sorted(tuple(next(rows)) for _ in of_label)), []).append(label)
        return [group for group in groups.values() if len(group) > 1]

    def train(self, mode: bool = True) -> "TextHead":
        """Switch the mode and forget kept text features: weights written through ``.data`` leave no version."""
        if mode != self.training:
            self._kept = ByValue()
        return super().train(mode)

    def _compared(self, fused: Tensor, text: Tensor) -> Tensor:
        scale = self._backbone[0].logit_scale
        # features of a forward pass in half precision may meet texts that were embedded outside of it
        return scale * functional.normalize(fused.to(text.dtype), dim=-1) @ text.T

    def _of_ways(self, label_space: LabelSpace, ways: Collection[Way | None]) -> list[Tensor]:
        """Class embeddings for each way; whether kept ones are those of the weights is looked up once for all."""
        training = torch.is_grad_enabled()
        if training and self._trains():
            return [self._embed(label_space, way) for way in ways]
        version = self._dependencies(training)
        if version != self._kept_at:
            self._kept, self._kept_at = ByValue(), version
        kept = self._kept.setdefault(label_space, {})
        found = {way: kept[way] for way in ways if way in kept}
        for way in ways:
            if way not in found:
                drawn = _places_of_generators()
                found[way] = self._embed(label_space, way) if training else self._joined(label_space, way)
                # in training a frozen tower may still draw what it leaves out; what it counts is among the dependencies
                same = drawn == _places_of_generators()
                lasts = way is None or way[1] in (0, 1)  # what lies between belongs to one sample, or one batch
                if lasts and (not training or (same and not found[way].requires_grad)):
                    kept[way] = found[way]
        return [found[way] for way in ways]

    def _trains(self) -> bool:
        """Whether something in the text tower, or what was added to it, is trained."""
        backbone = self._backbone[0]
        tower = backbone.towers[TEXT].module
        return TEXT in backbone.adapted or any(parameter.requires_grad for parameter in tower.parameters())

    def _dependencies(self, training: bool) -> tuple[object, ...]:
        """Changes with every parameter; in training, where features depend on no other, with every frozen one."""
        backbone = self._backbone[0]
        kind = backbone.logit_scale.device.type
        half = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        read: Iterable[Tensor] = backbone.parameters()
        if training:
            frozen = (parameter for parameter in backbone.parameters() if not parameter.requires_grad)
            read = chain(frozen, backbone.buffers())
        return training, half, *((tensor.data_ptr(), tensor._version) for tensor in read)

    def _joined(self, label_space: LabelSpace, way: Way | None) -> Tensor:
        """Class embeddings, those of the parts of a space one after the other."""
        if not label_space.parts:
            return self._embed(label_space, way)
        return torch.cat([self.text_features(part, way) for part in label_space.parts])

    def _embed(self, label_space: LabelSpace, way: Way | None) -> Tensor:
        plain = way is not None and (way[0] == PLAIN or way[1] == 0)
        tokens, owner = self._prompt_tokens(label_space, None if plain else self.frame)
        route = None
        if way is not None:
            ids = torch.full((len(tokens),), way[0], device=tokens.device)
            route = Route(ids, self._backbone[0].logit_scale.new_full((len(tokens),), way[1]))
        features = functional.normalize(self._backbone[0].encode_texts(tokens, route), dim=-1)
        if owner is None:
            return features
        sums = features.new_zeros(len(label_space), features.shape[1]).index_add(0, owner, features)
        # the mean's length does not matter: it is normalised again
        return functional.normalize(sums, dim=-1)

    def _prompt_tokens(self, label_space: LabelSpace, frame: str | None) -> _Prompts:
        """Tokens of all prompts and, unless there is one prompt per class, the class each belongs to."""
        kept = self._tokens.setdefault(label_space, {})
        if frame in kept:
            return kept[frame]
        asked = [_prompts(label, frame) for label in label_space]
        prompts = [prompt for of_label in asked for prompt in of_label]
        owner = [column for column, of_label in enumerate(asked) for _ in of_label]
        device = self._backbone[0].logit_scale.device
        tokens = self._backbone[0].tokenize(prompts).to(device)
        several = len(prompts) > len(label_space)
        kept[frame] = tokens, torch.tensor(owner, device=device) if several else None
        return kept[frame]


def _ways_of_prompts(route: Route) -> dict[Way, list[int]]:
    """The ways that class prompts have to take, ascending, and the rows that are compared with each of them."""
    rows: dict[Way, list[int]] = {}
    for row, way in enumerate(zip(route.ids.tolist(), route.strength_of_prompts.tolist(), strict=True)):
        rows.setdefault((PLAIN, 0.0) if way[0] == PLAIN or way[1] == 0 else way, []).append(row)
    return dict(sorted(rows.items()))


def _prompts(label: ClassLabel, frame: str | None) -> tuple[str, ...]:
    return label.prompts if frame is None else (frame.format(label.name),)


def _places_of_generators() -> list[bytes]:
    """Where the random numbers are that a module may draw."""
    generators = torch.default_generator, *torch.cuda.default_generators
    return [generator.get_state().numpy().tobytes() for generator in generators]


class LinearHead(Head):
    """One linear unit per class, added as classes arrive; old units keep their weights."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0, embed_dim))
        self.bias = nn.Parameter(torch.empty(0))
        self._units: dict[int, int] = {}

    def meet(self, arrival: Arrival) -> None:
        """Add units for the classes that have none, initialised as ``nn.Linear`` does."""
        new = [label.id for label in arrival.label_space if label.id not in self._units]
        if not new:
            return
        fresh = nn.Linear(self.weight.shape[1], len(new), device=self.weight.device, dtype=self.weight.dtype)
        self._units |= {id_: len(self._units) + offset for offset, id_ in enumerate(new)}
        self.weight = nn.Parameter(torch.cat([self.weight.data, fresh.weight.data]))
        self.bias = nn.Parameter(torch.cat([self.bias.data, fresh.bias.data]))

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether every class has its unit."""
        return all(label.id in self._units for label in label_space)

    def units(self, label_space: LabelSpace) -> list[int]:
        """The row of ``weight`` that belongs to each class."""
        return [self._units[label.id] for label in label_space]

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The logits of the fused features."""
        return self.logits(output.fused, label_space)

    def logits(self, fused: Tensor, label_space: LabelSpace) -> Tensor:
        """Scores of the units of ``label_space``."""
        units, fused = self.units(label_space), fused.to(self.weight.dtype)
        if units == list(range(self.weight.shape[0])):
            return functional.linear(fused, self.weight, self.bias)
        return functional.linear(fused, self.weight[units], self.bias[units])
