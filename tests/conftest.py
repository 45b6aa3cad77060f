"""What all tests have in common."""

import random
import sys
from importlib.machinery import PathFinder
from unittest.mock import patch

from jaxtyping import install_import_hook

# of a sequence a checker looks at items that it draws: with a generator of its own, since tests watch the global one
with patch.object(random, "getrandbits", random.Random(0).getrandbits):
    from beartype import beartype

    @beartype
    def _made_ready(values: list[int]) -> None:
        """Whatever makes a check has been imported now."""


# of these the shapes that annotations state are checked, from before their first import; not of the files of strategies
# themselves, whose options have refusals of their own: what such a file computes goes through these
CHECKED = (
    "mmcl.evaluation.few_shot",
    "mmcl.evaluation.retrieval",
    "mmcl.evaluation.spatial_disorder",
    "mmcl.objectives",
    "mmcl_strategies.architecture.column",
    "mmcl_strategies.architecture.gate",
    "mmcl_strategies.architecture.gated_addons",
    "mmcl_strategies.architecture.gated_head",
    "mmcl_strategies.architecture.hard_attention",
    "mmcl_strategies.architecture.ownership",
    "mmcl_strategies.maths",
    "mmcl_strategies.parameter_efficient.components",
    "mmcl_strategies.parameter_efficient.draws",
    "mmcl_strategies.parameter_efficient.experts",
    "mmcl_strategies.parameter_efficient.gating",
    "mmcl_strategies.parameter_efficient.interaction",
    "mmcl_strategies.parameter_efficient.layer_prompts",
    "mmcl_strategies.parameter_efficient.prefixes",
    "mmcl_strategies.parameter_efficient.prompt_pool",
    "mmcl_strategies.parameter_efficient.prompts",
    "mmcl_strategies.parameter_efficient.merging",
    "mmcl_strategies.parameter_efficient.regression",
    "mmcl_strategies.parameter_efficient.residual_attention",
    "mmcl_strategies.parameter_efficient.ridge",
    "mmcl_strategies.pseudo_replay.class_densities",
    "mmcl_strategies.pseudo_replay.density",
    "mmcl_strategies.pseudo_replay.feature_vae",
    "mmcl_strategies.pseudo_replay.generator",
    "mmcl_strategies.pseudo_replay.vae",
    "mmcl_strategies.replay.nearest_mean",
    "mmcl_strategies.routing.centroids",
    "mmcl_strategies.routing.gaussian",
    "mmcl_strategies.routing.keys",
    "mmcl_strategies.routing.modality_matching",
    "mmcl_strategies.routing.reconstruction",
    "mmcl_strategies.shared",
)
# a whole number is welcome where a float is annotated (PEP 484)
install_import_hook(CHECKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
# it has put itself first; where it stands now, whoever finds a module elsewhere, as the battery of mutations does, is
# asked before it
sys.meta_path.insert(sys.meta_path.index(PathFinder) - 1, sys.meta_path.pop(0))

# ruff: noqa: E402
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from mmcl_benchmarks.mtil.embedded import EDITION, write_mtil

from mmcl.data.cache import materialise

# timings say nothing on a shared machine, and whether a change is right must not depend on what is drawn that day:
# the same examples every time, and others with ``pytest --hypothesis-profile exploring``
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("exploring"), derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def one_thread_per_worker() -> None:
    """Two test workers share two cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def in_the_foreground() -> Iterator[None]:
    """A shell has its background jobs ignore Ctrl-C, and a test run may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


FLUSH = os.fsync


@pytest.fixture(autouse=True, scope="session")
def no_flushes() -> Iterator[None]:
    """Waiting for the disk a dozen times in every run would only take time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        patch.setattr(os, "sync", lambda: None, raising=False)
        yield


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is flushed is on the disk, for tests in which the power fails."""
    monkeypatch.setattr(os, "fsync", FLUSH)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for the session, so that no test writes into the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def embedded_mtil(cache: Path) -> Path:
    """The embedded edition of MTIL, written once a session."""
    return materialise(f"mtil-{EDITION}", write_mtil)
