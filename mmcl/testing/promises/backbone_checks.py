"""What a backbone promises: all checks, and those of its parts. Everything is tried on its miniature."""

import inspect
import pickle
from copy import deepcopy
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.backbone import Backbone
from mmcl.models.sites import AddOn, Here
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.encoded import encoded, encoded_by
from mmcl.testing.laboratory.audit import audited
from mmcl.testing.laboratory.miniature import miniature, read_by
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.laboratory.trial import disturbed, global_generators
from mmcl.testing.promises.feature_checks import FEATURE_CHECKS
from mmcl.testing.promises.option_checks import OPTION_CHECKS
from mmcl.testing.promises.weight_checks import WEIGHT_CHECKS

_LARGEST = 2_000_000  # parameters of a miniature


@promise
def card(backbone: Subject) -> None:
    """Its docstring says what it is."""
    kind = type(backbone.plugin)
    text = inspect.cleandoc(vars(kind).get("__doc__") or "")
    if text.startswith(f"{kind.__name__}(") or len(text) < 40:
        raise BrokenPromiseError(
            "its class has no docstring, or hardly one",
            "Say what it is, where the weights come from and under which licence; 'mmcl show' prints it.",
        )


@promise
def small_miniature(backbone: Subject) -> None:
    """It has a miniature of the same kind, built from nothing, always with the same weights."""
    with audited() as audit:
        try:
            mini = backbone.fresh().miniature()
        except Exception as error:
            raise BrokenPromiseError(
                f"miniature() raises {type(error).__name__}: {error}",
                "Build the class that 'build' gives, as small as it gets, with random weights.",
            ) from error
    if audit.called:
        raise BrokenPromiseError(f"miniature() calls {audit.called[0]}", "Build it without the network.")
    if not isinstance(mini, Backbone):
        raise BrokenPromiseError(f"miniature() gives a {type(mini).__name__}", "Give a Backbone.")
    size = sum(parameter.numel() for parameter in mini.parameters())
    if size > _LARGEST:
        raise BrokenPromiseError(
            f"the miniature has {size:,} parameters", f"Stay below {_LARGEST:,}: tests build many."
        )
    with disturbed(3):
        again = backbone.fresh().miniature()
    if found := difference(again.state_dict(), mini.state_dict()):
        raise BrokenPromiseError(f"built twice, {found}", "Seed the weights, inside torch.random.fork_rng.")


@promise
def modalities(backbone: Subject) -> None:
    """What it declares to encode, and to read together, is what its backbone prepares and its towers read."""
    mini, declared = miniature(backbone), backbone.plugin.modalities
    for what, found in (
        ("specs", set(mini.specs)),
        ("preprocess_train", set(mini.preprocess_train)),
        ("preprocess_eval", set(mini.preprocess_eval)),
    ):
        if found != set(declared):
            raise BrokenPromiseError(
                f"it declares {sorted(declared)}, and {what} has {sorted(found)}", "Let the two say the same."
            )
    said, read = backbone.plugin.reads, frozenset(tower.reads for tower in mini.towers.values())
    if said != read:
        raise BrokenPromiseError(
            f"'reads' declares towers of {_listed(said)}, and its towers read {_listed(read)}",
            "Let the property 'reads' of the plugin say what each tower reads.",
        )


@promise
def preparation(backbone: Subject) -> None:
    """Preparing a value gives what its spec says; for evaluation always the same, in worker processes too."""
    mini, tried = miniature(backbone), 0
    for name, raw in _raw().items():
        if name not in mini.specs:
            continue
        for phase, prepare in (("train", mini.preprocess_train[name]), ("eval", mini.preprocess_eval[name])):
            try:
                pickle.dumps(prepare)
            except Exception as error:
                raise BrokenPromiseError(
                    f"preprocess_{phase}[{name!r}] cannot be sent to a worker process ({error})",
                    "Use functions and objects of modules, no lambdas.",
                ) from error
            for value in raw:
                tried += 1
                _require_spec(mini, f"preprocess_{phase}[{name!r}]", name, prepare(value))
        if found := difference(mini.preprocess_eval[name](raw[0]), mini.preprocess_eval[name](raw[0])):
            raise BrokenPromiseError(
                f"preprocess_eval[{name!r}] of the same value twice: {found}", "Augment in training only."
            )
    if not tried:
        raise NotApplicable("nobody but itself knows what raw values of its modalities look like")


@promise
def tokens(backbone: Subject) -> None:
    """Texts become token ids of one length, each text independently of the others."""
    mini = miniature(backbone)
    if TEXT not in mini.specs:
        raise NotApplicable("it reads no text")
    spec, texts = mini.specs[TEXT], ["a dog", "two cats", "", "word " * 200]
    found = mini.tokenize(texts)
    _require_tokens(found, (len(texts), *spec.shape), f"{len(texts)} texts become")
    for text, row in zip(texts, found, strict=True):
        alone = mini.tokenize([text])
        _require_tokens(alone, (1, *spec.shape), f"{text[:20]!r} alone becomes")
        if difference(alone[0], row):
            raise BrokenPromiseError(
                f"{text[:20]!r} alone has other tokens than among others", "Pad to a fixed length."
            )
    if torch.equal(found[0], found[1]):
        raise BrokenPromiseError("different texts have the same tokens", "Look at the tokeniser.")
    for text in texts[:2]:
        if difference(mini.preprocess_eval[TEXT](text), mini.tokenize([text])[0]):
            raise BrokenPromiseError("preprocess_eval['text'] and tokenize disagree", "Use one for the other.")


