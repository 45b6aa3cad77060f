"""IncCLIP: generative negative text replay. A reconstruction from secondary sources, not the authors' code.

Paper: Yan et al., "Generative Negative Text Replay for Continual Vision-Language Pretraining", ECCV 2022. There is no
public code, and neither the paper's equations nor its settings were at hand: what follows is ours where it says so.
Idea: remember pairs, invent texts that are hard negatives for the remembered images, and distil the old model's
matching of the remembered pairs.
Computation: a batch is a batch of new pairs and as many remembered ones (memory by reservoir sampling, as in the
paper). Negative texts live in the space of token embeddings (paper), not of tokens. Ours: for a remembered image v the
``length`` embeddings E between the start and the end of a sentence begin as those of random tokens and descend, for
``steps`` steps of Adam, ``[s - high]_+ + [low - s]_+`` with s the cosine of v and E under the old model, ``high`` the
cosine of the true pair minus ``margin``, ``low = high - band``: neither a positive nor easy. The old model does not
change in an experience, so they are made once for each remembered image, when it begins.
Equations (ours): with c the logit scale, i, x unit features of the B pairs and n those of the G negatives of the batch
under the current text tower, the task loss is ``[CE(c i [x ; n]^T) + CE(c x i^T)] / 2``. On the remembered pairs
``strength T^2 [KL(old || new) of the image rows + the same of the text rows] / 2`` is added. After each step a weight
matrix whose norm exceeds that at the start of the experience is scaled back to it (weight norm clipping is the
paper's).
Kept between experiences: the remembered pairs by value, and the random key of each; the largest keys stay.
Deviations: everything marked as ours; all defaults are. Pairs enter the memory at the end of their experience.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmcl.data.collate import concatenate
from mmcl.data.loader import IterationSampler
from mmcl.data.memory import Memory, Record, by_value
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch
from mmcl.data.selection import largest_keys
from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import Learner, MemoryBudget, StrategyPlugin, Terms
from mmcl.models.multimodal import MultimodalModel
from mmcl.options import Count, NonNegative, Positive, Rate, Width
from mmcl_strategies.maths.distillation import contrast_logits
from mmcl_strategies.maths.relation_distillation import cross_modal_divergence
from mmcl_strategies.maths.sentences import sentences_of


def contrast_with_negatives(
    image: Float[Tensor, "B D"], text: Float[Tensor, "B D"], negatives: Float[Tensor, "G D"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """CLIP's loss with further wrong texts for every image; raw features."""
    right = torch.arange(len(image), device=image.device)
    to_texts = functional.cross_entropy(contrast_logits(image, torch.cat([text, negatives]), scale), right)
    return (to_texts + functional.cross_entropy(contrast_logits(text, image, scale), right)) / 2


