"""Backbone: pre-trained towers behind one interface, and what is attached to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from mmcl.data.modality import TEXT, ModalitySpec
from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.former import refuse_former
from mmcl.models.arrival import Arrival
from mmcl.models.backbone.tower import Encoded, Features, Tower, Vocabulary
from mmcl.models.sites import AddOn, AddOns, Site


class Backbone(nn.Module, ABC):
    """Weights, preprocessing and tokeniser that belong together.

    The names of towers that read one modality are the names of these.

    Attributes:
        specs: modality -> shape of one preprocessed value.
        towers: the parts that have features, by name.
        adapted: those that something is attached to.
        lengthened: those in which something that is attached makes sequences longer.
        preprocess_train: modality -> raw value to tensor, with augmentation.
        preprocess_eval: modality -> raw value to tensor, deterministic.
        remarks: what is not sure about it; a run says it and keeps it.
        export_format: what ``export`` writes: the name of the library that loads it, or ``own``.
        training_defaults: fields of ``TrainingConfig``; benchmark and user come before it. The scale of cosines, which
            all backbones have, is not trained unless somebody says otherwise.
    """

    specs: Mapping[str, ModalitySpec]
    towers: Mapping[str, Tower]
    preprocess_train: Mapping[str, Callable[[Any], Tensor]]
    preprocess_eval: Mapping[str, Callable[[Any], Tensor]]
    remarks: Sequence[str] = ()
    export_format: str = "own"
    training_defaults: Mapping[str, Any] = {"freeze": ("*logit_scale",)}

    @property
    def description(self) -> Mapping[str, str]:
        """What a report says of the model: its name, where its weights come from, what else makes it this function."""
        return {"model": type(self).__name__}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        changes = {
            "tower": "an attribute 'towers', name -> Tower(module, reads, width)",
            "encode": "encode_tower(name, inputs), whose value is inputs[name]",
            "blocks": "sites(tower), each a Site",
        }
        refuse_former(cls, changes)

    def __init__(self) -> None:
        super().__init__()
        self.adapted: set[str] = set()
        self.lengthened: set[str] = set()
        self._holders: list[AddOns] = []

    @abstractmethod
    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """Features of a batch in which all rows have something that the tower reads; called by ``encode`` only."""

    @final
    def encode(self, inputs: Inputs, only: Collection[str] | None = None) -> Encoded:
        """Let every tower encode what it reads of a batch, and tell the add-ons what batch it is.

        Rows that lack all that a tower reads do not pass through it: they leave no trace in its statistics or
        gradients.

        Args:
            inputs: the batch.
            only: names of the towers that are asked; all by default.
        """
        features, present = {}, {}
        try:
            for name, tower in self.towers.items():
                if (only is None or name in only) and tower.concerns(inputs.present):
                    features[name], present[name] = self._features(name, tower, inputs)
            return Encoded(features, present, self.logit_scale)
        finally:
            self.let_go()
            for holder in self._holders:
                holder.inputs = None
                holder.take()

    def let_go(self) -> None:
        """The batch is encoded: forget what was kept so that one tower could go on from another; most keep nothing."""

    def encode_texts(self, tokens: Tensor, route: Route | None = None) -> Tensor:
        """Pooled features ``[N, D]`` of texts ``int64[N, L]`` that are no samples, such as class prompts.

        Args:
            tokens: of the texts.
            route: which way they take, if they take one.
        """
        present = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        prompts = Inputs({TEXT: tokens}, {TEXT: present}, whole=frozenset({TEXT}), route=route)
        return self.encode(prompts, only=(TEXT,)).features[TEXT].pooled

    @property
    def width(self) -> int:
        """D, the common width of all towers.

        Raises:
            PluginError: if they differ.
        """
        widths = {name: tower.width for name, tower in self.towers.items()}
        if len(set(widths.values())) != 1:
            raise PluginError(
                f"backbone {type(self).__name__}",
                found=f"towers of the widths {', '.join(f'{name}: {width}' for name, width in widths.items())}",
                allowed="one width for all of them",
                remedy="Choose a fusion for features of several widths.",
            )
        return next(iter(widths.values()))

    def sites(self, tower: str) -> Sequence[Site]:
        """The places in a tower where add-ons can be attached, kind by kind in the order of layers.

        A backbone that has none cannot be adapted, only trained.
        """
        return ()

    def sites_of(self, tower: str, kind: str) -> list[Site]:
        """The sites of one kind."""
        return [site for site in self.sites(tower) if site.kind == kind]

    def attach(self, owner: str, site: Site, addon: AddOn) -> None:
        """Let ``addon`` change what leaves ``site`` from now on; the names of all other parameters stay.

        Args:
            owner: the strategy it belongs to; add-ons of several owners act in the order of attachment.
            site: one of ``sites``.
            addon: becomes the child ``site.exit.addons[owner]``.

        Raises:
            PluginError: if no tower shows the site: nobody would tell the add-on the batch.
        """
        towers = {name for name in self.towers if any(other.exit is site.exit for other in self.sites(name))}
        if not towers:
            shown = sorted({other.kind for name in self.towers for other in self.sites(name)})
            raise PluginError(
                f"add-on of {owner!r}",
                found=f"a site of kind {site.kind!r} that is not one of the backbone's",
                allowed=f"sites of {type(self).__name__}, of the kinds {', '.join(shown)}" if shown else "none",
                remedy="Take the site from 'sites' or 'sites_of' of the backbone that it is attached to.",
            )
        towers |= {name for name, tower in self.towers.items() if tower.upon & towers}
        self.adapted |= towers
        if addon.lengthens:
            self.lengthened |= towers
        holder = AddOns.at(site)
        if not any(holder is other for other in self._holders):
            self._holders.append(holder)
        holder[owner] = addon

    def meet(self, arrival: Arrival) -> None:
        """Let all add-ons make room for an experience."""
        for holder in self._holders:
            holder.meet(arrival)

    def _features(self, name: str, tower: Tower, inputs: Inputs) -> tuple[Features, Tensor]:
        """What a tower makes of a batch, and ``bool[B]``: in which rows there is something to read."""
        if len(tower.reads) == 1:
            present, whole = inputs.present[name], inputs.is_whole(name)
        elif tower.upon:
            present, whole = inputs.having_all(tower.reads), all(map(inputs.is_whole, tower.reads))
        else:
            inputs = self._completed(tower.reads, inputs)
            present, whole = inputs.having_any(tower.reads), any(map(inputs.is_whole, tower.reads))
        if not whole:
            rows = present.nonzero().squeeze(1)
            if not len(rows):
                return Features(torch.zeros(len(present), tower.width, device=present.device)), present
            inputs = inputs.select(rows)
        found = self._found(name, inputs)
        return (found if whole else _scattered(found, rows, len(present))), present

    def _completed(self, reads: frozenset[str], inputs: Inputs) -> Inputs:
        """A batch with stand-ins for the modalities that it does not even know."""
        missing = {name: self.specs[name].missing() for name in reads - inputs.present.keys()}
        if not missing:
            return inputs
        known = next(iter(inputs.present.values()))
        stand_ins = {name: value.to(known.device).expand(len(known), *value.shape) for name, value in missing.items()}
        absent = dict.fromkeys(missing, torch.zeros_like(known))
        return inputs.replace(values={**inputs, **stand_ins}, present={**inputs.present, **absent})

    def _found(self, name: str, inputs: Inputs) -> Features:
        """Features of a batch in which all rows have something to read; rows of unlike length pass one by one."""
        if name in self.lengthened and inputs.route is not None:
            taken = inputs.route.taken
            if bool(taken.any()) and not bool(taken.all()):
                parts = [rows.nonzero().squeeze(1) for rows in (taken, ~taken)]
                pooled = [self._passed(name, inputs.select(rows)).pooled for rows in parts]
                return Features(torch.cat(pooled)[torch.cat(parts).argsort()])
        return self._passed(name, inputs)

    def _passed(self, name: str, inputs: Inputs) -> Features:
        """One pass through a tower, whose add-ons are told the batch."""
        for holder in self._holders:
            holder.inputs = inputs
        return self.encode_tower(name, inputs)

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids ``int64[N, L]``, ready for ``encode_texts``."""

    @property
    def vocabulary(self) -> Vocabulary:
        """What token ids mean, for strategies that make up texts.

        Raises:
            PluginError: if the backbone does not say so.
        """
        raise self._lacking("'vocabulary'", "token ids")

    @property
    def token_embedding(self) -> nn.Module:
        """The module of the text tower that turns ids ``int64[B, L]`` into the vectors ``[B, L, W]`` it starts from.

        Raises:
            PluginError: if the backbone does not show it.
        """
        raise self._lacking("'token_embedding'", "embeddings of tokens")

    def encode_embedded(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        """Pooled features ``[B, D]`` of texts whose tokens have these embeddings instead of their own.

        Args:
            tokens: ``int64[B, L]``; they still say where a text ends.
            embedded: ``[B, L, W]``, what ``token_embedding`` is to have returned; it may need a gradient.

        Raises:
            PluginError: if the backbone shows no ``token_embedding``.
        """
        hook = self.token_embedding.register_forward_hook(lambda *_: embedded)
        try:
            return self.encode_texts(tokens)
        finally:
            hook.remove()

    def _lacking(self, member: str, what: str) -> PluginError:
        return PluginError(
            f"backbone {type(self).__name__}",
            found=f"it has no {member}",
            allowed=f"backbones that say what their {what} are",
            remedy="Choose a CLIP-like backbone, such as glyph-clip, or a strategy that makes up no texts.",
        )

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """The multiplicative scale of cosine similarities (already exponentiated)."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write weights, configuration and tokeniser in the format of the library the backbone comes from."""


def _scattered(found: Features, rows: Tensor, count: int) -> Features:
    """Features of some rows as those of ``count``, with zeros elsewhere."""
    every = [
        None if part is None else part.new_zeros(count, *part.shape[1:]).index_copy(0, rows, part) for part in found
    ]
    return Features(*every)  # type: ignore[arg-type]
