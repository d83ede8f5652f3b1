"""From the weights of stages to class numbers and group indices, whatever the weights are of.

Stage after stage is coded against the moments that the decoder will have, and what was coded is what the next moments
are made of: the refinement is built in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.header import Numbers
from ...rec import candidates, search
from ...rec.candidates import Chaining
from .. import allocation
from ..allocation import (
    DENSITIES,
    EXTRA_FREQUENCIES,
    GROUP_BITS,
    GROUP_INFORMATION,
    NO_CHANGE,
    REPEAT,
    GroupAllocator,
    density_number,
    density_of,
    may_have_extra_groups,
)
from ..class_stream import DIGITS, SymbolWriter, equal_frequencies
from ..moments import Moments, Parts, StageId
from ..widening import exchange_widening, widenings_of
from .choice import Choice, least_cost
from .simulation import REACH, CostEstimate, posterior, squared_over_noise

Array = npt.NDArray[Any]

_MOST_REPEATED = 16  # parts of a stage: a weight thousands of deviations away would take thousands of them
_FEW_AT_END, _MOST_EXTRA_AT_END = 16, 16  # groups of the last part of a file
_MUCH_RESERVE = 8  # times the reserve are enough groups to come to any size


@dataclass(frozen=True)
class Budget:
    """How large a file is to be.

    Attributes:
        ratio: groups per 8 bits of information where there is no total, and before the size is known.
        total: bytes that classes and groups together take, if given. They may take more where it is small, or where
            too little was kept in reserve.
        reserve: bytes of the total that are kept back for what is not foreseen.
        emphasis: how many times as much as usual errors weigh against bits.
    """

    ratio: float
    total: int | None = None
    reserve: int = 0
    emphasis: float = 1.0


@dataclass(frozen=True, eq=False)
class CodedSignal:
    """All that a file holds of a signal.

    Attributes:
        number: that stands for the noise level.
        densities: eight of them, or one that stands for all.
        chains: of groups.
        classes: the stream of classes.
        indices: of all groups, ``(groups,)`` int64.
        latents: candidates of all latents that are coded, stage after stage, ``(latents,)``.
        squared_error: sum over all samples, on values in [-1, 1]; with shaped noise as that of a ``CostEstimate``.
        further: numbers of the header that the family has chosen for what is coded.
    """

    number: int
    densities: tuple[int, ...]
    chains: int
    classes: bytes
    indices: npt.NDArray[np.int64]
    latents: npt.NDArray[np.float32]
    squared_error: float
    further: Numbers = field(default_factory=dict)

    @property
    def numbers(self) -> Numbers:
        """Of the header, those that depend on what is coded, without what says that the noise has a shape."""
        return {
            "noise": (self.number,),
            "class_bytes": (len(self.classes),),
            "densities": self.densities,
            "chains": (self.chains,),
            **self.further,
        }

    @property
    def payload(self) -> bytes:
        """Of the file."""
        return self.classes + self.indices.astype(np.uint8).tobytes()


@dataclass(eq=False)
class Writer:
    """A file in the making.

    Attributes:
        allocator: deals the groups to the stages.
        chaining: how indices name candidates.
        key: of the prior.
        method: one of ``search.METHODS``.
        generator: source of the Gumbel noise of A* coding.
        budget: of the file.
        symbols: the stream of classes so far.
        latents: candidates of the latents that are coded, stage after stage.
        expected: what the simulation of the plane or segment at hand came to, if the file is to have a size.
        last_classes: number of the stage of level 0 before which the last energy classes of the plane or segment at
            hand come.
    """

    allocator: GroupAllocator
    chaining: Chaining
    key: int
    method: str
    generator: np.random.Generator
    budget: Budget
    symbols: SymbolWriter = field(default_factory=SymbolWriter)
    latents: list[Array] = field(default_factory=list)
    expected: CostEstimate | None = None
    last_classes: int = 0
    _first_density: int = 0  # that the header has; it may be adjusted later
    _bits_before: float = 0.0  # of the stream of classes, before the plane or segment at hand
    _kept: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1 << 16, dtype=np.int64))
    _count: int = 0  # of indices; behind them there is room for more

    @staticmethod
    def begin(key: int, size: int, budget: Budget, method: str, seed: int) -> Writer:
        """An empty file.

        Args:
            key: of the prior.
            size: bytes of its groups, about.
            budget: of the file.
            method: one of ``search.METHODS``.
            seed: of the encoder's random numbers.
        """
        density = density_of(budget.ratio)
        return Writer(
            GroupAllocator([density] * DENSITIES, None),
            Chaining(GROUP_BITS, candidates.chains_of(size)),
            key,
            method,
            np.random.Generator(np.random.Philox(seed)),
            budget,
            _first_density=density,
        )

    def begin_part(self, expected: CostEstimate | None, last_classes: int, final_stage: StageId | None) -> None:
        """Begin a plane or segment.

        Args:
            expected: what its simulation came to, if the file is to have a size.
            last_classes: number of its stage of level 0 before which its last energy classes come.
            final_stage: the last stage of the file; ``None`` where another plane or segment follows.
        """
        self.expected, self.last_classes = expected, last_classes
        self.allocator.final_stage = final_stage
        self._bits_before = self.symbols.bits

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Of all groups so far, ``(groups,)``."""
        return self._kept[: self._count]

    def append(self, indices: npt.NDArray[np.int64]) -> None:
        """Put the indices of further groups into the file."""
        end = self._count + len(indices)
        if end > len(self._kept):
            self._kept = np.append(self.indices, np.zeros(end, dtype=np.int64))
        self._kept[self._count : end] = indices
        self._count = end

    def room(self, count: int) -> int:
        """Groups that the file has room for after so many more, if the classes come to what is expected."""
        if self.budget.total is None or self.expected is None:
            return REPEAT
        return max(self.budget.total - math.ceil(self.expected.class_bits / 8) - self._count - count, 0)

    def leave_rest(self) -> None:
        """Give all bytes that are left to what is coded next; all classes are in the stream."""
        if self.budget.total is not None:
            self.allocator.left = max(self.budget.total - len(self.symbols.stream()) - self._count, 0)

    def adjust(self, stage: StageId, moments: Moments) -> None:
        """Set the density of a stage so that the file comes to its size; the last stage takes exactly what is left.

        Args:
            stage: that comes next.
            moments: of its weights.
        """
        total, final = self.budget.total, self.allocator.final_stage
        if total is None or final is None or stage.level > 1 or (stage.level == 1 and stage.number > 0):
            return
        assert self.expected is not None
        if stage == final:
            self.leave_rest()
            return
        number = density_number(stage)
        if stage.level == 0 and stage.number >= self.last_classes:
            length = len(self.symbols.stream())  # the classes are all there
        else:
            to_come = max(self.expected.class_bits - (self.symbols.bits - self._bits_before), 0)
            length = math.ceil((self.symbols.bits + to_come) / 8)
        left = total - length - self._count
        later = float(self.expected.information[number + 1 :].sum())
        if later < _MUCH_RESERVE * self.budget.reserve * GROUP_INFORMATION:
            left -= self.budget.reserve  # what comes later can hardly give way
        now = float(moments.total_information()) if stage.level == 0 else float(self.expected.information[number])
        self.allocator.densities[number] = density_of(max(left, 0) * GROUP_INFORMATION / max(now + later, 1))

    def adjust_rate(self, to_come: Sequence[CostEstimate]) -> None:
        """Change the density of the groups, and say so, so that what is to come takes the bytes that are left.

        Args:
            to_come: what the simulations of the segment that is begun now and of all after it came to.
        """
        digit = self._rate_change(to_come)
        self.symbols.exchange(digit, equal_frequencies(DIGITS))
        self.allocator.adjust_rate(digit)

    def _rate_change(self, to_come: Sequence[CostEstimate]) -> int:
        """The digit to adjust the density by."""
        if self.budget.total is None:
            return NO_CHANGE
        cost = CostEstimate.total(to_come)
        class_bytes = (self.symbols.bits + cost.class_bits) / 8
        left = self.budget.total - self._count - class_bytes - self.budget.reserve
        wanted = density_of(max(left, 0) * GROUP_INFORMATION / max(float(cost.information.sum()), 1))
        return min(max(wanted - self.allocator.densities[0], -NO_CHANGE), NO_CHANGE) + NO_CHANGE

    def finish(self, number: int, squared_error: float) -> CodedSignal:
        """All that is coded; where there is a total it is filled up, should there be nothing left to code.

        Args:
            number: that stands for the noise level.
            squared_error: sum over all samples, on values in [-1, 1].
        """
        classes = self.symbols.stream()
        if self.budget.total is not None:
            missing = max(self.budget.total - len(classes) - self._count, 0)
            self.append(np.zeros(missing, dtype=np.int64))
        latents = np.concatenate([np.zeros(0, dtype=np.float32), *self.latents])
        densities = self._first_density, *self.allocator.densities[1:]
        if self.budget.total is None:  # no density was adjusted but the first
            densities = densities[:1]
        return CodedSignal(number, densities, self.chaining.chains, classes, self.indices, latents, squared_error)


