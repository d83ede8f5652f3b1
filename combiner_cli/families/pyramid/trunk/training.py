"""A way down the pyramid with samples of the posterior, for the gradients of a trunk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from types import EllipsisType

import torch
from torch import Tensor
from torch.nn import functional

from ....learning.networks import evidence, sampled
from ....stages.encoding.simulation import REACH
from ....stages.moments import COARSE, OCTAVE, UNIT
from .. import haar
from ..encoder import class_variances
from ..haar import BANDS
from ..levels import CLASSES, PHASES, noise_deviation
from .inputs import CROSS, SQUARE
from .model import Dense, Head, TrunkLevel, TrunkModel
from .noise import NoiseShapes, octaves_of

_Place = tuple[slice | EllipsisType, ...]

_PATCHES = ((slice(0, 1), 8, 6), (slice(1, 3), 4, 4))  # colours, side, and the inner side that contrast is measured on
# about what a file takes to say that a weight is an outlier, besides a bit for each octave that its deviation is wider
_NAMED_BITS = 8.0
_UNLIMITED = 1e9  # reach


class TrunkPass:
    """A way down the pyramid.

    Attributes:
        model: the networks.
        generator: of all random numbers, on the device of the networks.
        finest: share of an axis of the finest level that is gone through, which has most of the work; ``None`` for all.
    """

    def __init__(self, model: TrunkModel, generator: torch.Generator, finest: float | None = None) -> None:
        self.model, self.generator, self.finest = model, generator, finest

    def noise(self, shape: torch.Size) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def run(self, pictures: Tensor, noise_levels: Tensor, shapes: NoiseShapes) -> tuple[Tensor, Tensor]:
        """Take pictures down.

        Args:
            pictures: ``(pictures, 3, height, width)`` in 255ths with 0 in the middle; sides are multiples of 8 times a
                power of two that leaves a root of 4.
            noise_levels: ``(pictures,)``.
            shapes: of their noise.

        Returns:
            What is learned from, ``(pictures,)``, with gradients, and the cost in bits: KL + squared error / (2 · s2)
            of luma, bits of its classes, the same of the chroma, of all levels, ``(levels, 4, pictures)``.
        """
        device = pictures.device
        deviations = [noise_deviation(int(level)) for level in noise_levels]
        scale = UNIT / torch.tensor(deviations, dtype=torch.float64, device=device)
        colour = torch.tensor(haar.COLOUR, device=device)
        planes = torch.einsum("kc,bchw->bkhw", colour, pictures.double()) * scale[:, None, None, None]
        details: list[Tensor] = []
        while max(planes.shape[2:]) > haar.LARGEST_ROOT:
            planes, of_level = _analysed(planes)
            # steps of a level are of its own noise
            details.append(of_level * torch.exp2(shapes.finer_at(len(details)))[:, None, None, None, None])
        planes = planes * torch.exp2(shapes.finer_at(len(details)))[:, None, None, None]
        planes = torch.floor(planes + UNIT * self.noise(planes.shape))
        masking = torch.zeros_like(planes[:, 0], dtype=torch.float32)
        parents = torch.zeros(len(pictures), 2, *(size // 2 for size in planes.shape[2:]), device=device)
        objective, parts = torch.zeros(len(pictures), device=device), []
        handed: Tensor | None = None
        for number in range(len(details) - 1, -1, -1):
            step = (shapes.finer_at(number + 1) - shapes.finer_at(number))[:, None, None]
            planes, coarser = torch.floor(planes * torch.exp2(-step)[:, None] + 0.5), masking - step
            masking, true, factor = shapes.of_positions(planes[:, 0], number), details[number], 1.0
            if handed is not None:
                handed = functional.pixel_shuffle(self._kind(number).handed(handed), 2)
            if number == 0 and self.finest is not None:
                of_positions, of_units, factor = self._cropped(planes.shape[2:])
                planes, true, masking, coarser = (values[of_positions] for values in (planes, true, masking, coarser))
                parents = parents[of_units]
                handed = None if handed is None else handed[of_units]
            of_level = noise_levels.to(device) + shapes.finer_at(number) * OCTAVE
            noise = _Noise(of_level, masking, coarser, shapes.chroma)
            level = _Level(self, number, planes, noise, parents, handed)
            costs = level.run(by_unit(true).float())
            objective = objective + factor * level.objective
            parts.append(factor * torch.stack(costs))
            if number:
                planes = _synthesised(planes, level.details_of_positions())
                handed, parents = level.stream, _doubled(level.classes.float())
                masking = _doubled(masking)
        return objective, torch.stack(parts[::-1])

    def _kind(self, number: int) -> TrunkLevel:
        kind: TrunkLevel = self.model.kinds[min(number, COARSE)]  # type: ignore[assignment]
        return kind

    def _cropped(self, size: torch.Size) -> tuple[_Place, _Place, float]:
        """Which positions and units of the finest level are gone through, and how many times as many there are."""
        of_positions: list[slice] = []
        of_units: list[slice] = []
        factor = 1.0
        for positions in size:
            units = max(1, round(positions * (self.finest or 1.0) / 2))
            device = self.generator.device
            first = int(torch.randint(positions // 2 - units + 1, (), generator=self.generator, device=device))
            of_positions.append(slice(2 * first, 2 * (first + units)))
            of_units.append(slice(first, first + units))
            factor *= positions / (2 * units)
        return (..., *of_positions), (..., *of_units), factor


@dataclass(frozen=True)
class _Noise:
    """The noise of a level of several pictures.

    Attributes:
        levels: its noise levels, ``(pictures,)``.
        masking: octaves by which it is coarser at each position, ``(pictures, rows, columns)``.
        coarser: octaves by which that of the coarser picture is coarser, likewise.
        chroma: octaves by which that of chroma details is coarser, ``(pictures,)``.
    """

    levels: Tensor
    masking: Tensor
    coarser: Tensor
    chroma: Tensor


class _Level:
    """One level of several pictures; stages go as in a decoder."""

    def __init__(
        self,
        way: TrunkPass,
        number: int,
        picture: Tensor,
        noise: _Noise,
        parents: Tensor,
        handed: Tensor | None,
    ) -> None:
        self._way, self._number, self._kind = way, number, min(number, COARSE)
        self._networks, self._rounded = way._kind(number), way.model.rounded
        self._pictures, self._units = len(picture), (picture.shape[2] // 2, picture.shape[3] // 2)
        masking = by_unit(noise.masking)  # at the four positions of a unit
        # octaves of the noise of luma and of chroma
        self._octaves = masking, masking + noise.chroma[:, None, None, None]
        self._contrast: list[Tensor] = []
        self._averages: list[Tensor] = []
        self._patch = self._surroundings(picture)
        self._scalars = self._whole_scalars(noise, parents)
        stream = self._networks.embed(torch.cat([self._patch, self._scalars], dim=1))
        self.stream = self._rounded.activated(stream if handed is None else stream + handed)
        self.classes = torch.zeros(self._pictures, 2, *self._units, dtype=torch.int64, device=picture.device)
        self.objective = torch.zeros(self._pictures, device=picture.device)
        self._luma = torch.zeros(self._pictures, 4, BANDS, *self._units, device=picture.device)  # in steps, by phase
        self._chroma = torch.zeros(self._pictures, 4, 2 * BANDS, *self._units, device=picture.device)

    def run(self, true: Tensor) -> list[Tensor]:
        """Costs of luma, luma classes, chroma and chroma classes of each picture in bits.

        Args:
            true: details in steps, ``(pictures, 3 colours, 3, 4 phases, unit rows, unit columns)``.
        """
        networks = self._networks
        luma = true[:, 0].transpose(1, 2)
        chroma = true[:, 1:].permute(0, 3, 1, 2, 4, 5).flatten(2, 3)
        self._spread(networks.before)
        of_luma_classes, luma_class = self._classes(
            networks.luma_classes, self._patch, self._scalars, luma, 0, networks.embed_luma
        )
        self._spread(networks.luma_layers)
        of_luma = torch.zeros_like(of_luma_classes)
        absolute = torch.cat([self._scalars, luma_class], dim=1)
        for phase in range(4):
            relative, further = self._patch, absolute
            if phase:
                decoded = self._luma[:, :phase]
                relative = torch.cat([self._patch, self._near(decoded, 0, SQUARE)], dim=1)
                further = torch.cat([absolute, self._near_energies(decoded, SQUARE, by_colour=False)], dim=1)
            head = _head(networks.luma[phase])
            of_luma = of_luma + self._details(head, relative, further, luma, self._luma, [phase])
        details = networks.embed_details(self._near(self._luma, 0, SQUARE))
        self.stream = self._rounded.activated(self.stream + details)
        relative = torch.cat([self._patch, self._near(self._luma, 0, CROSS)], dim=1)
        absolute = torch.cat([absolute, self._near_energies(self._luma, CROSS, by_colour=False)], dim=1)
        of_chroma_classes, chroma_class = self._classes(
            networks.chroma_classes, relative, absolute, chroma, 1, networks.embed_chroma
        )
        self._spread(networks.chroma_layers)
        absolute = torch.cat([absolute, chroma_class], dim=1)
        of_chroma = self._details(_head(networks.chroma[0]), relative, absolute, chroma, self._chroma, [0, 1])
        decoded = self._chroma[:, :2]
        relative = torch.cat([relative, self._near(decoded, 1, CROSS)], dim=1)
        absolute = torch.cat([absolute, self._near_energies(decoded, CROSS, by_colour=True)], dim=1)
        of_chroma = of_chroma + self._details(
            _head(networks.chroma[1]), relative, absolute, chroma, self._chroma, [2, 3]
        )
        return [of_luma, of_luma_classes, of_chroma, of_chroma_classes]

    def details_of_positions(self) -> Tensor:
        """All details, ``(pictures, 3 colours, 3, rows, columns)``."""
        rows, columns = self._units
        whole = self._luma.new_empty((self._pictures, 3, BANDS, 2 * rows, 2 * columns))
        for phase, (row, column) in enumerate(PHASES):
            whole[:, 0, :, row::2, column::2] = self._luma[:, phase]
            whole[:, 1:, :, row::2, column::2] = self._chroma[:, phase].reshape(-1, 2, BANDS, rows, columns)
        return whole

    def _surroundings(self, picture: Tensor) -> Tensor:
        """The patch of each unit relative to its contrast."""
        parts = []
        for (colours, side, inner), octaves in zip(_PATCHES, self._octaves, strict=True):
            least = torch.floor(UNIT * torch.exp2(torch.floor(OCTAVE * octaves.mean(dim=1)) / OCTAVE) + 2.0**-20)
            planes = picture[:, colours]
            margin = side // 2 - 1
            padded = functional.pad(planes, (margin,) * 4, mode="replicate")
            patches = functional.unfold(padded, side, stride=2)
            patches = patches.reshape(self._pictures, planes.shape[1], -1, *self._units)
            middle = torch.floor(functional.avg_pool2d(planes, 2))[:, :, None]
            differences = (patches - middle).float()
            edge = (side - inner) // 2
            square = differences.reshape(*differences.shape[:2], side, side, *self._units)
            magnitudes = square.abs()
            inside = magnitudes[:, :, edge : side - edge, edge : side - edge]
            contrast = least + torch.floor(inside.sum(dim=(1, 2, 3)) / 32)
            if side == 8:
                self._averages += _luma_averages(square[:, 0], magnitudes[:, 0])
            else:
                self._averages += magnitudes.mean(dim=(2, 3)).unbind(1)
            self._contrast.append(contrast)
            parts.append(differences.flatten(1, 2) * (1 / contrast)[:, None])  # as inference does, and rounds
        return self._rounded.feature(torch.cat(parts, dim=1))

    def _whole_scalars(self, noise: _Noise, parents: Tensor) -> Tensor:
        def everywhere(values: Tensor) -> Tensor:
            return values.float()[:, None, None].expand(-1, *self._units)

        planes = [octaves_of(contrast / UNIT) / 4 for contrast in self._contrast]
        planes += [everywhere((noise.levels - 48) / 32), everywhere(torch.full_like(noise.levels, self._place))]
        planes += [self._octaves[0].mean(dim=1) / 2, by_unit(noise.coarser).mean(dim=1) / 2]
        planes += [everywhere(noise.chroma / 2)]
        scalars = self._rounded.feature(torch.cat([torch.stack(planes, dim=1), parents / 4], dim=1))
        return torch.cat([scalars, self._energies(torch.stack(self._averages, dim=1))], dim=1)

    def _energies(self, averages: Tensor) -> Tensor:
        """Logarithms of average magnitudes in steps."""
        return self._rounded.feature(octaves_of(1 + torch.floor(averages) / UNIT) / 4)

    def _near_energies(self, details: Tensor, around: tuple[tuple[int, int], ...], by_colour: bool) -> Tensor:
        """Energies of details ``(pictures, phases, colours * 3, rows, columns)`` around units, by band or by colour."""
        phases, count = details.shape[1], len(around)
        magnitudes = details.abs().sum(dim=1)
        if by_colour:
            magnitudes = magnitudes.reshape(self._pictures, 2, BANDS, *self._units).sum(dim=2)
            count *= BANDS
        padded = functional.pad(magnitudes, (1, 1, 1, 1))
        rows, columns = self._units
        total = torch.zeros_like(magnitudes)
        for row, column in around:
            total = total + padded[:, :, row : row + rows, column : column + columns]
        return self._energies(total / (phases * count))

    @property
    def _place(self) -> float:
        return (min(self._number, 5) - COARSE) / 4

    def _spread(self, layers: torch.nn.ModuleList) -> None:
        for layer in layers:
            self.stream = self._rounded.activated(self.stream + layer(self.stream))

    def _near(self, details: Tensor, colour: int, around: tuple[tuple[int, int], ...]) -> Tensor:
        """Details of the units around, relative to the contrast of the unit."""
        flat = details.flatten(1, 2)
        gathered = functional.unfold(flat, 3, padding=1).reshape(*flat.shape[:2], len(SQUARE), *self._units)
        if len(around) < len(SQUARE):
            gathered = gathered[:, :, [3 * row + column for row, column in around]]
        return self._rounded.feature(gathered.flatten(1, 2) * (1 / self._contrast[colour])[:, None])

    def _classes(
        self, head: Head, relative: Tensor, absolute: Tensor, true: Tensor, colour: int, embed: Dense
    ) -> tuple[Tensor, Tensor]:
        """Choose the classes of all units; their bits of each picture, and which they are."""
        means, logits = head(self.stream, relative, absolute)
        means = means.reshape(self._pictures, 4, -1, *self._units) * (self._contrast[colour] / UNIT)[:, None, None]
        residual = (true / UNIT - means) / torch.exp2(self._octaves[colour])[:, :, None]
        energy, count = (residual**2).mean(dim=(1, 2)), true.shape[1] * true.shape[2]
        octaves = torch.log_softmax(logits * math.log(2), dim=1) / math.log(2)
        variances = torch.tensor(class_variances(self._kind), device=true.device).float()[:, None, None]
        coding = torch.log2(variances) + energy.detach()[:, None] / (variances * math.log(2))
        classes = (0.5 * count * coding - octaves.detach()).argmin(dim=1)
        self.classes[:, colour] = classes
        one_hot = functional.one_hot(classes, CLASSES).permute(0, 3, 1, 2).float()
        self.stream = self._rounded.activated(self.stream + embed(one_hot))
        bits = -(octaves * one_hot).sum(dim=(1, 2, 3))
        # means serve to tell what is left over: about what it takes to code that
        self.objective = self.objective + bits + 0.5 * count * torch.log2(1 + energy).sum(dim=(1, 2))
        return bits.detach(), one_hot

    def _details(
        self, head: Head, relative: Tensor, absolute: Tensor, true: Tensor, decoded: Tensor, phases: list[int]
    ) -> Tensor:
        """Put samples in the places of the details of some phases; their cost of each picture."""
        means, octaves = head(self.stream, relative, absolute)
        of_colour = 0 if true.shape[2] == BANDS else 1
        scale = (self._contrast[of_colour] / UNIT)[:, None, None]
        noise_octaves = self._octaves[of_colour][:, phases, None]
        deviation = torch.exp2(noise_octaves)
        shape = self._pictures, len(phases), -1, *self._units
        means = means.reshape(shape) * scale
        octaves = (octaves.reshape(shape) + octaves_of(scale) - noise_octaves).clamp(-6, 20)
        residual = (true[:, phases] / UNIT - means) / deviation
        costs, coded = _coded(residual, octaves, self._reach)
        with torch.no_grad():
            values = means + sampled(residual, coded, self._way.noise(residual.shape), self._reach) * deviation
            decoded[:, phases] = torch.floor(values * UNIT)
        bits = costs.sum(dim=(1, 2, 3, 4))
        self.objective = self.objective + bits
        return bits.detach()

    @property
    def _reach(self) -> float:
        """Deviations of a prior that candidates reach; in coarse levels nothing is too far away."""
        return REACH if self._number < COARSE else _UNLIMITED


def _coded(residual: Tensor, octaves: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """What weights cost in bits, and with which octaves of deviations they are coded.

    A weight that is far from its mean is named as an outlier where that costs less, with a wider deviation.
    """
    plain = evidence(residual, octaves, math.inf if reach < _UNLIMITED else 0.0)
    more = (torch.log2(residual.abs().clamp(min=1.0)) - octaves).clamp(min=1.0)
    named = evidence(residual, octaves + more) + _NAMED_BITS + more
    return torch.minimum(plain, named), torch.where(named < plain, octaves + more, octaves).detach()


def _luma_averages(differences: Tensor, magnitudes: Tensor) -> list[Tensor]:
    """See ``inputs``: averages of rings, and of neighbours' differences, of patches ``(pictures, 8, 8, ...)``."""
    sums = [magnitudes[:, edge : 8 - edge, edge : 8 - edge].sum(dim=(1, 2)) for edge in (3, 2, 1, 0)]
    rings = [sums[0], *(larger - smaller for smaller, larger in pairwise(sums))]
    middle = differences[:, 2:6, 2:6]
    across = (middle[:, :, 1:] - middle[:, :, :-1]).abs().sum(dim=(1, 2))
    down = (middle[:, 1:] - middle[:, :-1]).abs().sum(dim=(1, 2))
    return [total / count for total, count in zip([*rings, across, down], (4, 12, 20, 28, 12, 12), strict=True)]


