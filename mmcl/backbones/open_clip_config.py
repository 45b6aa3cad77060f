"""Which activation and which preprocessing belong to weights: what open_clip's configurations say of them.

A *setting* is ``quick_gelu`` or a field of open_clip's ``PreprocessCfg``. What the entry of a pre-trained tag names
goes before the file of its architecture; the image size is the architecture's. A checkpoint file says nothing of
itself, unless it is a TorchScript archive, whose code shows the activation.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import open_clip
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg

from mmcl.errors import ConfigError

Settings = Mapping[str, Any]

DEFAULTS: Settings = {"quick_gelu": False, **{k: v for k, v in asdict(PreprocessCfg()).items() if k != "size"}}

_MOST_CODE = 2**24  # bytes of code in an archive; OpenAI's have a tenth of a megabyte


def of_tag(architecture: str, tag: str) -> dict[str, Any]:
    """Every setting of a pre-trained tag, as in ``of_tag("ViT-B-16", "openai")``."""
    return {**DEFAULTS, **of_architecture(architecture), **_settings(get_pretrained_cfg(architecture, tag))}


def of_architecture(architecture: str) -> dict[str, Any]:
    """The settings that open_clip's file of an architecture names: the activation of those ending in ``-quickgelu``."""
    return _settings(open_clip.get_model_config(architecture) or {})


def of_folder(folder: Path, who: str) -> dict[str, Any]:
    """Every setting in ``open_clip_config.json``, as open_clip reads it.

    Raises:
        ConfigError: if there is no such file, or it describes no model.
    """
    path = folder / "open_clip_config.json"
    try:
        config = json.loads(path.read_text("utf-8")) if path.is_file() else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or "model_cfg" not in config:
        raise ConfigError(
            who,
            found=f"no model_cfg in {path}" if path.is_file() else f"no open_clip_config.json in {folder}",
            allowed="a folder in open_clip's own format",
            remedy="Give the folder that 'mmcl export' or open_clip wrote.",
        )
    return {**DEFAULTS, **_settings(config["model_cfg"]), **_settings(config.get("preprocess_cfg", {}))}


def of_archive(path: Path) -> dict[str, Any]:
    """The activation that the code of a TorchScript archive, such as OpenAI's own files, computes; else nothing."""
    if not is_torchscript(path):
        return {}
    with ZipFile(path) as archive:
        sources = [info for info in archive.infolist() if "/code/" in info.filename and info.filename.endswith(".py")]
        if sum(info.file_size for info in sources) > _MOST_CODE:
            return {}
        code = [archive.read(info) for info in sources]
    if any(b"QuickGELU" in text for text in code):
        return {"quick_gelu": True}
    return {"quick_gelu": False} if any(b"gelu" in text for text in code) else {}


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive rather than stored tensors."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def alternatives(architecture: str, known: Settings) -> dict[str, list[Any]]:
    """The values that settings have in the architecture's file and in its pre-trained tags, its own or the first first.

    Args:
        architecture: of the model.
        known: settings that are sure; tags that have others are not looked at, if some have them.
    """
    tags = [of_tag(architecture, tag) for tag in open_clip.list_pretrained_tags_by_model(architecture)]
    alike = [tag for tag in tags if {**tag, **known} == tag] or tags
    plain = {**DEFAULTS, **of_architecture(architecture)}
    values = {name: [tag[name] for tag in alike] or [value] for name, value in plain.items()}
    values["quick_gelu"].insert(0, plain["quick_gelu"])
    return {name: list(dict.fromkeys(possible)) for name, possible in values.items()}


def of_random(architecture: str, asked: Settings, who: str) -> dict[str, Any]:
    """Every setting of a model without weights: the architecture's own, unless others are asked for.

    Raises:
        ConfigError: if the user contradicts the architecture.
    """
    known = agreed(of_architecture(architecture), asked, who, architecture)
    return {**{name: values[0] for name, values in alternatives(architecture, known).items()}, **known}


def of_file(architecture: str, path: Path, asked: Settings, who: str) -> tuple[dict[str, Any], list[str]]:
    """Every setting of a checkpoint file, and a sentence for each that is taken without being sure.

    Args:
        architecture: of the model.
        path: the file.
        asked: what the user says of it.
        who: the backbone.

    Raises:
        ConfigError: if the user contradicts the file or the architecture, or if nobody says the activation where
            weights of this architecture have been trained with both.
    """
    known = agreed(of_archive(path), asked, who, "its code")
    known = agreed(of_architecture(architecture), known, who, architecture)
    possible = alternatives(architecture, known)
    unsure = {name: values for name, values in possible.items() if len(values) > 1 and name not in known}
    if "quick_gelu" in unsure:
        raise ConfigError(
            who,
            found=f"weights of {architecture} are trained with GELU or with QuickGELU, and a file does not say which",
            allowed="quick_gelu=true or quick_gelu=false",
            remedy="--set backbone.quick_gelu=true for weights that were tuned from OpenAI's, MetaCLIP's or DFN's.",
        )
    remarks = [
        f"{who}: weights of {architecture} exist with {name} {' or '.join(map(repr, values))}, and a file does not say "
        f"which; {values[0]!r} is taken. --set backbone.{name}=... if it was trained with another."
        for name, values in unsure.items()
    ]
    return {**{name: values[0] for name, values in possible.items()}, **known}, remarks


def agreed(said: Settings, asked: Settings, who: str, whose: str) -> dict[str, Any]:
    """Both together.

    Args:
        said: by the weights or the architecture.
        asked: by somebody who may know less.
        who: the backbone.
        whose: what says it.

    Raises:
        ConfigError: where the two contradict each other.
    """
    for name, value in asked.items():
        if name in said and said[name] != value:
            raise ConfigError(
                who,
                found=f"{name}={value!r}, but {whose} has {name}={said[name]!r}",
                allowed=f"{name}={said[name]!r}, or nothing",
                remedy="Leave it out, or choose other weights: with another setting they are another model.",
            )
    return {**asked, **said}


def _settings(config: Settings) -> dict[str, Any]:
    """What a configuration says of the settings; JSON has lists for tuples."""
    named = {name: config[name] for name in DEFAULTS if config.get(name) is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in named.items()}
