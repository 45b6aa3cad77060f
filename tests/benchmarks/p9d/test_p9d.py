"""P9D: the official layout, titles and orders; pools, gallery and joint features; what sloppy versions get wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcl_benchmarks.glyphs.symbols import held_out_symbols
from mmcl_benchmarks.p9d.benchmark import P9D
from mmcl_benchmarks.p9d.embedded import COMBINATIONS, DRAWINGS, write_embedded_p9d
from mmcl_benchmarks.p9d.industries import INDUSTRIES
from mmcl_benchmarks.p9d.layout import DrawnProduct, write_p9d
from mmcl_benchmarks.p9d.products import clean_title, read_flat, read_nested
from PIL import Image

import mmcl
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError, DataError
from mmcl.evaluation.retrieval_metric import Retrieval
from mmcl.streams.benchmark import Benchmark

Contents = Callable[[Path], dict[str, bytes]]
PARTS = {"train": 3, "test": 2, "query": 1, "gallery": 2}
TITLES = ("不锈钢水壶 1.5L!", "陶瓷杯 (蓝色)", "木椅*两把")


OFFICIAL_SIZES = pytest.mark.filterwarnings("ignore:.*not comparable with published ones")


def grey(shade: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (shade,) * 3)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Nine industries whose pictures tell industry and number by their shade."""
    parts = {
        part: {
            name: [DrawnProduct(TITLES[i], f"category {i}", grey(10 + 20 * k + 5 * i)) for i in range(count)]
            for k, name in enumerate(INDUSTRIES)
        }
        for part, count in PARTS.items()
    }
    write_p9d(tmp_path, parts)
    return tmp_path


def read(root: Path, **options: Any) -> Benchmark:
    with pytest.warns(UserWarning, match="not comparable with published ones"):
        return P9D(data_root=str(root), **options).build()


def shade_of(benchmark: Benchmark, experience: int, side: str, index: int) -> int:
    samples = getattr(benchmark, side)[experience].samples
    return round(float(np.asarray(samples[index].inputs[IMAGE]).mean()))


def test_the_sizes_are_those_of_the_card() -> None:
    sums = {part: sum(industry.sizes[part] for industry in INDUSTRIES.values()) for part in PARTS}
    assert sums == {"train": 1_014_599, "test": 2_846, "query": 4_615, "gallery": 46_856}


def test_the_two_orders_are_each_others_reverse(shop: Path) -> None:
    forward, backward = ([e.name for e in read(shop, order=order).train] for order in (1, 2))
    assert forward == list(INDUSTRIES)
    assert backward == forward[::-1]


def test_pictures_and_titles_of_a_product_stay_together_in_every_order(shop: Path) -> None:
    for order in (1, 2):
        benchmark = read(shop, order=order)
        for i, experience in enumerate(benchmark.train):
            k = list(INDUSTRIES).index(experience.name)
            for n in range(PARTS["train"]):
                assert abs(shade_of(benchmark, i, "train", n) - (10 + 20 * k + 5 * n)) <= 2
                assert experience.samples[n].inputs[TEXT] == clean_title(TITLES[n])


def test_test_query_and_gallery_pictures_lie_in_the_gallery_folder(shop: Path) -> None:
    found = {path.parent.name for path in shop.rglob("*.jpg")}
    assert found == {"train_images", "gallery_images"}
    samples = read(shop).test[0].samples
    assert [samples[i].sample_id.split("/")[0] for i in range(len(samples))] == ["test"] * 2 + [
        "query",
        *["gallery"] * 2,
    ]
    assert all(samples.path(i).parent.name == "gallery_images" for i in range(len(samples)))  # type: ignore[attr-defined]


def test_an_industry_is_no_class(shop: Path) -> None:
    benchmark = read(shop)
    assert len(benchmark.label_space) == 0
    assert str(benchmark.objective) == "contrastive"
    assert benchmark.scenario.name == "DIL"


def test_the_metric_knows_queries_and_the_gallery_of_all_industries_even_of_those_left_out(shop: Path) -> None:
    metric = read(shop, experiences=2).metric
    assert isinstance(metric, Retrieval)
    assert (len(metric.queries), len(metric.gallery)) == (9, 18)
    ids = {id_ for e in read(shop).test for id_ in (e.samples[i].sample_id for i in range(len(e.samples)))}
    assert set(metric.queries) < ids
    assert set(metric.gallery) < ids
    assert {item.category for item in metric.gallery.values()} == {"category 0", "category 1"}


def test_the_industry_of_test_pairs_is_told_on_demand_only(shop: Path) -> None:
    assert not read(shop).scenario.task_id_known_at_test
    assert read(shop, task_ids=True).scenario.task_id_known_at_test


@pytest.mark.parametrize(
    ("title", "clean"),
    [
        ("Kettle.(1:5)", "kettle 1 5"),
        ("  A  b\tc \n", "a b c"),
        ('"x"!;~#*', "x"),
        ("不锈钢、水壶-大", "不锈钢、水壶-大"),
        (" ".join(map(str, range(40))), " ".join(map(str, range(30)))),
    ],
)
def test_titles_lose_the_marks_of_the_list_and_no_others(title: str, clean: str) -> None:
    assert clean_title(title) == clean


