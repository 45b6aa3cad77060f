"""Options as people type them, for every registered plugin, and configurations with a few bytes changed."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from mmcl.arguments import parse_plugin, parse_value
from mmcl.config import PluginConfig, RunConfig, read_toml, write_toml
from mmcl.options import instantiate
from mmcl.registry import GROUPS, entries, load

from .ledger import Ledger

VALUES = (
    *("1", "0", "-1", "2", "0.5", "1e-9", "1e9", "1e300", "1e999", "-1e999", "NaN", "Infinity", "9" * 30, "9" * 400),
    *("true", "none", "null", "", " ", "'", "''", "'1'", '"', "[", "[]", "[1]", "[1,2]", "[[1]]", "{}", '{"a":1}'),
    *(
        "[0.1,1e999]",
        "[-1,2]",
        "[" * 500,
        "0x10",
        "1_000",
        "+1",
        "\u0661",
        "é",
        "\0",
        "\x1b[2J",
        "[red]x",
        "a" * 500,
        "../..",
    ),
    *(
        "batch",
        "second",
        "mse",
        "gaussian",
        "class_balanced",
        "paper",
        "initial",
        "stored",
        "random",
        "ViT-B-32/random",
    ),
)
CHARACTERS = "abz019.,:;='\"[]{}()-+eE_ \\/\t\n\0é\x1b"
TOKENS = (
    *(
        b"1e999",
        b"nan",
        b"inf",
        b"-1",
        b"9" * 400,
        b"[[",
        b"]]",
        b"[" * 400,
        b'"',
        b"'''",
        b"= ",
        b"\n",
        b"\0",
        b"\xff",
    ),
    *(
        b"{ a = 1 }",
        b"a." * 100,
        b"true",
        b"[training]",
        b"[[strategy]]",
        b"name = ",
        b"1979-05-27",
        b"0x1",
        b"\\u0000",
    ),
)


def fuzz_options(count: int, chance: random.Random) -> Ledger:
    """``name:key=value,...`` with plausible and impossible values; what is taken survives a configuration."""
    ledger, plugins = Ledger("options as typed"), _plugins()
    for _ in range(count):
        name, (kind, names) = chance.choice(list(plugins.items()))
        text = f"{name}:{','.join(_option(names, chance) for _ in range(chance.randint(1, 3)))}"
        ledger.attempt(repr(text[:200]), lambda text=text, kind=kind: _taken(text, kind))
    return ledger


def fuzz_values(count: int, chance: random.Random) -> Ledger:
    """Whatever is typed as a value is a value, and the same one when it is stored."""
    ledger = Ledger("values as typed")
    for _ in range(count):
        text = "".join(chance.choices(CHARACTERS, k=chance.randint(0, 12))) if chance.random() < 0.7 else _value(chance)
        ledger.attempt(repr(text[:200]), lambda text=text: _stored(parse_value(text)))
    return ledger


def fuzz_configurations(count: int, chance: random.Random, folder: Path) -> Ledger:
    """Complete configurations with a few bytes changed: refused, or the same once it is written again."""
    ledger, path = Ledger("configurations"), folder / "config.toml"
    wholes = []
    for config in _CONFIGS:
        write_toml(config, path)
        wholes.append(path.read_bytes())
    for _ in range(count):
        raw = mutated(chance.choice(wholes), chance, TOKENS)
        path.write_bytes(raw)
        ledger.attempt(repr(raw[-200:]), lambda: _same(read_toml(path), folder / "again.toml"))
    return ledger


def mutated(raw: bytes, chance: random.Random, tokens: Sequence[bytes]) -> bytes:
    """A file with one to three changes: other bytes, bytes too many or too few, a token, an end too soon."""
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(raw) + 1)
        length = chance.choice((0, 1, 1, 4, 16))
        new = chance.choice((b"", chance.choice(tokens), bytes(chance.randrange(256) for _ in range(length or 1))))
        raw = raw[:place] + new + (b"" if chance.random() < 0.05 else raw[place + length :])
    return raw


def _plugins() -> Mapping[str, tuple[type, list[str]]]:
    found = {entry.name: load(group, entry.name) for group in GROUPS for entry in entries(group)}
    return {name: (kind, [f.name for f in fields(kind) if f.init]) for name, kind in found.items()}


def _option(names: Sequence[str], chance: random.Random) -> str:
    name = chance.choice([*names, "nothing"]) if names else "nothing"
    return f"{name}={_value(chance)}"


def _value(chance: random.Random) -> str:
    value = chance.choice(("1", "2", "8", "0.5", "0.1", "true", "none") if chance.random() < 0.6 else VALUES)
    return value if chance.random() < 0.9 else value + chance.choice(CHARACTERS)


def _taken(text: str, kind: type) -> str | None:
    config = parse_plugin(text)
    plugin = instantiate(kind, config.options, config.name)
    options = {f.name: getattr(plugin, f.name) for f in fields(kind) if f.init}
    content = RunConfig(benchmark=PluginConfig("none"), strategies=(PluginConfig("it", options),)).to_dict()
    (stored,) = RunConfig.from_dict(content).strategies
    again = instantiate(kind, stored.options, "it")
    changed = [name for name, value in options.items() if getattr(again, name) != value]
    return f"{changed[0]} is another value when it has been stored" if changed else None


def _stored(value: Any) -> str | None:
    config = RunConfig(benchmark=PluginConfig("none", {"value": value}))
    again = RunConfig.from_dict(config.to_dict()).benchmark.options["value"]
    return None if again == (value if value is not None else "none") else f"{value!r} becomes {again!r}"


def _same(config: RunConfig, path: Path) -> str | None:
    write_toml(config, path)
    # as text, in which NaN, refused later by the option's field, equals itself
    one, other = (json.dumps(each.to_dict(), sort_keys=True, default=repr) for each in (config, read_toml(path)))
    return None if one == other else "it is another configuration when written again"


_CONFIGS = (
    RunConfig(
        benchmark=PluginConfig("mtil", {"embedded": True, "experiences": 2}),
        backbone=PluginConfig("openclip", {"weights": "ViT-B-32/random", "mean": (0.5, 0.5, 0.5)}),
        strategies=(
            PluginConfig("ewc", {"strength": 3.5, "include": ("*visual*",)}),
            PluginConfig("replay", {"size": 9}),
        ),
        training={"iterations": 3, "lr": 1e-3, "betas": (0.9, 0.99), "freeze": ("*logit_scale",)},
        seed=3,
        out="runs/x",
        log=("tensorboard",),
        probe=4,
    ),
    RunConfig(
        benchmark=PluginConfig(
            "own",
            {
                "data_root": "/data/rows.csv",
                "by": "domain",
                "domain": "maker",
                "columns": {"window": "acceleration", "notes": "none"},
                "order": ("anna", "bert"),
            },
        ),
        backbone=PluginConfig("composite", {"towers": ("glyph-clip", "my.sensors:Windows")}),
        extensions=("/data/more", "/data/even more.csv"),
    ),
)
