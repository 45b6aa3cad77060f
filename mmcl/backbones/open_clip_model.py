"""Loading of a model through open_clip, where a doubt about its weights is an error."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
import timm
import torch
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors import SafetensorError
from torch import nn

from mmcl.backbones.open_clip_backbone import OpenCLIPBackbone
from mmcl.backbones.open_clip_config import is_torchscript
from mmcl.backbones.open_clip_plan import Plan
from mmcl.errors import ConfigError

# what these packages warn of is never which weights belong to which model
_OTHERS = tuple(Path(str(package.__file__)).parent for package in (torch, timm, transformers))
_OPEN_CLIP = Path(open_clip.__file__).parent
_HARMLESS = re.compile(
    "QuickGELU mismatch"  # it compares the architecture's file; the settings, which are agreed on, go before
    "|the SHA256 checksum does not match; re-downloading"
    "|No pretrained weights loaded"  # said of random ones; for others it is an error of open_clip's own
    r"|Multiple checkpoints found in .*: \['[^',]*'\]"  # said of a single one with a name of its own
    "|'torch.load' received a zip file|`torch.jit.load` is deprecated"  # of archives
)


def load(plan: Plan) -> OpenCLIPBackbone:
    """The backbone of a plan, in float32 and ready to be trained.

    Raises:
        ConfigError: if open_clip cannot load it, or warns of it.
    """
    clip, tokenizer = _model_and_tokenizer(plan)
    config = open_clip.get_model_config(plan.name)
    assert config is not None
    if plan.settings["quick_gelu"] != config.get("quick_gelu", False):
        config["quick_gelu"] = plan.settings["quick_gelu"]
    clip.eval().requires_grad_(True)
    prepared = PreprocessCfg(**clip.visual.preprocess_cfg)  # type: ignore[union-attr,arg-type]
    train, evaluate = (image_transform_v2(prepared, is_train=flag) for flag in (True, False))
    return OpenCLIPBackbone(clip, config, train, evaluate, tokenizer, origin=plan.origin, remarks=plan.remarks)


def _model_and_tokenizer(plan: Plan) -> tuple[nn.Module, Any]:
    weights, preprocessing = plan.weights, {k: v for k, v in plan.settings.items() if k != "quick_gelu"}
    archive = weights is not None and is_torchscript(Path(weights))
    try:
        with _doubts_as_errors(plan.who), torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            clip = open_clip.create_model(
                plan.name,
                pretrained=weights,
                quick_gelu=plan.settings["quick_gelu"],
                force_preprocess_cfg=preprocessing,
                pretrained_text=False,
                require_pretrained=weights is not None or plan.name.startswith("local-dir:"),
                weights_only=not archive,  # torch reads archives in no other way; they are not unpickled
            )
            return clip, open_clip.get_tokenizer(plan.name)
    except (RuntimeError, OSError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        sentence = " ".join(str(error).split())
        raise ConfigError(
            plan.who,
            found=f"open_clip cannot load it ({type(error).__name__}: {sentence[:300]})",
            allowed="weights of this architecture, on this disk or within reach",
            remedy="Compare architecture and weights; a tag needs the network once, a file or a folder does not.",
        ) from error


@contextmanager
def _doubts_as_errors(who: str) -> Iterator[None]:
    """What is warned or logged as a user's mistake inside the body is an error, unless it is known to mean nothing."""
    logged = _Logged()
    logging.getLogger().addFilter(logged)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            yield
    finally:
        logging.getLogger().removeFilter(logged)
    doubts = list(logged.sentences)
    for warning in said:
        if _HARMLESS.search(str(warning.message)):
            continue
        if issubclass(warning.category, UserWarning) and not _is_of_others(warning.filename):
            doubts.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if doubts:
        raise ConfigError(
            who,
            found=f"open_clip doubts it: {' '.join(doubts[0].split())}",
            allowed="weights and settings that belong together",
            remedy="Choose the architecture, the weights and the options that belong together.",
        )


class _Logged(logging.Filter):
    """Takes open_clip's warnings out of the log; it writes to the root logger."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        own = record.levelno >= logging.WARNING and Path(record.pathname).is_relative_to(_OPEN_CLIP)
        if own and not _HARMLESS.search(record.getMessage()):
            self.sentences.append(record.getMessage())
        return not own


def _is_of_others(filename: str) -> bool:
    return any(Path(filename).is_relative_to(package) for package in _OTHERS)
