"""Own data that extend a stream: how many experiences they are, what these are called, and which classes they have."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mmcl
from mmcl.errors import DataError
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.extension import with_data

CLASSES = ("cat", "red fox")


def folder(place: Path, classes: Iterable[str] = CLASSES, below: str = ".") -> Path:
    for k, name in enumerate(classes):
        for number in range(5):
            file = place / name / below / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (40 * k + number, len(place.name), 0)).save(file)
    return place


def several(place: Path) -> Path:
    for maker in ("dora", "carl"):
        folder(place / maker)
    return place


def sides(place: Path) -> Path:
    for side in ("train", "test"):
        folder(place / side)
    return place


def table(place: Path, domains: Iterable[str] = ("dora", "carl"), column: str = "maker") -> Path:
    lines = [f"image,label,{column}"]
    for domain in domains:
        folder(place / domain)
        lines += [f"{domain}/{name}/{number}.png,{name},{domain}" for name in CLASSES for number in range(5)]
    (place / "rows.csv").write_text("\n".join(lines))
    return place / "rows.csv"


def tables(place: Path) -> Path:
    for domain in ("dora", "carl"):
        table(place / "of" / domain, [domain]).rename(place / f"{domain}.csv")
        (place / "of" / domain / domain).rename(place / domain)
    return place


def domains(place: Path) -> Benchmark:
    return mmcl.streams.by_domain({name: folder(place / name) for name in ("anna", "bert")}, domain="maker")


def classes(place: Path) -> Benchmark:
    return mmcl.streams.by_class(folder(place / "anna"), experiences=1)


def tasks(place: Path) -> Benchmark:
    return mmcl.streams.by_task({"anna": folder(place / "anna")})


@pytest.mark.parametrize(
    ("stream", "data", "names"),
    [
        (domains, several, ["carl", "dora"]),
        (domains, table, ["dora", "carl"]),
        (domains, folder, ["new"]),
        (domains, sides, ["new"]),
        (domains, lambda place: folder(place, below="indoor"), ["new"]),
        (domains, lambda place: table(place, ["emil"]), ["emil"]),
        (domains, lambda place: table(place, ["emil"], column="other"), ["rows"]),
        (tasks, several, ["carl", "dora"]),
        (classes, lambda place: folder(place, ["bus"], below="indoor"), ["new"]),
        (classes, table, ["rows"]),
    ],
)
def test_what_tells_experiences_apart_in_the_stream_tells_them_apart_in_its_extension(
    stream: Callable[[Path], Benchmark], data: Callable[[Path], Path], names: list[str], tmp_path: Path
) -> None:
    before = stream(tmp_path / "old")
    after = with_data(before, data(tmp_path / "new"))
    added = after.experiences[len(before.experiences) :]
    assert [part.name for part in added] == names
    assert all(len(part.train) == 4 * len(part.label_space) for part in added if part.name in ("carl", "dora", "emil"))
    samples = [part.train[index] for part in added for index in range(len(part.train))]
    assert [sample.task_id for sample in samples] == [
        len(before.experiences) + position for position, part in enumerate(added) for _ in part.train.targets
    ]


def test_a_folder_of_classes_extends_a_file_whatever_its_columns_are_called(tmp_path: Path) -> None:
    file = table(tmp_path / "old")
    file.write_text(file.read_text().replace("image,label", "picture,kind"))
    stream = mmcl.streams.by_domain(file, domain="maker", label="kind", columns={"picture": "image"})
    longer = with_data(stream, folder(tmp_path / "emil"))
    assert [part.name for part in longer.experiences] == ["dora", "carl", "emil"]
    assert longer.experiences[2].label_space == longer.experiences[0].label_space


def test_what_has_been_learned_is_no_extension(tmp_path: Path) -> None:
    stream, grown = domains(tmp_path / "old"), table(tmp_path / "new", ["dora", "bert"])
    with pytest.raises(DataError, match=r"data .*rows\.csv: 'bert', which has been learned already.*Leave out"):
        with_data(stream, grown)


def test_files_that_list_pairs_may_lie_beside_a_folder_of_what_they_name(tmp_path: Path) -> None:
    def written(place: Path, names: Iterable[str]) -> Path:
        folder(place, ["pictures"])
        for name in names:
            lines = [f"pictures/{number}.png,thing {number} of {name}" for number in range(5)]
            (place / f"{name}.csv").write_text("\n".join(["image,text", *lines]))
        return place

    old = written(tmp_path / "old", ["spring"])
    stream = mmcl.streams.of_pairs({"spring": old / "spring.csv"})
    longer = with_data(stream, written(tmp_path / "new", ["winter", "autumn"]))
    assert [part.name for part in longer.experiences] == ["spring", "autumn", "winter"]


def test_names_and_samples_that_a_run_has_recorded_stay_wherever_the_data_lie_today(tmp_path: Path) -> None:
    def ids(stream: Benchmark) -> list[Any]:
        return [(part.name, list(map(part.train.sample_id, range(len(part.train))))) for part in stream.experiences]

    stream, place = domains(tmp_path / "old"), table(tmp_path / "new")
    learned = with_data(stream, place)
    before = ids(learned)
    recorded = [{"name": part.name, "classes": part.label_space.to_list()} for part in learned.experiences[2:]]
    (tmp_path / "new").rename(tmp_path / "moved")
    (tmp_path / "moved" / "rows.csv").rename(tmp_path / "moved" / "others.csv")
    assert ids(with_data(stream, tmp_path / "moved" / "others.csv", recorded)) == before
    older = with_data(stream, tmp_path / "moved" / "others.csv", [{**recorded[0], "name": "rows"}])
    assert [part.name for part in older.experiences[2:]] == ["rows", "carl"]
