"""The battery is in order: each mutation still applies, compiles and names tests that exist. Running it is a script."""

import subprocess
import sys
from collections import Counter
from importlib.util import module_from_spec

import pytest

from mmcl.registry import STRATEGIES, entries

from .battery import GENERIC, PARITY, ROOT, Matching, Mutation, battery, registered
from .overlay import Overlay

LEAST, SURVIVORS = 150, 0.05


def test_every_mutation_occurs_once_and_is_python() -> None:
    wrong = []
    for mutation in battery():
        try:
            mutation.source()
        except ValueError as error:
            wrong.append(str(error))
    assert not wrong


def test_there_are_enough_and_few_are_known_to_survive() -> None:
    mutations = battery()
    assert len(mutations) >= LEAST
    assert sum(bool(mutation.survives) for mutation in mutations) <= SURVIVORS * len(mutations)
    assert [name for name, count in Counter(mutation.name for mutation in mutations).items() if count > 1] == []


def test_matching_tests_exist() -> None:
    assert registered() == {entry.name for entry in entries(STRATEGIES) if entry.distribution == "mmcl"}
    for tests in {mutation.tests for mutation in battery()}:
        assert all((ROOT / "tests" / file).exists() for file in (*tests.files, GENERIC, PARITY))
        assert registered() >= set(tests.strategies)
        assert all((ROOT / "tests/parity/data" / method).is_dir() for method in tests.parity)
        assert tests.paths


def test_cases_of_other_strategies_and_methods_are_left_out_and_their_own_come_first() -> None:
    tests = Matching(("strategies/architecture/test_hard_attention.py",), strategies=("ewc",), parity=("hat",))
    generic, golden = f"tests/{GENERIC}/test_passes.py::test_it", f"tests/{PARITY}::test_it"
    assert [tests.rank(f"{generic}{case}") for case in ("[ewc]", "[ewc,samples=4]", "[ewc-0.7]")] == [0, 0, 0]
    assert [tests.rank(f"{generic}{case}") for case in ("", "[CIL]", "[ewch]")] == [2, 2, None]
    assert [tests.rank(f"{golden}{case}") for case in ("[hat/case_1]", "[hat2/case_1]", "")] == [3, None, None]
    assert tests.rank("tests/strategies/architecture/test_hard_attention.py::test_it[ewch]") == 1


def test_a_module_is_made_of_the_mutated_text_under_its_own_name() -> None:
    tests = Matching(())
    mutation = Mutation("mmcl/learning/schedule.py", "doubles", "else lr\n", "else 2 * lr\n", tests)
    assert (mutation.module, mutation.name) == ("mmcl.learning.schedule", "schedule: doubles")
    spec = Overlay(mutation.module, mutation.source()).find_spec(mutation.module, [str(ROOT / "mmcl/learning")])
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.constant(5, 0.5, 0, 9) == 1.0
    assert module.__file__ == str(ROOT / mutation.file)
    assert Overlay(mutation.module, "").find_spec("mmcl.learning.seeding", None) is None


MUTATED = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from battery import ROOT, Matching, Mutation
from overlay import install
file = "strategies/mmcl_strategies/maths/distillation.py"
mutation = Mutation(file, "loses the scale", "scale * unit", "2 * unit", Matching(()))
install(mutation.module, mutation.source())
runpy.run_path(str(ROOT / "tests/conftest.py"))
import torch
from jaxtyping import TypeCheckError
from mmcl_strategies.maths.distillation import contrast_logits
print(contrast_logits(torch.ones(1, 1), torch.ones(1, 1), 1.0).item())
try:
    contrast_logits(torch.ones(1, 1), torch.ones(1, 2), 1.0)
except TypeCheckError:
    print("checked")
"""


def test_a_module_whose_shapes_are_checked_is_mutated_and_checked() -> None:
    command = [sys.executable, "-c", MUTATED, str(ROOT / "tests/mutation")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout.split(), found.stderr) == (["2.0", "checked"], "")


def test_a_text_that_is_not_there_or_no_python_is_refused() -> None:
    for old, new, found in (
        ("def missing", "", "0 times"),
        ("lr", "x", "times"),
        ("def constant(", "def (", "invalid"),
    ):
        with pytest.raises(ValueError, match=found):
            Mutation("mmcl/learning/schedule.py", "is wrong", old, new, Matching(())).source()