@promise
def towers(backbone: Subject) -> None:
    """Each modality is read by a tower, and in each tower the gradient of its features arrives."""
    mini = miniature(backbone)
    inside = {id(module) for module in mini.modules()}
    if unread := set(mini.specs).difference(*(tower.reads for tower in mini.towers.values())):
        raise BrokenPromiseError(f"no tower reads {sorted(unread)}", "Name what each tower reads.")
    for name, tower in mini.towers.items():
        if id(tower.module) not in inside:
            raise BrokenPromiseError(f"the tower {name!r} is no part of the backbone", "Name one of its modules.")
        mini.zero_grad()
        with torch.enable_grad():
            encoded_by(mini, name, read_by(mini, name, 4)).pooled.square().sum().backward()
        if not any(p.grad is not None and bool(p.grad.any()) for p in tower.module.parameters()):
            raise BrokenPromiseError(
                f"no gradient of the features of {name!r} arrives in the tower {name!r}",
                "Compute the features with that module, and do not detach them.",
            )
    mini.zero_grad()


@promise
def sites(backbone: Subject) -> None:
    """An add-on can be attached at every site, is called, and changes nothing where it returns what it finds."""
    mini, tried = miniature(backbone), 0
    inside = {id(module) for module in mini.modules()}
    plain = {name: _of_tower(mini, name) for name in mini.towers}
    for name in plain:
        for place, site in enumerate(mini.sites(name)):
            tried += 1
            where = f"site {site.kind!r} of layer {site.layer} in the tower {name!r}"
            if {id(site.entry), id(site.exit)} - inside:
                raise BrokenPromiseError(f"{where} is no part of the backbone", "Name its modules.")
            copy, addon = deepcopy(mini), Looking()
            copy.attach("looking", copy.sites(name)[place], addon)
            if copy.state_dict().keys() != mini.state_dict().keys():
                raise BrokenPromiseError(f"{where}: an add-on renames parameters", "Name modules of the backbone.")
            if found := difference(_of_tower(copy, name), plain[name]):
                raise BrokenPromiseError(f"{where}: an add-on that changes nothing: {found}", "Look at its exit.")
            if [shape[-1:] for shape in addon.shapes] != [(site.width,)]:
                raise BrokenPromiseError(
                    f"{where}: what leaves it has the shapes {addon.shapes}",
                    f"Name modules that are called once and give [..., {site.width}], or correct the width.",
                )
    if not tried:
        raise NotApplicable("it shows no sites")


@promise
def embeddings(backbone: Subject) -> None:
    """Texts given as embeddings of their tokens have the features of the texts."""
    mini = miniature(backbone)
    if TEXT not in mini.towers:
        raise NotApplicable("no tower reads text alone")
    try:
        table = mini.token_embedding
    except PluginError as error:
        raise NotApplicable("it shows no token_embedding") from error
    ids = mini.tokenize(["a dog", "two cats and a bar"])
    with torch.no_grad():
        plain, embedded = encoded(mini, TEXT, ids).pooled, mini.encode_embedded(ids, table(ids))
        changed = mini.encode_embedded(ids, 2 * table(ids))
    if found := difference(plain, embedded, 1e-6):
        raise BrokenPromiseError(
            f"encode_embedded(tokens, token_embedding(tokens)) and encode: {found}",
            "Let token_embedding be the module that the text tower calls.",
        )
    if not difference(plain, changed):
        raise BrokenPromiseError(
            "other embeddings do not change the features", "Let token_embedding be the module that the tower calls."
        )


@promise
def random_state(backbone: Subject) -> None:
    """Building it, and encoding in evaluation mode, draws nothing from the global generators."""
    miniature(backbone)
    before = global_generators()
    mini = backbone.fresh().miniature().eval()
    with torch.no_grad():
        for name in mini.towers:
            encoded_by(mini, name, read_by(mini, name, 2))
    changed = [name for name, state in global_generators().items() if state != before[name]]
    if changed:
        raise BrokenPromiseError(
            f"it uses the global generator of {changed[0]}", "Seed the weights inside torch.random.fork_rng."
        )


BACKBONE_CHECKS: tuple[Check, ...] = (
    card,
    *OPTION_CHECKS,
    small_miniature,
    modalities,
    preparation,
    tokens,
    towers,
    sites,
    embeddings,
    random_state,
    *FEATURE_CHECKS,
    *WEIGHT_CHECKS,
)


def _raw() -> dict[str, list[Any]]:
    noise = torch.randint(256, (41, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    return {IMAGE: [Image.fromarray(noise), Image.new("RGB", (20, 70), "red")], TEXT: ["a dog", ""]}


def _require_tokens(found: Tensor, shape: tuple[int, ...], how: str) -> None:
    if tuple(found.shape) != shape or found.dtype != torch.int64:
        raise BrokenPromiseError(
            f"{how} {found.dtype} of shape {list(found.shape)}", f"Give int64 of shape {list(shape)}: cut and pad."
        )


def _require_spec(mini: Backbone, who: str, name: str, value: Any) -> None:
    spec = mini.specs[name]
    if not isinstance(value, Tensor) or tuple(value.shape) != spec.shape or value.dtype != spec.dtype:
        seen = f"{value.dtype} of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise BrokenPromiseError(f"{who} gives {seen}", f"Give {spec.dtype} of shape {list(spec.shape)}, as specs say.")


class Looking(AddOn):
    """Changes nothing, and notes the shape of what leaves its site."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """Note the batch and leave what passes as it is."""
        self.shapes.append(tuple(here.value.shape))
        return here.value


def _of_tower(mini: Backbone, name: str) -> Tensor:
    with torch.no_grad():
        return encoded_by(mini, name, read_by(mini, name, 2)).pooled


def _listed(reads: frozenset[frozenset[str]]) -> str:
    return ", ".join(sorted(" with ".join(sorted(names)) for names in reads))
