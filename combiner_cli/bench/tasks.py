"""What is to be measured: every file of a data set, by every codec, with every setting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .. import __version__
from ..codec import goals, pipeline
from ..codec.goals import Goal
from ..priors import library
from ..priors.library import AnyPrior
from ..signals.signal import Kind, Signal, sample_type
from .codecs import baselines, images, sounds
from .codecs.baselines import Codec, Options
from .sources import Source

USUAL_EFFORT = 5

_EVERY = 2  # of the settings that the other codecs have

Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class CombinerWay:
    """How combiner codes a file.

    Attributes:
        goal: rate or quality.
        effort: 1 to 9.
        prior: name or file, ``None`` for the usual choice.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    goal: Goal
    effort: int
    prior: str | None = None
    device: str = "auto"

    @property
    def title(self) -> str:
        """Of the codec in tables."""
        return "combiner" if self.effort == USUAL_EFFORT else f"combiner -e {self.effort}"

    @property
    def setting(self) -> str:
        """As it is written in tables."""
        name, value = self._asked
        return f"{name}={value:g}" if self.device == "auto" else f"{name}={value:g} device={self.device}"

    @property
    def words(self) -> str:
        """The rate or the quality, for people."""
        name, value = self._asked
        return {"bpp": f"{value:g} bpp", "kbps": f"{value:g} kbit/s", "quality": f"quality {value:g}"}[name]

    @property
    def _asked(self) -> tuple[str, float]:
        goal = self.goal
        asked = {"bpp": goal.bits_per_pixel, "kbps": goal.kilobits_per_second, "quality": goal.quality}
        ((name, value),) = ((name, value) for name, value in asked.items() if value is not None)
        return name, value


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
    available = codecs_of(sources[0].kind)
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


def planned(source: Source, how: CombinerWay) -> tuple[AnyPrior, pipeline.Settings]:
    """The prior and the settings that a file is coded with."""
    facts = (source.kind, source.shape, source.channels, source.sample_rate, source.bit_depth)
    prior, settings = _planned(facts, how.goal, how.prior)
    return prior, replace(settings, effort=how.effort, device=how.device)


@lru_cache(maxsize=256)
def _planned(
    facts: tuple[Kind, tuple[int, ...], int, int | None, int], goal: Goal, prior: str | None
) -> tuple[AnyPrior, pipeline.Settings]:
    kind, shape, channels, sample_rate, bit_depth = facts
    blank = np.broadcast_to(np.zeros((), sample_type(kind, bit_depth)), (*shape, channels))
    return goals.plan(Signal(kind, blank, sample_rate, bit_depth), goal, _named_prior(prior) if prior else None)


@lru_cache(maxsize=4)
def _named_prior(prior: str) -> AnyPrior:
    return library.find(prior)
