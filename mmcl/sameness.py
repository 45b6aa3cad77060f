"""Sameness: whether a run would go on with what it was begun with, and what differs if not."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmcl.data.names import some
from mmcl.errors import CheckpointError
from mmcl.identity import EXTENSIONS, Identity

_SHOWN = 4  # differences that a sentence names


def require_same(recorded: Identity, now: Identity, who: str, may_grow: bool = False) -> None:
    """Refuse to go on with something else than the run was begun with.

    Args:
        recorded: what it was begun with.
        now: what it would be continued with.
        who: the run, for the sentence.
        may_grow: whether ``now`` may have further experiences.

    Raises:
        CheckpointError: naming what differs.
    """
    refuse(who, list(_differences(recorded, now, may_grow)))


def refuse(who: str, differences: list[str]) -> None:
    """Raise if there is any difference.

    Raises:
        CheckpointError: naming the first few.
    """
    if differences:
        more = len(differences) - _SHOWN
        raise CheckpointError(
            who,
            found="; ".join(differences[:_SHOWN]) + (f"; and {more} more" if more > 0 else ""),
            allowed="the settings and data that the run was begun with",
            remedy="Put them back (identity.json lists them), or begin a new run in another folder.",
        )


def setting_differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Settings that both know, with the new and the old value."""
    for name, value in now.items():
        if name in recorded and recorded[name] != value:
            yield f"{name} is {value!r} instead of {recorded[name]!r}"


def remark_on(recorded: Identity, now: Identity) -> str:
    """What differs and should not matter, as one sentence; empty if nothing does."""
    known = recorded.surroundings[EXTENSIONS]
    here = now.surroundings | {EXTENSIONS: now.surroundings[EXTENSIONS][: len(known)]}  # to be extended is no change
    odd = [*setting_differences(recorded.surroundings, here)]
    odd += [f"the option {name} is new" for name in now.settings if name not in recorded.settings]
    odd += [f"the option {name} is gone" for name in recorded.settings if name not in now.settings]
    if not odd:
        return ""
    return f"Since the run was begun, this has changed: {'; '.join(odd)}. Its numbers may differ in the last digits."


def _differences(recorded: Identity, now: Identity, may_grow: bool) -> Iterator[str]:
    yield from setting_differences(recorded.settings, now.settings)
    counts = len(now.experiences), len(recorded.experiences)
    if counts[0] < counts[1] or (counts[0] > counts[1] and not may_grow):
        yield f"the stream has {counts[0]} experiences instead of {counts[1]}"
    training: dict[str, None] = {}
    for old, new in zip(recorded.experiences, now.experiences, strict=False):
        yield from _experience_differences(old, new)
        training |= dict.fromkeys(setting_differences(old["training"], new["training"]))
    yield from (f"training.{sentence}" for sentence in training)
    for name in sorted({*recorded.references, *now.references}):
        before, after = recorded.references.get(name), now.references.get(name)
        if before != after:
            yield f"the reference data of {name} are {after or 'missing'} instead of {before or 'none'}"


def _experience_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    name = old["name"]
    for fact in ("name", "domain", "modalities"):
        if old[fact] != new[fact]:
            yield f"the {fact} of experience {name!r} is {new[fact]!r} instead of {old[fact]!r}"
    if old["classes"] != new["classes"]:
        yield f"experience {name!r} {_class_difference(old['classes'], new['classes'])}"
    for side in ("train", "test"):
        before, after = old[side], new[side]
        if before["samples"] != after["samples"]:
            yield f"{name!r} has {after['samples']} {side} samples instead of {before['samples']}"
        elif before["digest"] != after["digest"]:
            yield f"the {side} samples of {name!r} have other contents, labels or another order"


def _class_difference(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> str:
    before, now = ([label["name"] for label in labels] for labels in (old, new))
    if set(before) != set(now):
        lacks, adds = ([text for text in one if text not in other] for one, other in ((before, now), (now, before)))
        parts = [f"lacks {some(lacks)}"] * bool(lacks) + [f"has {some(adds)} in addition"] * bool(adds)
        return " and ".join(parts)
    here, there = next(pair for pair in zip(new, old, strict=False) if pair[0] != pair[1])
    return f"has {_said(here)} instead of {_said(there)}"


def _said(label: Mapping[str, Any]) -> str:
    return f"class {label['id']} {label['name']!r} with the prompts {label['templates']}"
