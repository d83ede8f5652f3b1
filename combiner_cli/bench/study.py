"""A benchmark from beginning to end: look at the data set, measure what is missing, write everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import OutputError, UsageError
from ..family import Target, Unit
from ..signals.kinds import Tune
from ..signals.signal import Kind
from . import curves, measures, sources, sweep
from .codecs.baselines import Codec
from .curves import Curve
from .report import examples, page, summary
from .report.summary import Summary
from .sources import Failure, Source
from .tasks import CombinerWay, Task, check_codable, codecs_of, tasks_of

# work in words and its number of steps -> called after each of them
ProgressBar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

ALL, NONE = "all", "none"

_IMAGE_RATES = (0.1, 0.2, 0.4, 0.8, 1.6)  # bits per pixel
_SMALL_IMAGE_RATES = (0.4, 0.7, 1.2, 2.0, 3.2)
_SMALL_IMAGE = 128**2  # pixels
_SPEECH_RATES = (6.0, 12.0, 24.0, 48.0)  # kbit/s
_MUSIC_RATES = (24.0, 48.0, 96.0, 160.0)
_HIGHEST_OF_SPEECH = 24_000  # Hz


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        places: folders and files of the data set.
        folder: of the results.
        rates: bits per pixel or kbit/s, ``None`` for the usual ones.
        qualities: instead of rates.
        efforts: a curve for each.
        prior: name or file, ``None`` for the usual choice.
        baselines: all, none, or names with commas between them.
        published: files of published curves.
        published_name: the data set that they are of, ``None`` for the name of the first place.
        published_methods: those to show with commas between them, ``None`` for all.
        limit: files at most.
        jobs: files at once.
        device: as of the encoder.
        tunes: a curve for each; ``None`` for what is usual.
        measure: column of what is measured beside PSNR, ``None`` for the usual one.
    """

    places: Sequence[Path]
    folder: Path
    rates: Sequence[float] | None
    qualities: Sequence[int] | None
    efforts: Sequence[int]
    prior: str | None
    baselines: str
    published: Sequence[Path]
    published_name: str | None
    published_methods: str | None
    limit: int | None
    jobs: int
    device: str
    tunes: Sequence[Tune | None] = (None,)
    measure: str | None = None

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.places[0].resolve().name


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        summary: of all rows.
        rows: number of them.
        measured: number of those that were not there before.
        failures: what could not be read or coded.
    """

    summary: Summary
    rows: int
    measured: int
    failures: Sequence[Failure]


def run(request: Request, note: Callable[[str], None], progress: ProgressBar) -> Outcome:
    """Measure a data set and write results.csv, the curves, the BD-rates and the report.

    Raises:
        UsageError: there is no such codec or published curve, or the targets do not go with the data set.
        DatasetError, InputError: the data set or published curves cannot be read.
        PriorError: there is no such prior, or it is for another kind of signal.
        OutputError: the folder cannot be written.
    """
    check = check_codable if request.baselines != NONE else None
    dataset, failures = sources.gather(request.places, request.folder, request.limit, note, check)
    kind = dataset[0].format.kind
    codecs = _codecs(request.baselines, kind)
    published = _published(request)
    ways = _ways(request, dataset)
    tasks = tasks_of(dataset, ways, list(codecs))
    measure = measures.second_measure(kind, {source.format.sample_rate for source in dataset}, request.measure)
    store = sweep.Store(request.folder, kind, measure)
    _make_folder(request.folder / sweep.FILES)
    with progress("measuring", len(tasks)) as advance:
        swept = sweep.run(tasks, store, request.jobs, advance)
    titles = list(dict.fromkeys(how.title for how in ways))
    rows = swept.rows.values()
    result = summary.summarise(kind, rows, len(dataset), store.measures, titles, list(codecs.values()), published)
    summary.write(result, request.folder, {task.title: _description(task, codecs) for task in tasks})
    shown = []
    chosen = [task for task in examples.chosen(tasks) if task.key in swept.rows]
    with progress("examples", len(chosen)) as advance:
        for task in chosen:
            shown.append(examples.make(task, store, codecs))
            advance()
    failures = [*failures, *swept.failures]
    circumstances = page.Circumstances(
        title=request.name,
        when=time.strftime("%Y-%m-%d"),
        settings=_settings(request, ways, codecs),
        jobs=sorted({int(str(row["jobs"])) for row in rows}),
        size=_mean_size(dataset),
    )
    page.write(request.folder / page.NAME, result, shown, failures, circumstances)
    return Outcome(result, len(swept.rows), swept.measured, failures)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be made: {error.strerror}; give another folder with -o"
        ) from error


def _codecs(wanted: str, kind: Kind) -> dict[str, Codec]:
    """The codecs that are meant."""
    available = codecs_of(kind)
    if wanted == ALL:
        return dict(available)
    names = [] if wanted == NONE else list(dict.fromkeys(word.strip().lower() for word in wanted.split(",")))
    for name in names:
        if name not in available:
            known = ", ".join(available) or "none"
            raise UsageError(f"no codec of {kind}s called {name!r} runs here; known: {known}")
    return {name: available[name] for name in names}


def _ways(request: Request, dataset: Sequence[Source]) -> list[CombinerWay]:
    """What combiner is asked for, tune after tune and effort after effort."""
    if request.qualities:
        targets = [Target("quality", quality) for quality in sorted(request.qualities)]
    else:
        unit: Unit = "bits_per_pixel" if dataset[0].format.kind == "image" else "kilobits_per_second"
        targets = [Target(unit, rate) for rate in sorted(request.rates or _usual_rates(dataset))]
    return [
        CombinerWay(target, effort, request.prior, request.device, tune)
        for tune in request.tunes
        for effort in request.efforts
        for target in targets
    ]


def _usual_rates(dataset: Sequence[Source]) -> Sequence[float]:
    """Rates at which the curves of a data set are of interest."""
    if dataset[0].format.kind == "image":
        return (
            _SMALL_IMAGE_RATES
            if np.median([source.format.points for source in dataset]) < _SMALL_IMAGE
            else _IMAGE_RATES
        )
    rates = [source.format.sample_rate or 0 for source in dataset]
    return _SPEECH_RATES if np.median(rates) <= _HIGHEST_OF_SPEECH else _MUSIC_RATES


def _published(request: Request) -> dict[str, Curve]:
    named: dict[str, Curve] = {}
    for path in request.published:
        named |= curves.published(path, request.published_name or request.name)
    if request.published_methods is None:
        return named
    wanted = [word.strip() for word in request.published_methods.split(",")]
    for name in wanted:
        if name not in named:
            known = ", ".join(named) or "none, for there is no --published"
            raise UsageError(f"there is no published curve called {name!r}; known: {known}")
    return {name: named[name] for name in wanted}


def _description(task: Task, codecs: Mapping[str, Codec]) -> str:
    """Of a codec, for its curve."""
    if isinstance(task.how, CombinerWay):
        return f"{task.program}, effort {task.how.effort}"
    return f"{task.program}; {codecs[task.how.name].about}"


def _settings(request: Request, ways: Sequence[CombinerWay], codecs: Mapping[str, Codec]) -> list[tuple[str, str]]:
    """What was set, in words."""
    targets = ", ".join(dict.fromkeys(how.setting for how in ways))
    words = [("data set", ", ".join(str(place) for place in request.places))]
    words += [("settings", targets), ("efforts", ", ".join(str(effort) for effort in request.efforts))]
    words += [("prior", request.prior or "the usual choice"), ("other codecs", ", ".join(codecs) or NONE)]
    if request.published:
        name = request.published_name or request.name
        words.append(("published", f"{', '.join(path.name for path in request.published)}, data set {name}"))
    return words


def _mean_size(dataset: Sequence[Source]) -> float:
    """Pixels of an image, or seconds of a sound."""
    return float(np.mean([source.format.points if source.seconds is None else source.seconds for source in dataset]))
