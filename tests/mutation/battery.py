"""Mutation: one small fault in one source file, and the tests that should notice it."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
GENERIC, PARITY = "strategies/generic", "parity/test_parity.py"
PACKAGES = (ROOT, ROOT / "strategies", ROOT / "benchmarks")  # folders that hold importable packages


@dataclass(frozen=True)
class Matching:
    """The tests that match a group of mutations.

    Attributes:
        files: files or folders below ``tests``, in the order in which they run.
        strategies: whose cases of ``GENERIC`` run before, and its common cases after them.
        parity: methods whose golden vectors are compared last.
    """

    files: tuple[str, ...]
    strategies: tuple[str, ...] = ()
    parity: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """What pytest is to collect, in order."""
        generic = [GENERIC] if self.strategies else []
        return [str(ROOT / "tests" / file) for file in (*generic, *self.files, *([PARITY] if self.parity else []))]

    def rank(self, node: str) -> int | None:
        """When a collected test runs, the smallest first: whatever is likeliest to fail; ``None`` if it is left out."""
        case = node.partition("[")[2]
        if PARITY in node:
            return 3 if any(case.startswith(f"{method}/") for method in self.parity) else None
        if GENERIC not in node:
            return 1
        of = {name for name in registered() if case.startswith((f"{name}-", f"{name},", f"{name}]"))}
        return 2 if not of else 0 if of & set(self.strategies) else None


@cache
def registered() -> frozenset[str]:
    """Names of strategies, read without importing any."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return frozenset(project["entry-points"]["mmcl.strategies"])


@dataclass(frozen=True)
class Mutation:
    """A replacement in a source file.

    Attributes:
        file: below the root of the repository.
        what: what the mutated source does.
        old: text that occurs exactly once.
        new: what stands there instead.
        tests: those that should fail.
        survives: why none of them does; empty if one should.
    """

    file: str
    what: str
    old: str
    new: str
    tests: Matching
    survives: str = ""

    @property
    def name(self) -> str:
        """Unique in the battery."""
        return f"{Path(self.file).stem}: {self.what}"

    @property
    def module(self) -> str:
        """Name of the module that the file is."""
        path = ROOT / self.file
        package = max((folder for folder in PACKAGES if folder in path.parents), key=lambda folder: len(folder.parts))
        return ".".join(path.relative_to(package).with_suffix("").parts)

    def source(self) -> str:
        """The mutated text of the whole file.

        Raises:
            ValueError: if the old text is not there exactly once, or the new text is no Python.
        """
        text = (ROOT / self.file).read_text("utf-8")
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: the old text is {found} times in {self.file}")
        mutated = text.replace(self.old, self.new)
        try:
            compile(mutated, self.file, "exec")
        except SyntaxError as error:
            raise ValueError(f"{self.name}: {error}") from error
        return mutated


def battery(folder: Path = Path(__file__).parent / "mutations") -> Sequence[Mutation]:
    """All mutations, in the order of the files that list them."""
    return [mutation for path in sorted(folder.glob("*.toml")) for mutation in _listed(path)]


def _listed(path: Path) -> Iterator[Mutation]:
    for group in tomllib.loads(path.read_text("utf-8"))["group"]:
        tests = Matching(*(tuple(group.get(name, ())) for name in ("tests", "strategies", "parity")))
        for what, old, new, *reason in group["mutations"]:
            yield Mutation(group["file"], what, old, new, tests, *reason)