def _head(module: torch.nn.Module) -> Head:
    """A member of a list of networks by its type."""
    assert isinstance(module, Head)
    return module


def by_unit(planes: Tensor) -> Tensor:
    """Planes ``(..., rows, columns)`` by unit, ``(..., 4 phases, unit rows, unit columns)``."""
    return torch.stack([planes[..., row::2, column::2] for row, column in PHASES], dim=-3)


def _doubled(planes: Tensor) -> Tensor:
    return planes.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def _analysed(picture: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`haar.analyse`; sides are even."""
    a, b = picture[..., 0::2, 0::2], picture[..., 0::2, 1::2]
    c, d = picture[..., 1::2, 0::2], picture[..., 1::2, 1::2]
    return (a + b + c + d) / 2, torch.stack([b - a + d - c, c - a + d - b, a - b - c + d], dim=-3) / 2


def _synthesised(coarse: Tensor, details: Tensor) -> Tensor:
    """See :func:`haar.synthesise`."""
    horizontal, vertical, diagonal = details.double().unbind(-3)
    picture = coarse.new_empty((*coarse.shape[:-2], 2 * coarse.shape[-2], 2 * coarse.shape[-1]))
    for row, column in haar.CORNERS:
        part = coarse + horizontal * (1 if column else -1) + vertical * (1 if row else -1)
        part = part + diagonal * (1 if row == column else -1)
        picture[..., row::2, column::2] = torch.floor(part / 2)
    return picture