def outside_band(
    similarity: Float[Tensor, "*shape"], low: Float[Tensor, "*shape"], high: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """``[s - high]_+ + [low - s]_+``, elementwise."""
    return (similarity - high).clamp(min=0) + (low - similarity).clamp(min=0)


def inverted(
    encode: Callable[[Float[Tensor, "G L W"]], Float[Tensor, "G D"]],
    start: Float[Tensor, "G L W"],
    image: Float[Tensor, "G D"],
    text: Float[Tensor, "G D"],
    *,
    margin: float,
    band: float,
    steps: int,
    rate: float,
) -> Float[Tensor, "G L W"]:
    """Token embeddings, without gradient, whose text is a hard negative of each image.

    Args:
        encode: embeddings -> text features.
        start: where the descent begins.
        image, text: features of the true pairs.
        margin: how far below the true pair's cosine the band of wanted cosines begins.
        band: its width.
        steps, rate: of Adam.
    """
    high = functional.cosine_similarity(image, text, dim=1).detach() - margin
    found = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([found], lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            loss = outside_band(functional.cosine_similarity(image.detach(), encode(found), dim=1), high - band, high)
            (found.grad,) = torch.autograd.grad(loss.sum(), found)
            optimizer.step()
    return found.detach()


@torch.no_grad()
def clip_norms(weights: dict[str, Tensor], limits: dict[str, Tensor]) -> None:
    """Scale every tensor whose Frobenius norm exceeds its limit back to it, in place."""
    for name, limit in limits.items():
        weights[name].mul_((limit / weights[name].norm()).clamp(max=1.0))


@dataclass
class IncCLIPState:
    """The memory, in two lists of equal length."""

    records: list[Record] = field(default_factory=list)  # the remembered pairs
    keys: list[float] = field(default_factory=list)  # of each; the largest ones stay


@dataclass(kw_only=True, eq=False)
class IncCLIP(StrategyPlugin):
    """Replays pairs with invented negative texts and distils how the old model matched them."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.BATCHES, Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.PAIRS})
    teachers: ClassVar[frozenset[str]] = frozenset({"previous"})

    size: Count = 500  # m, pairs in the memory
    batch_size: Width | None = None  # remembered pairs a step; none: as many as new ones
    strength: NonNegative = 1.0  # lambda, of the distillation
    temperature: Positive = 2.0  # T
    norm_clipping: bool = True  # keep the norms of weight matrices below those at the start of the experience
    length: Width = 8  # L, embeddings between the start and the end of a negative text
    margin: NonNegative = 0.05  # between the cosine of a true pair and that of the best negative wanted
    band: Positive = 0.05  # between the best and the worst negative wanted
    steps: Count = 50  # of the search for a negative text
    rate: Rate = 0.003  # of that search

    state: IncCLIPState = field(default_factory=IncCLIPState, init=False, repr=False)
    _negatives: Tensor | None = field(default=None, init=False, repr=False)
    _limits: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(loss=("distillation",))

    def memory_budget(self) -> MemoryBudget:
        """At most ``size`` pairs are kept."""
        return MemoryBudget(samples=self.size)

    def training_batches(self, learner: Learner) -> "PairBatches":
        """New pairs with remembered ones appended."""
        return PairBatches(self, learner)

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Invent a negative text for every remembered image, and take the norms that may not be exceeded."""
        weights = dict(learner.model.shared_parameters()) if self.norm_clipping else {}
        self._limits = {name: weight.detach().norm() for name, weight in weights.items() if weight.ndim > 1}
        old, memory = learner.teacher("previous").model, Memory(self.state.records)
        generator = learner.generator("incclip", "negatives")
        parts = []
        for batch in learner.one_pass(memory) if len(memory) else ():
            with torch.no_grad():
                features = old.encode(batch.inputs).features
                ids = torch.randint(
                    old.backbone.vocabulary.size, (len(batch.targets), self.length), generator=generator
                )
                start = old.backbone.token_embedding(ids.to(learner.device))
            parts.append(
                inverted(
                    lambda embeddings: self._encoded(old, embeddings),
                    start,
                    features[IMAGE],
                    features[TEXT],
                    margin=self.margin,
                    band=self.band,
                    steps=self.steps,
                    rate=self.rate,
                )
            )
        self._negatives = torch.cat(parts) if parts else None

    def objective(self, learner: Learner) -> Tensor:
        """The contrast with negatives; CLIP's own while nothing is remembered."""
        features, backbone = learner.output.features, learner.model.backbone
        negatives = features[TEXT][:0]
        if self._negatives is not None:
            negatives = self._encoded(learner.model, self._negatives[self.drawn(learner, learner.step)])
        return contrast_with_negatives(features[IMAGE], features[TEXT], negatives, backbone.logit_scale)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """How the old model matched the remembered pairs of the batch, which are its last rows."""
        count = len(self.drawn(learner, learner.step))
        if not count:
            return {}
        teacher = learner.teacher("previous")
        new, old = (
            [output.features[name][-count:] for name in (IMAGE, TEXT)]
            for output in (learner.output, teacher.output(learner.batch))
        )
        sharpness = self.temperature / float(teacher.model.backbone.logit_scale)
        divergence = cross_modal_divergence(new[0], new[1], old[0], old[1], sharpness)
        return {"distillation": self.strength * self.temperature**2 * divergence}

    def after_update(self, learner: Learner, **_: object) -> None:
        """Clip the norms of weights to those at the start of the experience."""
        clip_norms(dict(learner.model.named_parameters()), self._limits)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Let the pairs of this experience enter the memory: a reservoir over everything seen."""
        samples, known = learner.current.samples, len(self.state.records)
        new = torch.rand(len(samples), generator=learner.generator("incclip", "memory"), dtype=torch.float64)
        keys = torch.cat([torch.tensor(self.state.keys, dtype=torch.float64), new])
        kept = largest_keys(keys, self.size).tolist()
        self.state.records = [
            self.state.records[index] if index < known else by_value(samples[index - known]) for index in kept
        ]
        self.state.keys = keys[kept].tolist()

    def drawn(self, learner: Learner, step: int) -> list[int]:
        """The slots of the memory whose pairs are in the batch of a step."""
        count = learner.config.batch_size if self.batch_size is None else self.batch_size
        generator = learner.generator("incclip", "slots", step)
        return torch.randperm(len(self.state.records), generator=generator)[:count].tolist()

    def _encoded(self, model: MultimodalModel, embeddings: Tensor) -> Tensor:
        """Text features ``[G, D]`` of embeddings ``[G, L, W]`` between the backbone's own start and end."""
        backbone = model.backbone
        vocabulary, context = backbone.vocabulary, backbone.specs[TEXT].shape[0]
        ids = torch.full(embeddings.shape[:2], vocabulary.start, device=embeddings.device)
        tokens = sentences_of(ids, vocabulary, context)
        own = backbone.token_embedding(tokens)
        whole = torch.cat([own[:, :1], embeddings, own[:, 1 + embeddings.shape[1] :]], dim=1)
        with model.computing():
            return backbone.encode_embedded(tokens, whole)


class PairBatches:
    """The mixed batches of an experience."""

    def __init__(self, strategy: IncCLIP, learner: Learner) -> None:
        self.strategy, self.learner = strategy, learner
        self.samples, self.iterations = learner.current.samples, learner.iterations(learner.current)

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[Batch]:
        learner, memory = self.learner, Memory(self.strategy.state.records)
        order = IterationSampler(
            len(self.samples), learner.config.batch_size, self.iterations, learner.generator("batches")
        )
        for step, new in enumerate(learner.batches_in(self.samples, order, name="incclip")):
            slots = self.strategy.drawn(learner, step)
            yield concatenate(new, learner.prepare(memory, slots, name="incclip")) if slots else new
