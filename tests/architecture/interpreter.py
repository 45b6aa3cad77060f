"""A clean interpreter that does one thing after the other, from light to heavy, and prints what was loaded after each.

python interpreter.py FOLDER    # where a command may write
"""

import inspect
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

loaded: dict[str, list[str]] = {}


def note(claim: str) -> None:
    loaded[claim] = sorted({name.partition(".")[0] for name in sys.modules})


def command(*arguments: str, ends: int = 0, claim: str = "") -> None:
    from mmcl.cli import main

    sys.argv, printed, code = ["mmcl", *arguments], StringIO(), 0
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    assert code == ends, printed.getvalue()
    note(claim or " ".join(arguments))


def wrapped() -> list[str]:
    """Functions of public maths that are not as they are written."""
    from mmcl_strategies.architecture import hard_attention
    from mmcl_strategies.maths import distillation, quadratic
    from mmcl_strategies.parameter_efficient import gating, ridge

    from mmcl.evaluation import retrieval
    from mmcl.objectives import likelihoods

    modules = (retrieval, likelihoods, hard_attention, distillation, quadratic, gating, ridge)
    functions = [found for module in modules for _, found in inspect.getmembers(module, inspect.isfunction)]
    checkers = ("jaxtyping", "beartype")
    return [found.__name__ for found in functions if any(name in found.__code__.co_filename for name in checkers)]


def everything() -> None:
    from mmcl.registry import GROUPS, entries, load

    for group in GROUPS:
        for entry in entries(group):
            load(group, entry.name)


if __name__ == "__main__":
    folder = sys.argv[1]
    import mmcl
    import mmcl.streams

    note("import mmcl.streams")
    command("--help")
    command("list")
    command("list", "strategies", "--json")
    command("show", "zscl")
    command("new", "benchmark", "idea", "--dir", folder, claim="new benchmark idea")
    command("check", "nothing", ends=2)
    import mmcl.learning.strategy

    note("import mmcl.learning.strategy")
    command("explain", "ewc")
    command("explain", "zscl", "--benchmark", "mtil", "--backbone", "glyph-clip")
    found = wrapped()
    note("public maths")
    everything()
    note("load every plugin")
    assert mmcl.streams.by_class
    print(json.dumps({"loaded": loaded, "wrapped": found}))
