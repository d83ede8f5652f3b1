"""What is to be measured: every file of a data set, by every codec, with every setting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from .. import __version__
from ..codec import goals
from ..family import Prior, Target, Unit
from ..media import files as media
from ..priors import library
from ..signals.kinds import Tune
from ..signals.signal import Kind, Signal
from .codecs import baselines, images, sounds
from .codecs.baselines import Codec, Options
from .sources import Source

USUAL_EFFORT = 5

_EVERY = 2  # of the settings that the other codecs have
_NAMES: dict[Unit, str] = {"bits_per_pixel": "bpp", "kilobits_per_second": "kbps", "quality": "quality"}

Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class CombinerWay:
    """How combiner codes a file.

    Attributes:
        target: a rate of the whole file, or a quality.
        effort: 1 to 9.
        prior: name or file, ``None`` for the usual choice.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        tune: what errors are weighed by; ``None`` for what is usual.
    """

    target: Target
    effort: int
    prior: str | None = None
    device: str = "auto"
    tune: Tune | None = None

    @property
    def title(self) -> str:
        """Of the codec in tables."""
        words = ["combiner"]
        words += [] if self.effort == USUAL_EFFORT else [f"-e {self.effort}"]
        words += [] if self.tune is None else [f"--tune {self.tune}"]
        return " ".join(words)

    @property
    def setting(self) -> str:
        """As it is written in tables."""
        words = f"{_NAMES[self.target.unit]}={self.target.value:g}"
        return words if self.device == "auto" else f"{words} device={self.device}"

    @property
    def words(self) -> str:
        """The rate or the quality, for people."""
        value = f"{self.target.value:g}"
        if self.target.unit == "quality":
            return f"quality {value}"
        return f"{value} {'bpp' if self.target.unit == 'bits_per_pixel' else 'kbit/s'}"


@dataclass(frozen=True)
class CodecWay:
    """How another codec codes a file.

    Attributes:
        name: of the codec, see :func:`codecs_of`.
        way: of using it.
        options: its settings.
    """

    name: str
    way: str
    options: Options


@dataclass(frozen=True)
class Task:
    """A file to be coded.

    Attributes:
        source: of the signal.
        how: it is coded.
        title: of the codec.
        setting: in words.
        program: with its version.
        prior: name of the prior, empty for other codecs.
        prior_id: its id, likewise.
    """

    source: Source
    how: CombinerWay | CodecWay
    title: str
    setting: str
    program: str
    prior: str = ""
    prior_id: str = ""

    @property
    def key(self) -> Key:
        """What a row is known by."""
        return self.source.digest, self.title, self.setting, self.program, self.prior_id

    @property
    def coded_name(self) -> str:
        """Of the file that combiner writes, in the folder of coded files."""
        words = re.sub(r"[^\w.=]+", "-", f"{self.title}-{self.setting}")
        return f"{self.source.digest[:16]}-{words}-{self.prior_id}.cmb"


def codecs_of(kind: Kind) -> Mapping[str, Codec]:
    """The other codecs of a kind of signal that run here, by their names for the command line."""
    return images.codecs() if kind == "image" else sounds.codecs()


def check_codable(signal: Signal) -> None:
    """Refuse what not all codecs of its kind hold.

    Raises:
        InputError: an image of more than 8 bits, or with transparency.
    """
    if signal.kind == "image":
        images.check_codable(signal)


def tasks_of(sources: Sequence[Source], ways: Sequence[CombinerWay], codecs: Sequence[str]) -> list[Task]:
    """Everything that is to be measured, file after file.

    Args:
        sources: the data set.
        ways: of using combiner.
        codecs: names of the other codecs.

    Raises:
        PriorError: there is no prior for the data set, or the one that was named is for another kind.
    """
    available = codecs_of(sources[0].format.kind)
    tasks = []
    for source in sources:
        for how in ways:
            prior, _ = planned(source, how)
            facts = (how.title, how.setting, f"combiner {__version__}", prior.name, f"{prior.id:08x}")
            tasks.append(Task(source, how, *facts))
        for name in codecs:
            codec = available[name]
            for way, settings in codec.ways.items():
                for options in settings[::_EVERY]:
                    setting = baselines.setting_text(options)
                    tasks.append(Task(source, CodecWay(name, way, options), way, setting, codec.program))
    return tasks


def planned(source: Source, way: CombinerWay) -> tuple[Prior, Target]:
    """The prior that a file is coded with, and the target of its encoder."""
    return _planned(source.path, replace(way.target, tune=way.tune), way.prior)


@lru_cache(maxsize=4096)
def _planned(path: Path, target: Target, prior_name: str | None) -> tuple[Prior, Target]:
    signal = media.read_signal(path, lambda _: None)
    plan = goals.plan(signal, target, _named_prior(prior_name) if prior_name else None)
    return plan.prior, plan.target


@lru_cache(maxsize=4)
def _named_prior(name: str) -> Prior:
    return library.find(name)
