"""Loading of a model through open_clip, where a doubt about its weights is an error."""

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
from safetensors import SafetensorError
from torch import nn

from mmcl.backbones.open_clip_config import Settings, is_torchscript
from mmcl.errors import ConfigError

# what these packages warn of is never which weights belong to which model
_OTHERS = tuple(Path(str(package.__file__)).parent for package in (torch, timm, transformers))
_HARMLESS = (
    "QuickGELU mismatch",  # it compares the architecture's file; the settings, which are agreed on, go before
    "the SHA256 checksum does not match; re-downloading",
)
_OF_ARCHIVES = ("'torch.load' received a zip file", "`torch.jit.load` is deprecated")


def load_model(name: str, weights: str | None, settings: Settings, seed: int, who: str) -> tuple[nn.Module, Any]:
    """Model and tokeniser.

    Args:
        name: an architecture, or ``local-dir:FOLDER``.
        weights: a pre-trained tag or a file; ``None`` for those of the folder, or for random ones.
        settings: activation and preprocessing.
        seed: of random weights.
        who: the backbone, for errors.

    Raises:
        ConfigError: if open_clip cannot load it, or warns of it.
    """
    archive = weights is not None and is_torchscript(Path(weights))
    try:
        with _doubts_as_errors(who), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            clip = open_clip.create_model(
                name,
                pretrained=weights,
                quick_gelu=settings["quick_gelu"],
                force_preprocess_cfg={field: value for field, value in settings.items() if field != "quick_gelu"},
                pretrained_text=False,
                require_pretrained=weights is not None or name.startswith("local-dir:"),
                weights_only=not archive,  # torch reads archives in no other way; they are not unpickled
            )
            return clip, open_clip.get_tokenizer(name)
    except (RuntimeError, OSError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        sentence = " ".join(str(error).split())
        raise ConfigError(
            who,
            found=f"open_clip cannot load it ({type(error).__name__}: {sentence[:300]})",
            allowed="weights of this architecture, on this disk or within reach",
            remedy="Compare architecture and weights; a tag needs the network once, a file or a folder does not.",
        ) from error


@contextmanager
def _doubts_as_errors(who: str) -> Iterator[None]:
    """What is warned of as a user's mistake inside the body is an error, unless it is known to mean nothing."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    for warning in said:
        sentence = str(warning.message)
        if any(harmless in sentence for harmless in (*_HARMLESS, *_OF_ARCHIVES)):
            continue
        if not issubclass(warning.category, UserWarning) or _is_of_others(warning.filename):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            continue
        raise ConfigError(
            who,
            found=f"open_clip doubts it: {' '.join(sentence.split())}",
            allowed="weights and settings that belong together",
            remedy="Choose the architecture, the weights and the options that belong together.",
        )


def _is_of_others(filename: str) -> bool:
    return any(Path(filename).is_relative_to(package) for package in _OTHERS)
