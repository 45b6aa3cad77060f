"""What a benchmark promises: all checks, and those of its plugin. Everything is tried on its embedded edition."""

from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from mmcl.config import resolve_training
from mmcl.errors import MMCLError
from mmcl.evaluation.metric import Metric
from mmcl.objectives.objective import Objective
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.laboratory.edition import benchmark, built, cache_in, embedded, inventory, read_all, readings
from mmcl.testing.promises.option_checks import OPTION_CHECKS
from mmcl.testing.promises.sample_checks import SAMPLE_CHECKS
from mmcl.testing.promises.strategy_checks import require_headings

HEADINGS = {
    "where it comes from": r"Source\b",
    "the scenario": r"Scenario\b",
    "the protocol": r"Protocol\b",
    "the layout of the data": r"Data\b",
    "deviations from the source": r"Deviations?\b",
}
_USUAL = {"data_root": None, "embedded": False, "experiences": None}


@promise
def card(plugin: Subject) -> None:
    """Its card names source, scenario, protocol, layout of the data, and deviations."""
    require_headings(type(plugin.plugin), HEADINGS)


@promise
def usual_options(plugin: Subject) -> None:
    """It has the options data_root, embedded and experiences, which choose nothing by default."""
    defaults = {f.name: f.default for f in fields(plugin.plugin) if f.init}
    for name, value in _USUAL.items():
        if name not in defaults:
            raise BrokenPromiseError(f"it has no option {name!r}", f"Add the field {name} = {value!r}.")
        if defaults[name] != value:
            raise BrokenPromiseError(f"option {name!r} is {defaults[name]!r} by default", f"Let it be {value!r}.")


@promise
def embedded_edition(plugin: Subject) -> None:
    """It builds an embedded edition without the network, and writes nothing but that into the cache."""
    edition = built(plugin)
    if edition.error is not None:
        raise BrokenPromiseError(
            f"with embedded = True it raises {type(edition.error).__name__}: {edition.error}",
            "Let 'build' write a small edition in the official layout, with materialise, and read it.",
        ) from edition.error
    stream = benchmark(plugin)
    if edition.audit.called:
        raise BrokenPromiseError(f"it calls {edition.audit.called[0]}", "Download nothing unless an option says so.")
    outside = [path for path in edition.audit.written if not path.startswith(str(edition.path.resolve()))]
    if outside:
        raise BrokenPromiseError(f"it writes {outside[0]}", "Write into the folder that materialise gives.")
    if stream.edition == "official":
        raise BrokenPromiseError(
            "its embedded edition calls itself 'official'", "Name it 'embedded': reports print it."
        )


@promise
def declarations(plugin: Subject) -> None:
    """Name, scenario, modalities and objective are declared as they are built."""
    stream, declared = benchmark(plugin), plugin.plugin
    for name, said, done in (
        ("name", declared.name, stream.name),
        ("scenario", declared.scenario, stream.scenario),
        ("modalities", set(declared.modalities), set(stream.modalities)),
        ("objective", declared.objective, stream.objective),
    ):
        if said != done:
            raise BrokenPromiseError(
                f"{name} is declared as {said!r} and built as {done!r}",
                "Let the two say the same: compositions are checked against the declaration.",
            )


@promise
def one_source(plugin: Subject) -> None:
    """It refuses to choose between no data and two editions."""
    for options in ({"embedded": False}, {"data_root": "anywhere"}):
        both = "both of" if "data_root" in options else "neither of"
        chosen = embedded(plugin, **options)
        error = _refusal(chosen, plugin)
        if error is None:
            raise BrokenPromiseError(
                f"it builds with {both} embedded and data_root", "Raise a ConfigError that says what is allowed."
            )
        _require_sentence(error, f"with {both} embedded and data_root")


@promise
def missing_data(plugin: Subject) -> None:
    """A missing data root is refused in a sentence that names it."""
    with TemporaryDirectory() as folder:
        absent = str(Path(folder) / "absent")
        error = _refusal(embedded(plugin, embedded=False, data_root=absent), plugin)
        if error is None:
            raise BrokenPromiseError("it builds from a data root that does not exist", "Raise a DataError.")
        _require_sentence(error, "with a data root that does not exist")
        if absent not in str(error):
            raise BrokenPromiseError(
                f"the sentence does not name the missing folder: {error}", "Say which folder was looked for."
            )
        if Path(absent).exists():
            raise BrokenPromiseError("it makes the data root that it was to read", "Write nothing there.")


