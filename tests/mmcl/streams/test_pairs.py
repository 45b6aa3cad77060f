"""Own pairs become a stream: of pictures with one caption or several, of sensor windows with words, in any make."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mmcl
from mmcl.data.digest import samples_digest
from mmcl.data.readable import check_readable
from mmcl.errors import CompositionError, MMCLError
from mmcl.remarks import Remark
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.extension import with_data

SEASONS = ("winter", "summer")


def products(per_season: int = 10, captions: int = 1) -> list[dict[str, Any]]:
    """Pictures of one shade each, with what they show; a list where there are several captions."""
    rows = []
    for number in range(2 * per_season):
        said = [f"product {number} in words {word}" for word in range(captions)]
        picture = Image.new("RGB", (8, 8), (number, 0, 0))
        rows.append({"image": picture, "title": said if captions > 1 else said[0], "season": SEASONS[number % 2]})
    return rows


def stream_of(rows: Any, **options: Any) -> Benchmark:
    return mmcl.streams.of_pairs(rows, **{"column": "season", "columns": {"title": "text"}, **options})


def belong(stream: Benchmark) -> bool:
    """Whether every text is one of the picture of its pair, in both sides."""
    for part in stream.experiences:
        for side in (part.train, part.test):
            shade = {}
            for sample in (side[index] for index in range(len(side))):
                if "image" in sample.inputs:
                    shade[sample.target] = sample.inputs["image"].getpixel((0, 0))[0]
                said = sample.inputs["text"]
                for text in [said] if isinstance(said, str) else said:
                    if text.split()[1] != str(shade[sample.target]):
                        return False
    return True


def test_three_lines_from_rows_to_a_run(tmp_path: Path, cache: Path) -> None:
    stream = stream_of(products(), training={"iterations": 2, "batch_size": 4})
    assert [part.name for part in stream.experiences] == list(SEASONS)
    assert (str(stream.objective), stream.metric.name, stream.scenario.name) == ("contrastive", "r_mean", "DIL")
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(8, 2), (8, 2)]
    assert belong(stream)
    result = mmcl.run(benchmark=stream, strategies=["modx"], out=tmp_path / "run", quiet=True)
    assert result.matrix.shape == (3, 2)
    assert np.isfinite(result.matrix).all()
    assert result.results["chance"] == pytest.approx([100 * (1 / 2 + 1 + 1) / 3] * 2)


def test_several_captions_are_all_asked_with_and_one_is_shown_in_training(tmp_path: Path, cache: Path) -> None:
    stream = stream_of(products(captions=3), training={"iterations": 2, "batch_size": 4})
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(8, 6), (8, 6)]
    test = [stream.experiences[0].test[index] for index in range(6)]
    assert [set(sample.inputs) for sample in test] == [{"image", "text"}, {"text"}, {"text"}] * 2
    assert [sample.target for sample in test] == [0, 0, 0, 1, 1, 1]
    assert len({sample.sample_id for sample in test}) == 6
    assert len(stream.experiences[0].train[0].inputs["text"]) == 3
    assert belong(stream)
    result = mmcl.run(benchmark=stream, out=tmp_path / "run", quiet=True, probe=2)
    assert np.isfinite(result.matrix).all()


def test_rows_that_repeat_a_picture_are_one_pair_with_all_captions(tmp_path: Path) -> None:
    several = products(captions=3)
    repeated = [{**row, "title": text} for row in several for text in row["title"]]
    assert (
        stream_of(several).metadata == stream_of(repeated).metadata == stream_of(repeated[::-1], order=SEASONS).metadata
    )
    for number, row in enumerate(several):
        row["image"].save(tmp_path / f"{number}.png")
    lines = [f"{n}.png,{text},{row['season']}" for n, row in enumerate(several) for text in row["title"]]
    for name, listed in (("captions.csv", lines), ("again.csv", lines[::-1])):
        (tmp_path / name).write_text("\n".join(["image,title,season", *listed]), "utf-8")
    stream, again = (stream_of(tmp_path / name, order=SEASONS) for name in ("captions.csv", "again.csv"))
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(8, 6), (8, 6)]
    assert belong(stream)
    assert stream.metadata == again.metadata
    sides = [side for part in stream.experiences for side in (part.train, part.test)]
    assert [samples_digest(side) for side in sides] == [
        samples_digest(side) for part in again.experiences for side in (part.train, part.test)
    ]
    check_readable(sides)


def test_no_picture_of_a_test_pair_is_trained_with_another_caption() -> None:
    repeated = [{**row, "title": text} for row in products(captions=5) for text in row["title"]]
    for part in stream_of(repeated).experiences:
        shown: list[set[Any]] = []
        for side in (part.train, part.test):
            samples = [side[index].inputs for index in range(len(side))]
            shown.append({inputs["image"].getpixel((0, 0)) for inputs in samples if "image" in inputs})
        assert shown[0].isdisjoint(shown[1])


def test_pairs_may_be_tuples_and_may_be_dealt_out_to_parts_of_equal_size() -> None:
    tuples = [(row["image"], row["title"]) for row in products(captions=2)]
    stream = mmcl.streams.of_pairs(tuples, experiences=4)
    assert [part.name for part in stream.experiences] == ["part 1", "part 2", "part 3", "part 4"]
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(4, 2)] * 4
    assert belong(stream)
    assert stream.metadata == mmcl.streams.of_pairs(tuples[::-1], experiences=4).metadata


def test_data_sets_by_name_are_experiences_and_may_have_test_data() -> None:
    winter, summer = products(), [{**row, "title": row["title"] + " again"} for row in products()]
    columns = {"title": "text", "season": None}
    stream = mmcl.streams.of_pairs(
        {"a": winter, "b": summer},
        {"a": winter[:4], "b": summer[:6]},
        columns=columns,
        order=["b", "a"],
        scenario="TIL",
    )
    assert [(part.name, len(part.train), len(part.test)) for part in stream.experiences] == [("b", 20, 6), ("a", 20, 4)]
    assert stream.scenario.task_id_known_at_test


def test_windows_of_sensors_with_words_are_pairs_that_image_strategies_refuse(tmp_path: Path) -> None:
    rows = [{"acceleration": np.full((3, 8), float(i)), "text": f"walks {i}", "day": "ab"[i % 2]} for i in range(20)]
    stream = mmcl.streams.of_pairs(rows, column="day")
    assert stream.modalities == {"acceleration", "text"}
    assert stream.experiences[0].test[0].inputs["text"].startswith("walks")
    with pytest.raises(CompositionError, match="acceleration"):
        mmcl.run(benchmark=stream, out=tmp_path / "run", quiet=True)
    refusal = mmcl.explain(["modx"], benchmark=stream).refusal
    assert refusal is not None
    assert "pairs of images and texts" in str(refusal)


def test_rows_that_lack_the_picture_or_the_text_are_left_out_with_a_remark() -> None:
    rows = products()
    rows[0]["title"], rows[2]["image"], rows[4]["title"] = None, None, "  "
    with pytest.warns(Remark, match="3 of 20 rows lack image or text and are left out"):
        stream = stream_of(rows)
    assert sum(len(part.train) + len(part.test) for part in stream.experiences) == 17


def test_more_pairs_of_a_file_extend_the_stream(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for number in range(30, 40):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "more" / f"{number}.png")
    lines = [f"{n}.png,product {n} {word}" for n in range(30, 40) for word in "ab"]
    (tmp_path / "more" / "autumn.csv").write_text("\n".join(["image,title", *lines]), "utf-8")
    longer = with_data(stream_of(products()), tmp_path / "more" / "autumn.csv")
    added = longer.experiences[-1]
    assert (added.name, len(added.train), len(added.test), len(added.label_space)) == ("autumn", 8, 4, 0)
    assert belong(longer)


TUPLES = [(row["image"], row["title"]) for row in products()]


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        (products(), {"columns": {"title": "text"}}, "one data set.*column=... or experiences"),
        (products(), {"column": "season", "experiences": 2}, "of_pairs: one data set"),
        ({"a": products()}, {"column": "season"}, "several data sets, and column or experiences beside them"),
        (products(), {"columns": {"title": "text", "season": None}, "column": "year"}, "no column 'year'"),
        (products(), {"column": "season"}, "rows of image.*columns="),
        ([{"text": "a", "x": 1}] * 4, {"experiences": 1}, "rows of text"),
        (TUPLES, {"experiences": 1, "scenario": "CIL"}, "scenario 'CIL'.*DIL or TIL"),
        (TUPLES, {"experiences": 11}, "11 of 20 pairs"),
        (TUPLES, {"experiences": 0}, "0 of 20 pairs"),
        ([(image, 7) for image, _ in TUPLES], {"experiences": 2}, "a text of type int"),
        ([(image, None) for image, _ in TUPLES], {"experiences": 2}, "no row that has both image and text"),
        ([(image,) for image, _ in TUPLES], {"experiences": 2}, "a first row of type tuple"),
        ({"train": products(), "test": products()}, {}, "the splits"),
        (TUPLES, {"experiments": 2}, "unknown argument 'experiments'"),
        (TUPLES, {"experiences": 1, "reference": "nowhere"}, "reference data nowhere"),
        (TUPLES, {"experiences": "two"}, "of_pairs: experiences: 'two'"),
        ([], {"experiences": 1}, "no row"),
        (None, {"experiences": 1}, "NoneType"),
    ],
)
def test_what_are_no_pairs_is_refused_in_a_sentence(data: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MMCLError, match=sentence):
        mmcl.streams.of_pairs(data, **options)


def test_reference_data_come_with_a_stream_of_any_kind(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "0.png")
    (tmp_path / "captions.txt").write_text("a disc\n", "utf-8")
    labelled = [(row["image"], row["season"]) for row in products()]
    for stream in (
        stream_of(products(), reference=tmp_path),
        mmcl.streams.by_class(labelled, experiences=1, reference=str(tmp_path)),
        mmcl.streams.by_domain({"a": labelled}, reference=tmp_path),
        mmcl.streams.by_task([labelled], reference=tmp_path),
    ):
        assert stream.reference is not None
        assert stream.reference.texts == ["a disc"]
    with pytest.raises(CompositionError, match=r"zscl:reference=DIR.*reference=DIR"):
        mmcl.run(benchmark=mmcl.streams.by_class(labelled, experiences=1), strategies=["zscl"], out=tmp_path / "run")