@dataclass(eq=False)
class SearchingCoder:
    """Candidates that a search finds, put into a file.

    Attributes:
        writer: of the file.
        parts_from: of the prior.
        weighted_error: squared errors of all weights so far, each over the variance of its noise.
    """

    writer: Writer
    parts_from: int
    weighted_error: float = 0.0

    @property
    def symbols(self) -> SymbolWriter:
        """The stream of classes."""
        return self.writer.symbols

    def weights(self, stage: StageId, moments: Moments, true: Array, bands: int = 1) -> Array:
        """Code the weights of the next stage; see :class:`simulation.Coder`."""
        parts, repeated = Parts(moments, self.parts_from), 0
        while not parts.finished:
            if parts.may_be_widened:
                self._widen(parts.moments, bands, true)
            if not parts.coded:
                self.writer.adjust(stage, parts.moments)
            weights, repeat = self._part(stage, parts.begin(), true, may_repeat=repeated < _MOST_REPEATED)
            parts.put(weights, repeat)
            repeated += repeat
        self.weighted_error += squared_over_noise(parts.moments, true, parts.moments.mean)
        return parts.moments.mean

    def _widen(self, moments: Moments, bands: int, true: Array) -> None:
        """Widen deviations with which candidates would not reach the weights of a stage, and say so."""
        widenings = widenings_of(moments, bands, true, REACH, self.writer.budget.emphasis)
        for deviation, widening in zip(moments.deviation.reshape(bands, -1), widenings, strict=True):
            exchange_widening(self.symbols, deviation, widening)

    def _part(self, stage: StageId, moments: Moments, true: Array, may_repeat: bool) -> tuple[Array, bool]:
        """Weights of a stage once a part of them is coded, and whether it has to come again."""
        writer, information = self.writer, moments.total_information()
        ends = writer.allocator.ends(stage, moments.last)
        if ends:
            writer.leave_rest()
        share = writer.allocator.take(stage, information, moments.last)
        best, extra = self._choice(moments, true, share, 0), 0
        least = writer.budget.emphasis * least_cost(len(best.candidates))
        if ends:
            # nobody has to be told how many groups there are
            most = min(information - share, _MOST_EXTRA_AT_END)
            for count in range(1, 1 + most if writer.budget.total is None and share <= _FEW_AT_END else 1):
                if best.cost <= GROUP_BITS * (share + count) + least:
                    break
                choice = self._choice(moments, true, share + count, 0)
                best = choice if choice.cost < best.cost else best
        elif may_have_extra_groups(stage, share, information):
            most = min(writer.allocator.most_extra(information, share), writer.room(share))
            most = most if may_repeat else min(most, REPEAT - 1)
            for count in range(1, 1 + most):
                if best.cost <= GROUP_BITS * (share + count) + least:
                    break  # not even the best candidates would be worth that many groups
                choice = self._choice(moments, true, share, count)
                best, extra = (choice, count) if choice.cost < best.cost else (best, extra)
            writer.allocator.take_extra(extra)
            self.symbols.exchange(extra, EXTRA_FREQUENCIES)
        writer.append(best.indices)
        writer.latents.append(best.candidates)
        return best.weights(), extra == REPEAT

    def _choice(self, moments: Moments, true: Array, share: int, extra: int) -> Choice:
        """The candidates of a part of a stage.

        Args:
            moments: of the part.
            true: the weights in units of the noise's deviation, ``(latents,)``.
            share: groups that are the part's by its information.
            extra: groups beyond these.
        """
        writer, count = self.writer, share + extra
        part = allocation.partition(moments, count, writer.key, extra)
        indices, values = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        if count:
            target = search.LazyTarget(part, partial(posterior, moments, true))
            before = writer.indices[-allocation.reach_of(writer.chaining) :]
            (indices,) = search.search(
                target, writer.chaining, writer.key, before[None], writer.method, writer.generator
            )
            values = allocation.look_up(np.append(before, indices), part, writer.chaining, writer.key)
        return Choice(moments, true, writer.budget.emphasis, extra, part, indices, values)
