"""Identity: what a run was begun with, and how what it is continued with differs.

    identity.json
      schema        of this file
      settings      whatever decides the numbers beside the data: seed, options of backbone and strategies, weights
      experiences   of the stream: names, classes, resolved training, size and digest of both sides
      references    size and digest of the reference data of the benchmark and of strategies
      surroundings  what should not matter: versions, threads, device, where the data lie

Other settings and other data are refused; other surroundings are a remark.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from mmcl.config import IN_MEMORY, RunConfig, resolve_training
from mmcl.data.content import content_key
from mmcl.data.digest import samples_digest
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import SampleDataset
from mmcl.environment import environment, version_of
from mmcl.errors import CheckpointError
from mmcl.evaluation.report import WITHOUT_EFFECT
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.options import PLACES
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, entries, load
from mmcl.run_folder import RunFolder
from mmcl.stored_json import reading
from mmcl.streams.benchmark import Benchmark

SCHEMA = 2
EXTENSIONS = "extensions"  # in the surroundings
_SIDE = {"samples": int, "digest": str}
_EXPERIENCE = {
    "name": str,
    "domain": str,
    "modalities": [str],
    "classes": [{"id": int, "name": str, "templates": [str]}],
    "training": dict,
    "train": _SIDE,
    "test": _SIDE,
}
# what is read of the file: a type, or what a list and the named entries of a dictionary hold
_FORM = {"settings": dict, "experiences": [_EXPERIENCE], "references": dict, "surroundings": {EXTENSIONS: [str]}}


@dataclass(frozen=True)
class Identity:
    """What a run is, as plain values.

    Attributes:
        settings: name -> value, of all that decides the numbers beside the data.
        experiences: of the stream, in order.
        references: of the reference data, by who names them.
        surroundings: name -> value, of what should not matter.
        schema: of the file it was read from.
    """

    settings: dict[str, Any]
    experiences: list[dict[str, Any]]
    references: dict[str, dict[str, Any]]
    surroundings: dict[str, Any]
    schema: int = SCHEMA

    @property
    def data(self) -> str:
        """Stands for the samples and classes of every side of every experience, and for the reference data."""
        facts = [{name: data[name] for name in ("name", "classes", "train", "test")} for data in self.experiences]
        return content_key([facts, self.references])[:8]

    def to_dict(self) -> dict[str, Any]:
        """The content of the file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Any, who: str) -> "Identity":
        """The inverse of ``to_dict``.

        Raises:
            CheckpointError: if there is none, because the run is of an earlier version, or it has another schema.
        """
        schema = stored.get("schema") if isinstance(stored, Mapping) else None
        if schema != SCHEMA:
            raise CheckpointError(
                who,
                found="no identity.json" if stored is None else f"an identity.json of schema {schema}",
                allowed=f"schema {SCHEMA}: another version of MMCL wrote it, whose numbers this one would not continue",
                remedy="Use the version of MMCL in results.json, or run again into a new folder.",
            )
        with reading(who):
            _require_form(stored, _FORM, "identity.json")
        return cls(**{field.name: stored[field.name] for field in fields(cls)})


def _require_form(value: Any, form: Any, where: str) -> None:
    """Refuse what has not the form of the file, wherever in it.

    Raises:
        TypeError: naming the place.
    """
    kind: Any = form if isinstance(form, type) else type(form)
    if type(value) is not kind:
        raise TypeError(f"{where} is a {type(value).__name__} where a {kind.__name__} belongs")
    if isinstance(form, list):
        for position, item in enumerate(value):
            _require_form(item, form[0], f"{where}[{position}]")
    elif isinstance(form, dict):
        for name, inner in form.items():
            if name not in value:
                raise TypeError(f"{where} has no {name!r}")
            _require_form(value[name], inner, f"{where}.{name}")


def identity_of(
    config: RunConfig,
    benchmark: Benchmark,
    backbone: BackbonePlugin,
    strategies: Mapping[str, StrategyPlugin],
    references: Mapping[str, ReferenceData],
    weights: str,
    device: torch.device,
    training: Mapping[str, Any],
) -> Identity:
    """What a run is now.

    Args:
        config: its configuration.
        benchmark: its stream, with what has extended it.
        backbone: the plugin.
        strategies: name -> plugin.
        references: the reference data by who names them: ``benchmark`` or a strategy.
        weights: digest of the backbone's weights before training.
        device: what it runs on.
        training: settings that the backbone has as defaults.
    """
    settings = model_settings(config, backbone, strategies, weights) | {
        "scenario": benchmark.scenario.name,
        "objective": str(benchmark.objective),
        "metric": benchmark.metric.name,
        "probe": config.probe,
    }
    content = {
        "settings": settings,
        "experiences": list(_experiences(config, benchmark, training)),
        "references": {name: _reference(data) for name, data in references.items()},
        "surroundings": _surroundings(config, benchmark, device),
        "schema": SCHEMA,
    }
    # as it will be read from the file: tuples are lists there
    return Identity.from_dict(json.loads(json.dumps(content, default=str)), benchmark.name)


