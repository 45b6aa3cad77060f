"""CORe50, new instances: 50 objects filmed in eleven sessions; eight are learned, three are the fixed test set.

Source: Lomonaco and Maltoni, "CORe50: a new dataset and benchmark for continuous object recognition" (CoRL 2017);
protocol of S-Prompts (Wang, Huang and Hong, NeurIPS 2022).
Scenario: DIL. Every session shows the same 50 objects in another place; the session of a test image is not known.
Protocol: learn eight sessions in the order of run 0; after each, test on sessions 3, 7 and 10, which are never learned.
The test set is the same every time, so the result matrix has one column: its last entry is the published average
accuracy, and forgetting is undefined.
Labels and sessions come from the paths (``sSESSION/oOBJECT/C_...``), the order of sessions from the text lists
``batches_filelists/NI_inc/runR/`` or, where only pickles exist, from ``LUP.pkl`` and ``paths.pkl``, read by an
unpickler that knows lists, dictionaries and numbers and nothing else.
Class names: the ten categories with the number of the object, in the one prompt "a photo of a {}." (ours: S-Prompts
learns the words around a name, and has "scissor" and "glass" for scissors and glasses).
Training defaults: SGD with momentum 0.9, cosine, batch 128, 20 epochs, rate 0.01, weight decay 2e-4 (5e-4 in the first
session). They are made for prompts on a frozen model.
Data: ``--data-root`` holds ``core50_128x128`` and the lists or pickles. The embedded edition has the same layout with
ten held-out symbols.
Deviations: as in ``domainnet``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from mmcl.options import Bounds, Count, check_options
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import DIL, Scenario
from mmcl_benchmarks.copies.data_root import check_size, opened, reading, require, require_count
from mmcl_benchmarks.dil.embedded import EDITION, write_embedded_core50
from mmcl_benchmarks.dil.stream import Settings, domain_stream
from mmcl_benchmarks.formats.content import mapping, texts, whole_numbers
from mmcl_benchmarks.formats.labelled import Source, check_plausible
from mmcl_benchmarks.formats.listing import Entry, Tree, found_side
from mmcl_benchmarks.formats.pickled import read_pickle

FOLDER = "core50_128x128"
OWNER = "the University of Bologna"
CATEGORIES = (
    "plug adapter",
    "mobile phone",
    "scissors",
    "light bulb",
    "can",
    "glasses",
    "ball",
    "marker",
    "cup",
    "remote control",
)
OBJECTS = tuple(f"{category} {number}" for category in CATEGORIES for number in range(1, 6))
SIZES = {"training images": 119_894, "test images": 44_972}
SESSIONS = 8  # for training
Run = Annotated[int, Bounds(0, 9)]  # official orders of them
TEST = "test"  # name of the fixed test set
TEMPLATE = "a photo of a {}."
SETTINGS = Settings(
    later={
        "optimizer": "sgd",
        "momentum": 0.9,
        "schedule": "cosine",
        "epochs": 20,
        "batch_size": 128,
        "lr": 0.01,
        "weight_decay": 2e-4,
    },
    first={"weight_decay": 5e-4},
)
_PATH = re.compile(r"s(?P<session>\d+)/o(?P<object>\d+)/[^/]+\.png", re.ASCII)


@dataclass(kw_only=True)
class CORe50(BenchmarkPlugin):
    """The same objects in one place after the other."""

    name: ClassVar[str] = "core50"
    scenario: ClassVar[Scenario] = DIL

    data_root: str | None = None  # folder that holds core50_128x128 and the lists
    embedded: bool = False  # the edition that comes with MMCL
    validation: bool = False  # with embedded: other symbols and fonts, to choose settings on
    run: Run = 0  # which of the official orders of sessions; papers report 0
    experiences: Count | None = None  # only the first sessions
    strict: bool = False  # refuse data that do not have the official size or lack files

    def __post_init__(self) -> None:
        """Check the options before anything is read."""
        check_options(self, self.name)
        require_count(self.name, self.experiences, SESSIONS)

    def build(self) -> Benchmark:
        """Read the lists.

        Raises:
            ConfigError: if neither or both of ``embedded`` and ``data_root`` are given.
            DataError: if a list is missing or damaged or, with ``strict``, the copy is incomplete.
        """
        root, edition, who = opened(self, write_embedded_core50, EDITION, f"{FOLDER} and batches_filelists")
        require(root, FOLDER, who, OWNER)
        with reading(who, f"run {self.run} below {root}", OWNER):
            *batches, held_out = read_batches(root, self.run)
            sources = _sources(root, batches, held_out, who, self.strict)
            for source in sources.values():
                check_plausible(source, root)
        if edition.official:
            found = {
                "training images": sum(len(source.train) for source in sources.values()),
                "test images": len(next(iter(sources.values())).test),
            }
            check_size(who, found, SIZES, self.strict)
        require_count(self.name, self.experiences, len(sources))
        return domain_stream(
            self.name,
            dict(list(sources.items())[: self.experiences]),
            root=root,
            edition=edition,
            template=TEMPLATE,
            settings=SETTINGS,
            convention=f"ni-run{self.run}",
            common_test=TEST,
        )


def read_batches(root: Path, run: int) -> list[list[str]]:
    """Paths below ``core50_128x128`` of every training batch in order, then those of the test set.

    Raises:
        OSError: if there are neither lists nor pickles of this run.
        ValueError, LookupError: if they are damaged.
    """
    lists = root / "batches_filelists" / "NI_inc" / f"run{run}"
    if lists.is_dir():
        files = [*sorted(lists.glob("train_batch_*_filelist.txt")), lists / "test_filelist.txt"]
        return [[line.split()[0] for line in file.read_text("utf-8").splitlines() if line.strip()] for file in files]
    paths = texts(read_pickle(root / "paths.pkl"), "paths.pkl")
    runs = mapping(read_pickle(root / "LUP.pkl"), "LUP.pkl")["ni"]
    if not isinstance(runs, list) or not all(isinstance(batches, list) for batches in runs):
        raise ValueError("LUP.pkl: 'ni' is no list of runs")
    return [[paths[index] for index in whole_numbers(batch, "LUP.pkl: a batch")] for batch in runs[run]]


def _sources(
    root: Path, batches: Sequence[Sequence[str]], held_out: Sequence[str], who: str, strict: bool
) -> dict[str, Source]:
    """One source per session, all with the same test side.

    Raises:
        ValueError: if a path is not of the official form, a batch mixes sessions, or a session is learned and tested.
    """
    tree = Tree(root / FOLDER)
    test_sessions, entries = _parsed(held_out)
    test, missing = found_side(entries, tree, who, strict)
    sides = {}
    for batch in batches:
        sessions, entries = _parsed(batch)
        if len(sessions) != 1:
            raise ValueError(f"a training batch holds the sessions {sorted(sessions)} instead of one")
        session = sessions.pop()
        if session in test_sessions:
            raise ValueError(f"session {session} is in the training batches and in the test set")
        if f"session {session}" in sides:
            raise ValueError(f"session {session} is in two training batches")
        sides[f"session {session}"] = found_side(entries, tree, who, strict)
    if not sides:
        raise ValueError("there is no training batch")
    classes = 1 + max(label for side in (test, *(side for side, _ in sides.values())) for label in side.labels)
    if classes > len(OBJECTS):
        raise ValueError(f"object {classes}, but there are {len(OBJECTS)}")
    names = OBJECTS[:classes]
    # what the test set lacks is counted once, with the first session
    return {
        session: Source(side, test, names, absent + (missing if number == 0 else 0))
        for number, (session, (side, absent)) in enumerate(sides.items())
    }


def _parsed(paths: Sequence[str]) -> tuple[set[int], list[Entry]]:
    """The sessions of some paths, and each path with its label, the number of the object counted from 0."""
    sessions, entries = set(), []
    for path in paths:
        found = _PATH.fullmatch(path)
        if found is None or int(found["object"]) < 1:
            raise ValueError(f"{path!r} is not of the form sSESSION/oOBJECT/IMAGE.png")
        sessions.add(int(found["session"]))
        entries.append((path, int(found["object"]) - 1))
    return sessions, entries
