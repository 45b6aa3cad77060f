"""The validation editions: as large as those that tables report, of other symbols and fonts, never taken for them."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from mmcl_benchmarks.cil.embedded import write_embedded_cifar100
from mmcl_benchmarks.dil.embedded import DOMAINS, FONTS, TINTS
from mmcl_benchmarks.glyphs import sets
from mmcl_benchmarks.glyphs.drawing import coverage
from mmcl_benchmarks.glyphs.split import TEST, VALIDATION
from mmcl_benchmarks.glyphs.symbols import HELD_OUT_FONTS, held_out_symbols, symbols
from mmcl_benchmarks.mtil.embedded import SEATS, seat_symbols
from mmcl_benchmarks.p9d.embedded import LOOKS
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.errors import ConfigError
from mmcl.evaluation.comparison import compare_results
from mmcl.evaluation.report import edition_note
from mmcl.streams.benchmark import Benchmark

Contents = Callable[[Path], dict[str, bytes]]
OF_SYMBOLS = (
    *("cifar100", "tiny-imagenet", "imagenet100", "imagenet1000", "imagenet_r", "miniimagenet", "cub200"),
    *("domainnet", "core50"),
)
ALL = ("mtil", *OF_SYMBOLS, "cddb", "p9d")
# what names, files, labels and their order were when the tables of docs/results.md were measured
REPORTED = {
    "mtil": "b76fc2021161d6c1",
    "cifar100": "08669912be83c644",
    "tiny-imagenet": "f774a57a779cb15d",
    "imagenet100": "e7c949cff4dca9fc",
    "imagenet1000": "d7d2a0379d9cc137",
    "imagenet_r": "102b5e48224c6c2b",
    "miniimagenet": "5ee5f99aace08861",
    "cub200": "7b79b1b57b76149b",
    "domainnet": "d7589e4f7652e05b",
    "core50": "2e5d3d9e8b4478ee",
    "cddb": "d1cbc65b6a0b594b",
    "p9d": "b2784c34938ad30e",
}


def built(name: str, **options: Any) -> Benchmark:
    return mmcl.benchmark(name, embedded=True, **options).build()


def fingerprint(benchmark: Benchmark) -> str:
    """Stands for names, files, labels and their order; not for pixels, which the version of Pillow decides."""
    texts = [data.test[0].inputs.get("text") for data in benchmark.experiences]
    said = [benchmark.label_space.names, benchmark.metadata["digest"], texts]
    return sha256(json.dumps(said).encode()).hexdigest()[:16]


def names_shown(benchmark: Benchmark) -> set[str]:
    """Classes of all experiences."""
    return {name.replace("_", " ").lower() for name in benchmark.label_space.names}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ALL)
def test_both_editions_are_of_the_same_size_and_settings(name: str) -> None:
    test, validation = built(name), built(name, validation=True)
    assert validation.edition == "embedded-validation"
    assert test.edition == "embedded"
    assert validation.metadata["samples"] == test.metadata["samples"]
    assert validation.metadata["synthetic"] is True
    assert validation.training == test.training
    for one, other in zip(validation.experiences, test.experiences, strict=True):
        assert (one.name, len(one.label_space), one.training) == (other.name, len(other.label_space), other.training)
        assert [c.templates for c in one.label_space] == [c.templates for c in other.label_space]
        first, second = one.train[0].inputs["image"], other.train[0].inputs["image"]
        assert first.size == second.size
        assert first.tobytes() != second.tobytes()


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", OF_SYMBOLS)
def test_no_class_is_in_both_editions_and_none_was_shown_to_the_pretrained_model(name: str) -> None:
    test, validation = names_shown(built(name)), names_shown(built(name, validation=True))
    assert not test & validation
    assert validation <= {symbol.name for symbol in held_out_symbols()}


@pytest.mark.parametrize(
    ("name", "count", "fonts"),
    [("cifar100", 100, None), ("imagenet1000", 100, None), ("domainnet", 30, FONTS), ("cddb", 45, FONTS)],
)
def test_nothing_in_the_validation_edition_looks_like_a_symbol_of_the_test_edition(
    name: str, count: int, fonts: Any
) -> None:
    (test, _), (validation, _) = (sets.symbols_of(name, count, split, fonts) for split in (TEST, VALIDATION))
    assert len(test) == len(validation) == count
    pictures = [sets._picture(symbol) for symbol in test]
    for symbol in validation:
        picture = sets._picture(symbol)
        assert min(abs(picture - other).mean() for other in pictures) > 0.03, symbol.name


def test_symbols_of_products_are_of_one_edition_only() -> None:
    from mmcl_benchmarks.p9d.embedded import CATEGORIES, VARIANTS
    from mmcl_benchmarks.p9d.embedded import FONTS as PRODUCT_FONTS

    count = 9 * CATEGORIES + VARIANTS
    (test, _), (validation, _) = (sets.symbols_of("p9d", count, split, PRODUCT_FONTS) for split in (TEST, VALIDATION))
    assert len(set(test) | set(validation)) == 2 * count
    assert all(symbol.held_out for symbol in validation)


def test_seats_of_mtil_hold_as_many_other_symbols_and_as_many_unseen_ones_as_there_are() -> None:
    test, validation = seat_symbols(TEST), seat_symbols(VALIDATION)
    assert {name: len(seat) for name, seat in validation.items()} == {name: len(seat) for name, seat in test.items()}
    taken = {symbol for seat in test.values() for symbol in seat}
    given = [symbol for seat in validation.values() for symbol in seat]
    assert len(set(given)) == len(given)
    assert not taken & set(given)
    assert {symbol for symbol in given if symbol.held_out} == set(held_out_symbols()) - taken
    for name, seat in validation.items():
        assert 0.5 < sum(symbol.held_out for symbol in seat) / len(seat) < 0.55, name
        assert all(SEATS[name].holds(symbol) for symbol in seat if not symbol.held_out)


@pytest.mark.usefixtures("cache")
def test_reference_data_show_no_class_of_the_validation_edition() -> None:
    validation = built("mtil", validation=True)
    assert validation.reference is not None
    assert not names_shown(validation) & set(validation.reference.texts)
    assert len(validation.reference.texts) == len(built("mtil").reference.texts)  # type: ignore[union-attr]
    assert set(validation.reference.texts) != set(built("mtil").reference.texts)  # type: ignore[union-attr]


def test_scans_of_the_validation_edition_are_others() -> None:
    from mmcl_benchmarks.mtil.embedded import _digits

    (train, _), (test, _) = _digits(TEST)
    (other_train, _), (other_test, _) = _digits(VALIDATION)
    assert (len(other_train), len(other_test)) == (len(train), len(test))
    scans = {image.tobytes() for image in (*train, *test)}
    assert not scans & {image.tobytes() for image in (*other_train, *other_test)}


def test_fonts_of_the_test_editions_test_images_are_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "images_of", lambda symbol, fonts, count, generator: fonts)
    drawable = [s for s in symbols() if sum(s.character in coverage(font) for font in VALIDATION.fonts) >= 2]
    assert {symbol for symbol in drawable if symbol.held_out} == set(held_out_symbols())
    faces = sets.drawn(drawable, VALIDATION.generator("fonts"), 1, 1, VALIDATION)
    for symbol, train, test in zip(drawable, faces.train, faces.test, strict=True):
        assert train, symbol.name
        assert test, symbol.name
        assert not set(train) & set(test), symbol.name
        assert not {*train, *test} & set(HELD_OUT_FONTS), symbol.name


def test_domains_and_industries_have_other_fonts() -> None:
    for looks in (DOMAINS, LOOKS):
        test, validation = looks[TEST], looks[VALIDATION]
        assert list(test) == list(validation)
        assert not {font for font, _ in test.values()} & {font for font, _ in validation.values()}
        assert [style for _, style in test.values()] == [style for _, style in validation.values()]
        assert len(set(validation.values())) == len(validation)
    assert TINTS[TEST] != TINTS[VALIDATION]


def test_two_writers_write_the_same_bytes(tmp_path: Path, contents: Contents) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_embedded_cifar100(tmp_path / name, VALIDATION)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ALL)
def test_the_editions_that_tables_report_are_what_they_were(name: str) -> None:
    benchmark = built(name)
    assert fingerprint(benchmark) == REPORTED[name]


@pytest.mark.parametrize("name", ALL)
def test_data_of_your_own_disk_have_no_validation_edition(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{name}\.validation.*only embedded editions"):
        mmcl.benchmark(name, data_root=str(tmp_path), validation=True).build()


@pytest.mark.usefixtures("cache")
def test_outputs_of_a_validation_run_are_not_taken_for_those_of_the_reported_edition(tmp_path: Path) -> None:
    runs = []
    for name, options in (("test", []), ("validation", ["--set", "benchmark.validation=true"])):
        arguments = ["run", "mtil", "--embedded", "--set", "benchmark.experiences=1", "--set", "iterations=1"]
        outcome = CliRunner().invoke(app, [*arguments, *options, "--out", str(tmp_path / name)])
        assert outcome.exit_code == 0, outcome.output
        runs.append(json.loads((tmp_path / name / "results.json").read_text("utf-8")))
    assert [run["edition"] for run in runs] == ["embedded", "embedded-validation"]
    note = "embedded-validation edition: not the official benchmark's numbers"
    assert edition_note(runs[1]) == note
    assert note in (tmp_path / "validation" / "report.md").read_text("utf-8")
    rows = compare_results(runs).rows
    assert [row.facts["edition"] for row in rows] == ["embedded", "embedded-validation"]
