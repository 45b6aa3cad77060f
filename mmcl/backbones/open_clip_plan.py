"""Plan of an open_clip model: which architecture, weights and settings a name stands for, before anything is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import is_pretrained_cfg

from mmcl.backbones.open_clip_config import Settings, agreed, of_file, of_folder, of_random, of_tag
from mmcl.errors import ConfigError, nearest


@dataclass(frozen=True)
class Plan:
    """What is going to be loaded.

    Attributes:
        who: the backbone, for errors.
        origin: what reports call the model and its weights.
        name: an architecture, or ``local-dir:FOLDER``.
        weights: a pre-trained tag or a file; ``None`` for those of the folder, or for random ones.
        settings: activation and preprocessing.
        seed: of random weights.
        remarks: what is not sure about the settings.
    """

    who: str
    origin: Mapping[str, str]
    name: str
    weights: str | None
    settings: Settings
    seed: int = 0
    remarks: Sequence[str] = ()


def planned(name: str, asked: Mapping[str, Any], seed: int | None) -> Plan:
    """What is going to be loaded under a name such as ``ViT-B-16/openai``.

    Args:
        name: ``ARCHITECTURE/TAG``, ``ARCHITECTURE/FILE``, ``ARCHITECTURE/random`` or ``local-dir/FOLDER``.
        asked: settings that the user chose.
        seed: of random weights.

    Raises:
        ConfigError: if open_clip knows neither the architecture nor the weights, if a setting contradicts them, or if a
            file may have been trained with either activation.
    """
    architecture, _, source = name.partition("/")
    who = f"backbone 'openclip:{name}'"
    origin = {"model": architecture, "weights": source}
    if seed is not None and source != "random":
        raise ConfigError(
            who,
            found=f"seed={seed}, and nothing is random",
            allowed="a seed with ARCHITECTURE/random",
            remedy="Leave the seed out; that of the run is another setting.",
        )
    if architecture == "local-dir":
        settings = agreed(of_folder(Path(source), who), asked, who, "its open_clip_config.json")
        return Plan(who, origin, f"local-dir:{source}", None, settings)
    if architecture not in open_clip.list_models():
        raise ConfigError(
            who,
            found=f"open_clip has no architecture {architecture!r}",
            allowed="ARCHITECTURE/TAG, ARCHITECTURE/FILE, ARCHITECTURE/random or local-dir/FOLDER",
            remedy=nearest(architecture, open_clip.list_models()),
        )
    if source == "random":
        origin["weights"] = f"random, seed {seed or 0}"
        return Plan(who, origin, architecture, None, of_random(architecture, asked, who), seed=seed or 0)
    if is_pretrained_cfg(architecture, source):
        settings = agreed(of_tag(architecture, source), asked, who, f"the tag {source!r}")
        return Plan(who, origin, architecture, source, settings)
    if not Path(source).is_file():
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise ConfigError(
            who,
            found=f"{source!r} is neither a checkpoint file nor a pre-trained tag of {architecture}",
            allowed=f"a file, random, or one of {', '.join(tags) or 'no tags'}",
            remedy=nearest(source, ["random", *tags]),
        )
    settings, remarks = of_file(architecture, Path(source), asked, who)
    return Plan(who, origin, architecture, source, settings, remarks=remarks)


def of_shipped(name: str, folder: Path) -> Plan:
    """What is going to be loaded of a model that comes with MMCL."""
    who = f"backbone {name!r}"
    origin = {"model": name, "weights": "shipped with MMCL"}
    return Plan(who, origin, f"local-dir:{folder}", None, of_folder(folder, who))