@OFFICIAL_SIZES
def test_products_without_a_picture_are_left_out_counted_and_refused_on_demand(shop: Path) -> None:
    lost = sorted((shop / "train_images").iterdir())[0]
    lost.unlink()
    with pytest.warns(UserWarning, match="1 of 3 listed files are missing"):
        benchmark = P9D(data_root=str(shop)).build()
    assert len(benchmark.train[0].samples) == 2
    assert benchmark.metadata["missing"] == 1
    assert lost.stem not in {benchmark.train[0].samples[i].sample_id.split("/")[1] for i in range(2)}
    with pytest.raises(DataError, match=r"strict"):
        P9D(data_root=str(shop), strict=True).build()


@OFFICIAL_SIZES
def test_the_writer_can_leave_pictures_out_as_dead_links_do(tmp_path: Path) -> None:
    parts = {part: {name: [DrawnProduct("a", "b", grey(9))] * 2 for name in INDUSTRIES} for part in PARTS}
    write_p9d(tmp_path, parts, missing=1)
    with pytest.warns(UserWarning, match=r"listed files are missing"):
        assert P9D(data_root=str(tmp_path)).build().metadata["missing"] == 1


@OFFICIAL_SIZES
def test_an_industry_without_any_picture_is_refused(shop: Path) -> None:
    for path in sorted((shop / "train_images").iterdir())[:3]:
        path.unlink()
    with pytest.warns(UserWarning, match="missing"), pytest.raises(DataError, match=r"Household.*no training product"):
        P9D(data_root=str(shop)).build()


def test_sizes_other_than_the_official_ones_are_refused_on_demand(shop: Path) -> None:
    with pytest.raises(DataError, match=r"3 train products and .* Allowed: 220148"):
        P9D(data_root=str(shop), strict=True).build()


@pytest.mark.parametrize("part", PARTS)
def test_a_list_that_is_missing_is_named(shop: Path, part: str) -> None:
    (shop / "json" / f"{part}.json").unlink()
    with pytest.raises(DataError, match=rf"no json/{part}\.json"):
        P9D(data_root=str(shop)).build()


def change(root: Path, part: str, edit: Callable[[Any], Any]) -> None:
    path = root / "json" / f"{part}.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text("utf-8")))), encoding="utf-8")


def spoil_one(root: Path, part: str, edit: Callable[[Any], Any]) -> str:
    """Put something in the place of the first record of the first industry; its id."""
    spoiled = []

    def edit_list(listed: dict[str, Any]) -> dict[str, Any]:
        records = next(iter(listed.values())) if part == "train" else listed
        spoiled.append(next(iter(records)))
        records[spoiled[0]] = edit(records[spoiled[0]])
        return listed

    change(root, part, edit_list)
    return spoiled[0]


@OFFICIAL_SIZES
@pytest.mark.parametrize("part", ["train", "test", "gallery"])
@pytest.mark.parametrize(
    "edit",
    [
        lambda record: {**record, "title": ""},
        lambda record: {**record, "title": None},
        lambda record: {**record, "cate_name": " "},
        lambda record: {**record, "cate_name": 7},
        lambda record: {key: value for key, value in record.items() if key != "title"},
        lambda record: None,
    ],
)
def test_one_record_without_a_text_is_left_out_counted_and_refused_on_demand(
    shop: Path, part: str, edit: Callable[[Any], Any]
) -> None:
    whole = P9D(data_root=str(shop)).build().metadata["samples"]["Household"]
    id_ = spoil_one(shop, part, edit)
    with pytest.warns(UserWarning, match=rf"{part} products.*left out \(1; .*"):
        benchmark = P9D(data_root=str(shop)).build()
    assert benchmark.metadata["incomplete"] == 1
    assert benchmark.metadata["missing"] == 0
    assert benchmark.metadata["samples"]["Household"] == {**whole, part: whole[part] - 1}
    sides = (benchmark.train[0].samples, benchmark.test[0].samples)
    assert f"{part}/{id_}" not in {side[i].sample_id for side in sides for i in range(len(side))}
    assert isinstance(benchmark.metric, Retrieval)
    assert f"{part}/{id_}" not in {**benchmark.metric.queries, **benchmark.metric.gallery}
    with pytest.raises(DataError, match=r"records (without a text|of another industry) .*strict"):
        P9D(data_root=str(shop), strict=True).build()


@OFFICIAL_SIZES
@pytest.mark.parametrize("industry", [None, 3, "家具"])
def test_one_record_of_no_known_industry_is_left_out_and_counted(shop: Path, industry: object) -> None:
    spoil_one(shop, "test", lambda record: {**record, "industry_name": industry})
    with pytest.warns(UserWarning, match="test products: records of another industry are left out"):
        benchmark = P9D(data_root=str(shop)).build()
    assert benchmark.metadata["incomplete"] == 1
    assert benchmark.metadata["samples"]["Household"]["test"] == PARTS["test"] - 1


