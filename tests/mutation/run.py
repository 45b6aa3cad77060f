"""Runs the battery: ``python tests/mutation/run.py [--only PATTERN ...] [--control]``.

The heavy libraries are imported once. Each mutation then has a process of its own, forked before anything of this
project is imported, which finds the mutated module through an overlay and runs the matching tests up to the first
failure. Killed is a mutation that makes a test fail, or makes the tests take more than a time limit.
"""

import argparse
import gc
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from battery import PACKAGES, ROOT, Matching, Mutation, battery
from overlay import install

CPU_SECONDS = 300  # of one mutation; only an endless loop takes them
TIME_IS_UP = -1
WALL_FACTOR = 4  # a shared machine may be slow, but not for ever
REQUIRED = 0.95
PARTS = [part.name for part in fields(Matching)]
# the parent has imported plugins of pytest before pytest could rewrite their assertions, of which they have none
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", "-W", "ignore::pytest.PytestAssertRewriteWarning")
HEAVY = (
    "avalanche.training.plugins",
    "avalanche.training.templates",
    "hypothesis",
    "open_clip",
    "peft",
    "sklearn.covariance",
    "sklearn.mixture",
    "torchvision",
    "transformers",
)


@dataclass
class Outcome:
    """What came of the tests in one process.

    Attributes:
        code: pytest's exit code, or ``TIME_IS_UP``.
        failed: the first test that failed.
        seconds: of the processor.
        log: the end of what pytest printed.
    """

    code: int
    failed: str
    seconds: float
    log: str

    @property
    def killed(self) -> bool:
        """Whether a test failed or did not come to an end."""
        return self.code in (TIME_IS_UP, int(pytest.ExitCode.TESTS_FAILED))


@dataclass
class Watch:
    """A plugin of pytest: only the wanted cases, and a note of what failed."""

    tests: Matching
    failed: list[str] = field(default_factory=list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the cases of other strategies and methods, and begin with those of the ones that are mutated."""
        ranked = [(rank, item) for item in items if (rank := self.tests.rank(item.nodeid)) is not None]
        items[:] = [item for _, item in sorted(ranked, key=lambda pair: pair[0])]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what failed."""
        if report.failed:
            self.failed.append(report.nodeid)


def run_tests(tests: Matching, mutation: Mutation | None = None) -> Outcome:
    """Run the tests in a forked process, with a mutation or, for control, without."""
    with tempfile.TemporaryDirectory() as folder:
        answer, log = Path(folder) / "answer", Path(folder) / "log"
        child = os.fork()
        if child == 0:
            _become_tests(tests, mutation, answer, log)
        _, status, usage = os.wait4(child, 0)
        if os.WIFSIGNALED(status):
            code, failed = TIME_IS_UP, "time is up"
        else:
            code, failed = pickle.loads(answer.read_bytes())
        text = log.read_text("utf-8", errors="replace")[-2000:] if log.exists() else ""
        return Outcome(code, failed, usage.ru_utime + usage.ru_stime, text)


def _become_tests(tests: Matching, mutation: Mutation | None, answer: Path, log: Path) -> Any:
    """What the child does; it never returns."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    signal.alarm(CPU_SECONDS * WALL_FACTOR)
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    watch, code = Watch(tests), int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        if mutation is not None:
            install(mutation.module, mutation.source())
        code = int(pytest.main([*OPTIONS, *tests.paths], plugins=[watch]))
    finally:
        answer.write_bytes(pickle.dumps((code, watch.failed[0] if watch.failed else "")))
        sys.stdout.flush()
        os._exit(0)


def prepare() -> None:
    """Import what takes long and is none of this project, so that every child has it."""
    sys.path[:0] = map(str, PACKAGES)
    sys.dont_write_bytecode = True
    os.chdir(ROOT)
    for name in HEAVY:
        __import__(name)
    import torch

    torch.set_num_threads(1)
    ours = sorted(name for name in sys.modules if name.split(".")[0] in ("mmcl", "mmcl_strategies", "mmcl_benchmarks"))
    assert not ours, f"the parent must not import {ours[0]}"
    gc.collect()
    gc.freeze()  # pytest collects garbage several times, and need not look at all this each time


def control(mutations: Iterable[Mutation]) -> bool:
    """Whether all matching tests pass without any mutation; else a kill would mean nothing."""
    every = [mutation.tests for mutation in mutations]
    joined = {name: dict.fromkeys(part for tests in every for part in getattr(tests, name)) for name in PARTS}
    outcome = run_tests(Matching(*map(tuple, joined.values())))
    print(f"control: exit code {outcome.code}, {outcome.seconds:.0f} s {outcome.failed}", flush=True)
    if outcome.code:
        print(outcome.log)
    return outcome.code == 0


def chosen(patterns: Sequence[str]) -> list[Mutation]:
    """The mutations whose file or name matches one of the patterns; all without a pattern."""
    return [
        mutation
        for mutation in battery()
        if not patterns or any(fnmatchcase(text, f"*{p}*") for p in patterns for text in (mutation.file, mutation.name))
    ]


def report(outcomes: Sequence[tuple[Mutation, Outcome]]) -> bool:
    """Print the table, the survivors and the sums; whether enough were killed and no verdict is a surprise."""
    survivors = [mutation for mutation, outcome in outcomes if outcome.code == 0]
    broken = [mutation for mutation, outcome in outcomes if outcome.code > 1]
    surprises = [mutation for mutation in survivors if not mutation.survives]
    obsolete = [mutation for mutation, outcome in outcomes if outcome.killed and mutation.survives]
    print("\nsurvivors")
    for mutation in survivors:
        print(f"  {mutation.name}: {mutation.survives or 'NO REASON KNOWN'}")
    for mutation in broken:
        print(f"  {mutation.name}: the tests could not run")
    for mutation in obsolete:
        print(f"  {mutation.name}: is killed after all, its reason is obsolete")
    killed = sum(outcome.killed for _, outcome in outcomes)
    share = killed / max(len(outcomes), 1)
    seconds = sum(outcome.seconds for _, outcome in outcomes)
    print(f"\n{killed} of {len(outcomes)} killed ({share:.1%}), {seconds:.0f} s of processor time")
    return share >= REQUIRED and not surprises and not broken and not obsolete


def main() -> int:
    """Run what the command line asks for; 0 if the battery holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="PATTERN", help="parts of file names or of meanings")
    parser.add_argument("--control", action="store_true", help="run the matching tests without a mutation first")
    parser.add_argument("--log", action="store_true", help="show what the tests of a survivor printed")
    options = parser.parse_args()
    mutations = chosen(options.only)
    prepare()
    if options.control and not control(mutations):
        return 1
    outcomes = []
    begin = time.monotonic()
    for number, mutation in enumerate(mutations, start=1):
        outcome = run_tests(mutation.tests, mutation)
        outcomes.append((mutation, outcome))
        verdict = "killed" if outcome.killed else "SURVIVES" if outcome.code == 0 else f"BROKEN ({outcome.code})"
        by = outcome.failed.removeprefix("tests/")
        print(f"{number:3d} {verdict:8} {outcome.seconds:5.1f} s  {mutation.name}  <- {by}", flush=True)
        if options.log and not outcome.killed:
            print(outcome.log)
    gc.unfreeze()
    holds = report(outcomes)
    print(f"{time.monotonic() - begin:.0f} s in all")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
