"""Pairs: two processes that begin a run in the same folder, or go on with the same run, at the same time."""

import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import tomllib

from .ledger import Ledger
from .trial import REFUSED, Ending, begin, copy_of, differences, go_on, reference, start, stopped, wait


def pairs(count: int, dice: random.Random, folder: Path) -> Ledger:
    """Exactly one of them goes on, and what is in the folder is its run alone."""
    ledger = Ledger("two processes")
    for trial in range(count):
        if trial % 2:
            out = copy_of(stopped(folder, ()), folder)
            ending = _both([partial(go_on, out), partial(go_on, out)], folder)
            difference = "" if ending.code else differences(reference(folder, ()), out)
        else:
            out = folder / "trial"
            shutil.rmtree(out, ignore_errors=True)
            seeds = dice.sample(range(1000), 2)
            ending = _both([partial(begin, out, (), seed) for seed in seeds], folder)
            difference = "" if ending.code else _mixed(out)
        ledger.note("resume" if trial % 2 else "run", ending, difference, may_refuse=False)
    return ledger


def _both(actions: list[Callable[[], None]], folder: Path) -> Ending:
    """How the one that may go on has ended, if the other one was refused."""
    errors = [folder / f"errors-{number}.txt" for number in range(len(actions))]
    for file in errors:
        file.unlink(missing_ok=True)
    children = [start(action, file) for action, file in zip(actions, errors, strict=True)]
    endings = sorted(map(wait, children, errors), key=lambda ending: ending.code)
    if [ending.code for ending in endings] == [0, REFUSED]:
        return endings[0]
    return Ending(1, " / ".join(f"{ending.code} {ending.said}" for ending in endings))


def _mixed(out: Path) -> str:
    configured = tomllib.loads((out / "config.toml").read_text("utf-8"))["seed"]
    found = json.loads((out / "results.json").read_text("utf-8"))["seed"]
    return "" if configured == found else f"seed {configured} in config.toml and {found} in results.json"