@pytest.mark.parametrize(
    ("part", "edit", "told"),
    [
        ("train", lambda listed: {**listed, "家具": {}}, "家具"),
        ("train", lambda listed: {key: items for key, items in listed.items() if key != "母婴"}, "母婴"),
        ("train", lambda listed: list(listed), "holds a list"),
        ("train", lambda listed: {key: [] for key in listed}, "holds a list where names with values"),
        ("test", lambda listed: {id_: {**r, "title": None} for id_, r in listed.items()}, "have no product"),
        ("query", lambda listed: {id_: {**r, "industry_name": 3} for id_, r in listed.items()}, "have no product"),
        ("gallery", lambda listed: {id_: {**r, "cate_name": " "} for id_, r in listed.items()}, "have no product"),
        ("gallery", lambda listed: 3, "holds a int"),
        ("test", lambda listed: {f"../{id_}": r for id_, r in listed.items()}, "leads out of the folder"),
    ],
)
def test_damaged_lists_are_told_in_a_sentence(shop: Path, part: str, edit: Callable[[Any], Any], told: str) -> None:
    change(shop, part, edit)
    with pytest.raises(DataError, match=told):
        P9D(data_root=str(shop)).build()


def test_a_list_that_is_no_json_is_told_in_a_sentence(shop: Path) -> None:
    (shop / "json/query.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"json/query\.json"):
        P9D(data_root=str(shop)).build()


@pytest.mark.parametrize("options", [{"order": 3}, {"experiences": 10}, {"experiences": 0}])
def test_wrong_options_are_refused_before_anything_is_read(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        P9D(embedded=True, **options)  # type: ignore[arg-type]


# The embedded edition.


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("p9d")
    write_embedded_p9d(folder)
    return folder


def test_two_writings_are_the_same_bytes(edition: Path, tmp_path: Path, contents: Contents) -> None:
    write_embedded_p9d(tmp_path)
    assert contents(tmp_path) == contents(edition)


def test_no_combination_is_both_for_training_and_for_testing(edition: Path) -> None:
    def titles(part: str) -> list[str]:
        lists = read_nested if part == "train" else read_flat
        grouped = lists(edition / f"json/{part}.json").values()
        return [clean_title(product.title) for listed in grouped for product in listed.products]

    train = titles("train")
    assert len(train) == DRAWINGS * len(set(train))
    rest = [title for part in COMBINATIONS for title in titles(part)]
    assert len(rest) == len(set(rest)), "every pair has one right answer, also in the pool of all industries"
    assert not set(rest) & set(train)


def test_its_symbols_are_held_out(edition: Path) -> None:
    names = {symbol.name for symbol in held_out_symbols()}
    for listed in read_flat(edition / "json/gallery.json").values():
        assert {product.category for product in listed.products} <= names


def test_every_query_has_something_to_find(edition: Path) -> None:
    queries, gallery = read_flat(edition / "json/query.json"), read_flat(edition / "json/gallery.json")
    for industry, listed in queries.items():
        found = [product.category for product in gallery[industry].products]
        assert all(found.count(product.category) == COMBINATIONS["gallery"] for product in listed.products)


def test_a_run_on_the_edition_and_one_on_its_folder_differ_in_the_folder_only(edition: Path, tmp_path: Path) -> None:
    options = {"experiences": 1}
    runs = [
        mmcl.run(
            benchmark=mmcl.benchmark("p9d", **source, **options),
            backbone="glyph-clip",
            training={"iterations": 2},
            out=tmp_path / name,
            quiet=True,
        )
        for name, source in (("embedded", {"embedded": True}), ("folder", {"data_root": str(edition)}))
    ]
    one, other = (run.results for run in runs)
    for key in ("matrix", "further", "edition", "training", "metadata"):
        assert one[key] == other[key]


def test_a_run_reports_the_scores_of_the_pool(tmp_path: Path) -> None:
    result = mmcl.run(
        benchmark=mmcl.benchmark("p9d", embedded=True, experiences=2),
        backbone="glyph-clip",
        training={"iterations": 3},
        out=tmp_path / "run",
        quiet=True,
    )
    further = result.results["further"]
    pool, own = further["pool txt_r1"]["matrix"], further["txt_r1"]["matrix"]
    assert [row[0] for row in pool] == [row[0] for row in own], "the first pool is the first industry"
    assert {"pool r_mean", "pool mAP@1", "pool mAP@5", "pool mAP@10", "mAP@1", "img_r1", "pool img_r10"} <= set(further)
    assert "| pool r_mean |" in (result.folder / "report.md").read_text("utf-8")


def test_the_former_name_of_an_option_is_refused_with_the_new_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'task_known'\..*Did you mean 'task_ids'\?"):
        mmcl.benchmark("p9d", embedded=True, task_known=True)
