"""Damages: files of a run folder that are cut, emptied, replaced, nested or gone, met by every command."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmcl
from mmcl.evaluation.report import markdown_report, results_table
from mmcl.run_folder import RunFolder
from mmcl.use import trained_model

from .ledger import Ledger
from .trial import COMPOSITIONS, copy_of, differences, go_on, in_child, reference, stopped, stream

Damage = Callable[[Path, random.Random], None]


def cut(file: Path, dice: random.Random) -> None:
    """End too soon."""
    file.write_bytes(file.read_bytes()[: dice.randrange(file.stat().st_size)])


def empty(file: Path, dice: random.Random) -> None:
    """Hold nothing, as after a power cut without a flush."""
    file.write_bytes(b"")


def noise(file: Path, dice: random.Random) -> None:
    """Hold other bytes."""
    file.write_bytes(dice.randbytes(file.stat().st_size))


def zeros(file: Path, dice: random.Random) -> None:
    """Hold zeros."""
    file.write_bytes(bytes(file.stat().st_size))


def gone(file: Path, dice: random.Random) -> None:
    """Be lost."""
    file.unlink()


def folder_instead(file: Path, dice: random.Random) -> None:
    """Be a folder."""
    file.unlink()
    file.mkdir()


def other_file(file: Path, dice: random.Random) -> None:
    """Hold what belongs into another file."""
    others = sorted(path for path in file.parents[0].rglob("*") if path.is_file() and path != file)
    if others:
        shutil.copyfile(dice.choice(others), file)


def nested(file: Path, dice: random.Random) -> None:
    """Be nested deeper than any reader goes."""
    opening, closing = dice.choice(("[]", ('{"a":', "}")))
    file.write_text(opening * 50_000 + "1" + closing * 50_000)


def other_value(file: Path, dice: random.Random) -> None:
    """Have a value of another type, or none, somewhere."""
    if file.suffix == ".json":
        content = json.loads(file.read_text("utf-8"))
        holder, key = dice.choice(list(_places(content)) or [({}, None)])
        if key is not None and dice.random() < 0.4:
            del holder[key]
        else:
            holder[key] = dice.choice((None, "text", -3, 1e300, [], {}, [[1]], {"a": 1}, True))
        file.write_text(json.dumps(content))
    else:
        lines = file.read_bytes().splitlines(keepends=True)
        lines[dice.randrange(len(lines))] = dice.choice((b"", b"a = 1\n", b"[[[\n", b"seed = 'x'\n", b"[benchmark]\n"))
        file.write_bytes(b"".join(lines))


DAMAGES: tuple[Damage, ...] = (cut, empty, noise, zeros, gone, folder_instead, other_file, nested, other_value)


def _read(out: Path) -> None:
    results = RunFolder.open(out).results
    results_table(results)
    markdown_report(results)
    mmcl.compare([out]).markdown()


def _use(out: Path) -> None:
    trained_model(RunFolder.open(out))


def _extend(out: Path) -> None:
    mmcl.extend(out, benchmark=stream(), quiet=True)


def damages(count: int, dice: random.Random, folder: Path) -> Ledger:
    """Going on gives the numbers of an undisturbed run or a sentence; reading, using, extending give no traceback."""
    ledger = Ledger("damaged files")
    for trial in range(count):
        strategies = COMPOSITIONS[trial % len(COMPOSITIONS)]
        damage, action = DAMAGES[trial % len(DAMAGES)], dice.choice((go_on, go_on, _read, _use, _extend))
        whole = reference if action is _extend else stopped
        out = copy_of(whole(folder, strategies), folder)
        file = dice.choice(sorted(path for path in out.rglob("*") if path.is_file() and path.stat().st_size))
        damage(file, dice)
        ending = in_child(lambda: action(out), folder)  # noqa: B023
        difference = ""
        if action is go_on and not ending.code:
            difference = differences(reference(folder, strategies), out)
        ledger.note(f"{damage.__name__} {file.relative_to(out)}, {action.__name__}", ending, difference)
    return ledger


def _places(content: Any) -> Any:
    """Every place in nested lists and tables, as holder and key."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys):
        yield content, key
        yield from _places(content[key])
