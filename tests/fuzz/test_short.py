"""The fuzz campaign in short: every attempt is taken or refused in a sentence, and what is taken stays the same."""

import random
from pathlib import Path

import pytest

from .ledger import Ledger
from .matrices import fuzz_label_spaces, fuzz_matrices
from .options import fuzz_configurations, fuzz_options, fuzz_values
from .readers import fuzz_readers


def test_options_values_and_configurations(tmp_path: Path) -> None:
    for ledger in (
        fuzz_options(400, random.Random(11)),
        fuzz_values(400, random.Random(12)),
        fuzz_configurations(200, random.Random(13), tmp_path),
    ):
        assert ledger.faults == []
        assert 0 < ledger.refused < ledger.tried or ledger.part == "values as typed"


def test_files_of_every_benchmark(tmp_path: Path) -> None:
    ledger = fuzz_readers(30, random.Random(14), tmp_path)
    assert ledger.faults == []
    assert 0 < ledger.refused < ledger.tried == 30


def test_matrices_and_label_spaces() -> None:
    for ledger in (fuzz_matrices(200, random.Random(15)), fuzz_label_spaces(400, random.Random(16))):
        assert ledger.faults == []


def test_a_ledger_tells_sentences_from_tracebacks_and_silent_changes() -> None:
    ledger = Ledger("it")
    ledger.attempt("fine", lambda: None)
    ledger.attempt("changed", lambda: "another value")
    ledger.attempt("broken", lambda: [][1])
    assert (ledger.tried, ledger.refused) == (3, 0)
    assert [fault.partition(" (")[0] for fault in ledger.faults] == [
        "changed: another value",
        "broken: IndexError: list index out of range",
    ]
    with pytest.raises(KeyboardInterrupt):
        ledger.attempt("interrupted", _interrupt)


def _interrupt() -> None:
    raise KeyboardInterrupt