@promise
def determinism(plugin: Subject) -> None:
    """Built twice, it has the same samples, byte by byte, in the same order."""
    first = readings(plugin)
    again = read_all(embedded(plugin).build())  # from the usual cache, where it may have been for long
    for (side, index), reading in first.items():
        other = again.get((side, index))
        if other is None or other.ids != reading.ids:
            raise BrokenPromiseError(
                f"the {side} samples of experience {index} have other ids or another order the second time",
                "Sort what the file system lists, and seed what is drawn.",
            )
        if other.values != reading.values:
            odd = next(i for i, (a, b) in enumerate(zip(reading.values, other.values, strict=True)) if a != b)
            raise BrokenPromiseError(
                f"{side} sample {reading.ids[odd]!r} has other values the second time",
                "Seed what the writer draws, and give a changed edition a new number.",
            )


@promise
def first_experiences(plugin: Subject) -> None:
    """The option experiences cuts the stream after the first ones, and refuses what cannot be."""
    stream = benchmark(plugin)
    total = len(stream.experiences)
    for wanted in sorted({1, total - 1} - {0}):
        part = embedded(plugin, experiences=wanted).build()
        for one, other in zip(part.experiences, stream.experiences[:wanted], strict=True):
            facts = (("name", one.name, other.name), ("label space", one.label_space, other.label_space))
            facts += (("number of training samples", len(one.train), len(other.train)),)  # type: ignore[assignment]
            for what, now, then in facts:
                if now != then:
                    raise BrokenPromiseError(
                        f"with experiences = {wanted} the {what} of {other.name!r} is another one",
                        "Build the whole stream in thought, and read its beginning.",
                    )
    for wanted in (0, total + 1000):
        try:
            chosen = embedded(plugin, experiences=wanted)
        except MMCLError as error:
            _require_sentence(error, f"with experiences = {wanted}")
            continue
        refusal = _refusal(chosen, plugin)
        if refusal is None:
            raise BrokenPromiseError(
                f"it accepts experiences = {wanted}", "Raise an error that says how many there are."
            )
        _require_sentence(refusal, f"with experiences = {wanted}")


@promise
def training_defaults(plugin: Subject) -> None:
    """Its metric, objective and training settings are known ones."""
    stream = benchmark(plugin)
    if not isinstance(stream.objective, Objective):
        raise BrokenPromiseError(
            f"its objective is {stream.objective!r}", "Give it an object of a subclass of Objective."
        )
    if not isinstance(stream.metric, Metric):
        raise BrokenPromiseError(f"its metric is {stream.metric!r}", "Give it an object of a subclass of Metric.")
    for data in stream.experiences:
        resolve_training(stream.training, data.training)


@promise
def untouched_data(plugin: Subject) -> None:
    """Reading writes nothing into the data root."""
    benchmark(plugin)
    folders = [path for path in built(plugin).path.iterdir() if path.is_dir()]
    if len(folders) != 1:
        raise NotApplicable("its embedded edition is not one folder that could be given as data_root")
    before = inventory(folders[0])
    try:
        stream = embedded(plugin, embedded=False, data_root=str(folders[0])).build()
    except MMCLError as error:
        raise BrokenPromiseError(
            f"its own embedded edition, given as data_root, is refused: {error}",
            "Write the embedded edition in the official layout, so that one reader reads both.",
        ) from error
    read_all(stream)
    changed = sorted(set(before.items()) ^ set(inventory(folders[0]).items()))
    if changed:
        raise BrokenPromiseError(
            f"{changed[0][0]!r} in the data root has changed", "Keep what is computed in the cache."
        )


BENCHMARK_CHECKS: tuple[Check, ...] = (
    card,
    *OPTION_CHECKS,
    usual_options,
    embedded_edition,
    declarations,
    one_source,
    missing_data,
    determinism,
    first_experiences,
    training_defaults,
    untouched_data,
    *SAMPLE_CHECKS,
)


def _refusal(plugin: object, subject: Subject) -> Exception | None:
    """What building a benchmark raises, if it does."""
    with cache_in(built(subject).path):
        try:
            plugin.build()  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001  what kind of error it is, is looked at next
            return error
    return None


def _require_sentence(error: Exception, when: str) -> None:
    """Refuse an error that is not a user's sentence of four facts."""
    if not isinstance(error, MMCLError):
        raise BrokenPromiseError(
            f"{when} it raises {type(error).__name__}: {error}",
            "Raise a ConfigError or DataError with who, found, allowed and remedy.",
        ) from error
    empty = [name for name in ("who", "found", "allowed", "remedy") if not str(getattr(error, name)).strip()]
    if empty:
        raise BrokenPromiseError(
            f"{when} the error has no {empty[0]!r}", "Say who, what was found, allowed, and what to do."
        )