def recorded_identity(folder: RunFolder) -> Identity | None:
    """What a run was begun with; ``None`` if it has not begun.

    Raises:
        CheckpointError: if a run has begun and does not say with what.
    """
    stored = folder.read_json("identity.json")
    if stored is None and folder.progress is None:
        return None
    return Identity.from_dict(stored, f"run folder {folder.path}")


def model_settings(
    config: RunConfig, backbone: BackbonePlugin, strategies: Mapping[str, StrategyPlugin], weights: str
) -> dict[str, Any]:
    """The part of the settings that a trained model depends on, whatever the data."""
    settings = {"seed": config.seed, "backbone": config.backbone.name, "strategies": list(strategies)}
    for name, plugin in (("backbone", backbone), *strategies.items()):
        settings |= {f"{name}.{option}": value for option, value in _options(plugin).items()}
    plain: dict[str, Any] = json.loads(json.dumps(settings | {"weights of the backbone": weights}, default=str))
    return plain


def _experiences(config: RunConfig, benchmark: Benchmark, usual: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    known: dict[int, dict[str, Any]] = {}  # experiences may share a test set

    def side(samples: SampleDataset) -> dict[str, Any]:
        if id(samples) not in known:
            known[id(samples)] = {"samples": len(samples), "digest": samples_digest(samples)}
        return known[id(samples)]

    for data in benchmark.experiences:
        training = resolve_training(usual, benchmark.training, data.training, config.training).to_dict()
        yield {
            "name": data.name,
            "domain": data.domain,
            "modalities": sorted(data.modalities),
            "classes": data.label_space.to_list(),
            "training": {name: value for name, value in training.items() if name not in WITHOUT_EFFECT},
            "train": side(data.train),
            "test": side(data.test),
        }


def _reference(reference: ReferenceData) -> dict[str, Any]:
    return {
        "images": len(reference.images),
        "digest of the images": samples_digest(reference.images),
        "texts": len(reference.texts),
        "digest of the texts": content_key(list(reference.texts))[:16],
    }


def _surroundings(config: RunConfig, benchmark: Benchmark, device: torch.device) -> dict[str, Any]:
    here = environment()
    training = resolve_training(benchmark.training, config.training).to_dict()
    plugins = [(BACKBONES, config.backbone), *((STRATEGIES, strategy) for strategy in config.strategies)]
    if not config.benchmark.name.startswith(IN_MEMORY):
        plugins.append((BENCHMARKS, config.benchmark))
    said = config.to_dict()["benchmark"]  # as the file says it, from which the run may have come
    return {
        # the experiences themselves are compared, not the option that counts them
        **{f"benchmark.{name}": value for name, value in said.items() if name not in ("name", "experiences")},
        **{
            f"{plugin.name}.{name}": plugin.options[name]
            for plugin in config.strategies
            for name in sorted(PLACES & plugin.options.keys())
        },
        EXTENSIONS: list(config.extensions),
        **{f"training.{name}": training[name] for name in sorted(WITHOUT_EFFECT)},
        **{f"origin of {plugin.name}": _origin(group, plugin.name) for group, plugin in plugins},
        **{name: here[name] for name in ("python", "platform")},
        **{f"version of {name}": number for name, number in here["packages"].items()},
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def _origin(group: str, name: str) -> str:
    """The distribution of a plugin with its version, or the file of one that none has registered."""
    for entry in entries(group):
        if name in (entry.name, entry.qualified):
            return f"{entry.distribution} {version_of(entry.distribution)}"
    file = inspect.getsourcefile(load(group, name))
    return "" if file is None else f"{file} ({sha256(Path(file).read_bytes()).hexdigest()[:8]})"


def _options(plugin: Any) -> dict[str, Any]:
    """All options but those that say where data lie; what lies there is compared."""
    if not is_dataclass(plugin):
        return {}
    names = [option.name for option in fields(plugin) if option.init and option.name not in PLACES]
    return {name: getattr(plugin, name) for name in names}
