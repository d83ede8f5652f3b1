"""A second decoder of files with a pyramid prior, as FORMAT.md has it: slow, plain, and the same samples."""

import itertools
import json
import math

import numpy as np
import pytest
from support import plain_filter
from support.coding import coded, invented_file, of_size
from support.plain_stages import StageDecoder, clipped, frequencies, logarithm, results
from support.priors import tiny_priors
from support.signals import smooth_image

from combiner_cli.container.file import File, pack
from combiner_cli.errors import DamagedFileError
from combiner_cli.families.pyramid import encoder
from combiner_cli.family import Target, View
from combiner_cli.signals.signal import Format, Signal
from combiner_cli.stages.shape import PICTURE_FIELDS, PictureShape, header_numbers

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def block(first, last):
    span = range(first, last + 1)
    return [(y, x) for y in span for x in span if (y, x) != (0, 0)]


NEAR, WIDE = block(-1, 1), [(y, x) for y, x in block(-3, 3) if y * y + x * x <= 10]
ACROSS, DOWN = ((0, -1), (0, 1)), ((-1, 0), (1, 0))
NINE = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
SLANTED, FAR = ((-1, -1), (-1, 1), (1, -1), (1, 1)), ((-2, 0), (0, -2), (0, 2), (2, 0))


def magnitude(numbers):
    return sum(map(abs, numbers))


def energy(numbers):
    return logarithm(64 + magnitude(numbers) // len(numbers), 32)


def directions(luma, offsets):
    """Parts of the picture around: left and right, above and below, at the corners, further away."""
    return [[luma[offsets.index(offset)] for offset in four] for four in (ACROSS, DOWN, SLANTED, FAR)]


def class_feature(number):
    return 32 * number


def limited(value, level):
    """A mean, a coefficient or a sample of a level's coarser picture."""
    largest = 2**21 if level <= 1 else 2**28
    return clipped(value, -largest, largest)


def smaller(picture, sixteenths):
    """A picture over 2^(sixteenths / 16)."""
    factor = round(2 ** (24 - sixteenths / 16))
    return [[[(sample * factor + 2**23) // 2**24 for sample in row] for row in rows] for rows in picture]


class Level:
    """What is decoded of a level: dictionaries from places, where what is missing is 0."""

    def __init__(self, number, noise_level, picture, parent):
        self.number, self.noise_level, self.parent = number, noise_level, parent
        self.picture = [[[limited(value, number) for value in row] for row in rows] for rows in picture]
        self.rows, self.columns = len(picture[0]), len(picture[0][0])
        self.details, self.classes = {}, ({}, {})
        self.units = [(r, c) for r in range((self.rows + 1) // 2) for c in range((self.columns + 1) // 2)]

    def mask(self, strength):
        """Sixteenths of an octave by which noise is coarser at each position."""
        rows, columns = range(self.rows), range(self.columns)
        spread = {}
        for y, x in itertools.product(rows, columns):
            seen = [
                self.picture[0][clipped(y + down, 0, self.rows - 1)][clipped(x + right, 0, self.columns - 1)]
                for down, right in itertools.product(range(-2, 3), repeat=2)
            ]
            distance = max(sum(abs(25 * sample - sum(seen)) for sample in seen), 80000)
            spread[y, x] = logarithm(64 * distance, 16)
        average = sum(spread.values()) // len(spread)
        self.masking = {place: (clipped(own - average, -48, 48) * strength + 16) // 32 for place, own in spread.items()}

    def positions(self, phase):
        return [(y, x) for y in range(phase[0], self.rows, 2) for x in range(phase[1], self.columns, 2)]

    def around(self, colour, place, offsets):
        """The coarser picture around a position, less its value there."""
        samples, (row, column) = self.picture[colour], place
        rows, columns = self.rows - 1, self.columns - 1
        around = [samples[clipped(row + y, 0, rows)][clipped(column + x, 0, columns)] for y, x in offsets]
        return [sample - samples[row][column] for sample in around]

    def bands(self, colours, place, offsets):
        return [
            self.details.get((colour, band, place[0] + y, place[1] + x), 0)
            for y, x in offsets
            for colour in colours
            for band in range(3)
        ]

    def parents(self, colour, unit):
        """The classes of the parents of the units around and of the unit itself."""
        there = [(unit[0] + y, unit[1] + x) for y, x in NINE]
        known = self.parent.classes[colour] if self.parent else {}
        return [class_feature(known.get((r // 2, c // 2), 0) if (r, c) in self.units else 0) for r, c in there]

    def around_and_here(self, colour, unit):
        """The classes of the units around and of the unit itself, and which that is."""
        there = [(unit[0] + y, unit[1] + x) for y, x in NINE]
        around = [class_feature(self.classes[colour].get(unit, 0)) for unit in there]
        return around + [128 * (k == self.classes[colour][unit]) for k in range(9)]

    def luma(self, which, place):
        """Relative features, contrast, groups of energies and classes; ``which`` is a phase or None for classes."""
        activity, unit = which is None, (place[0] // 2, place[1] // 2)
        offsets, near = (block(-2, 3), CORNERS[1:]) if activity else (WIDE, NEAR)
        luma = self.around(0, place, offsets)
        chroma = self.around(1, place, near) + self.around(2, place, near)
        contrast = 64 + magnitude(luma) // 32
        groups = [*directions(luma, offsets), chroma]
        if activity:
            return luma + chroma, contrast, groups, self.parents(0, unit)
        parity = {(y, x): ((place[0] + y) % 2, (place[1] + x) % 2) for y, x in block(-2, 2)}
        earlier = [offset for offset, phase in parity.items() if PHASES.index(phase) < which]
        details = self.bands((0,), place, earlier)
        groups += [details[band::3] for band in range(3)] if which else []
        return luma + chroma + details, contrast, groups, self.around_and_here(0, unit)

    def chroma(self, which, place):
        """As ``luma``; ``which`` is a stage or None for classes."""
        activity, unit = which is None, (place[0] // 2, place[1] // 2)
        parts = [self.around(colour, place, block(-1, 2) if activity else NEAR) for colour in (1, 2, 0)]
        details = self.bands((0,), place, CORNERS if activity else [(0, 0), *NEAR])
        groups = [*parts, *(details[band::3] for band in range(3))]
        relative = [*parts[0], *parts[1], *parts[2], *details]
        luma_class = class_feature(self.classes[0][unit])
        sums = magnitude(parts[0] + parts[1]), magnitude(details)
        if activity:
            return relative, 64 + (2 * sums[0] + sums[1]) // 64, groups, [luma_class, *self.parents(1, unit)]
        if which == 1:
            relative += self.bands((1, 2), place, SIDES)
            groups += [self.bands((colour,), place, SIDES) for colour in (1, 2)]
        return relative, 64 + (8 * sums[0] + sums[1]) // 128, groups, [*self.around_and_here(1, unit), luma_class]

    def features(self, name, place):
        """Features and contrast of a network at a position."""
        kind, _, which = name.partition("_")
        relative, contrast, groups, classes = getattr(self, kind)(int(which) if which.isdigit() else None, place)
        scaled = [clipped(math.floor(128 / contrast * feature), -2047, 2047) for feature in relative]
        scalars = [logarithm(contrast, 32), 4 * (self.noise_level - 48), 32 * (min(self.number, 5) - 3)]
        return scaled + scalars + [energy(group) for group in groups] + classes, contrast

    def finer(self, size):
        finer = np.zeros((3, 2 * self.rows, 2 * self.columns), dtype=object)
        for colour, y, x in np.ndindex(3, self.rows, self.columns):
            s = self.picture[colour][y][x]
            h, v, d = (self.details.get((colour, band, y, x), 0) for band in range(3))
            finer[colour, 2 * y, 2 * x : 2 * x + 2] = (s - h - v + d) // 2, (s + h - v - d) // 2
            finer[colour, 2 * y + 1, 2 * x : 2 * x + 2] = (s - h + v - d) // 2, (s + h + v + d) // 2
        return finer[:, : size[0], : size[1]].tolist()


class RootSteps:
    """What a root is taken apart to."""

    def __init__(self, rows, columns):
        self.sizes = [(rows, columns)]
        while self.sizes[-1] != (1, 1):
            self.sizes.append(tuple((side + 1) // 2 for side in self.sizes[-1]))

    def places(self):
        """Step, band, row and column of each detail in the order of the latents."""
        for step in range(len(self.sizes) - 2, -1, -1):
            (rows, columns), coarser = self.sizes[step], self.sizes[step + 1]
            for band, (y, x) in itertools.product(range(3), np.ndindex(*coarser)):
                if (band == 1 or x < columns // 2) and (band == 0 or y < rows // 2):
                    yield step, band, y, x

    def deviations(self, colour):
        yield (90, 36, 20)[colour] * 2 ** (len(self.sizes) - 1)
        for step, *_ in self.places():
            yield ((55, 14, 8), (100, 28, 14))[step][colour]

    def picture(self, values):
        details = dict(zip(self.places(), values[1:], strict=True))
        picture = {(0, 0): values[0]}
        for step in range(len(self.sizes) - 2, -1, -1):
            finer = {}
            for (y, x), s in picture.items():
                h, v, d = (details.get((step, band, y, x), 0) for band in range(3))
                finer |= {(2 * y, 2 * x): (s - h - v + d) // 2, (2 * y, 2 * x + 1): (s + h - v - d) // 2}
                finer |= {(2 * y + 1, 2 * x): (s - h + v - d) // 2, (2 * y + 1, 2 * x + 1): (s + h + v + d) // 2}
            picture = finer
        rows, columns = self.sizes[0]
        return [[picture[y, x] for x in range(columns)] for y in range(rows)]


class Decoder(StageDecoder):
    """A file of an image."""

    def __init__(self, data, configuration, tensors):
        self.has_filter = "filter.conditions" in tensors
        super().__init__(data, configuration, tensors, shape=6, last=int(self.has_filter))
        self.noise_level -= 48 if self.shape else 16
        *self.finer, chroma, self.strength = self.shape or (0, 0, 0, 0, 32, 0)
        self.coarser_chroma = chroma - 32

    def predicted(self, level, name, place):
        """Results of a network at a position, how many of them are means, and the contrast."""
        features, contrast = level.features(name, place)
        return *results(self.tensors, f"{clipped(level.number, 0, 3)}.{name}", features), contrast

    def energy_classes(self, level, colour):
        for r, c in level.units:
            logits, means, _ = self.predicted(level, ("luma_activity", "chroma_activity")[colour], (2 * r, 2 * c))
            level.classes[colour][r, c] = self.range_decoder.decode(frequencies(logits[means:]))
        self.classes += level.classes[colour].values()

    def details(self, level, number, last):
        """Decode one of six stages of a level."""
        name, colours = (f"chroma_{number - 4}", (1, 2)) if number > 3 else (f"luma_{number}", (0,))
        phases = (PHASES[:2], PHASES[2:])[number - 4] if number > 3 else (PHASES[number],)
        places = [place for phase in phases for place in level.positions(phase)]
        predicted = [self.predicted(level, name, place) for place in places]
        moments = [
            (
                limited(result[n] * contrast // 2**22, level.number),
                result[means + n] * 16 // 2**22 + logarithm(contrast, 16),
            )
            for n in range(3 * len(colours))
            for result, means, contrast in predicted
        ]
        more = self.coarser_chroma * (number > 3)
        noise = [level.masking[place] + more for place in places] * (3 * len(colours))
        moments = [(mean, clipped(k - own, -38, 320)) for (mean, k), own in zip(moments, noise, strict=True)]
        density = (2 + number, 1)[level.number] if level.number < 2 and self.final else 0
        values = iter(self.stage(moments, density, last, level.number, 3 * len(colours), noise))
        for colour in colours:
            for band in range(3):
                for place in places:
                    level.details[colour, band, *place] = limited(next(values), level.number)

    def plane(self, colours, final):
        """The picture of a plane in steps."""
        self.final, sizes = final, [tuple(self.size)]
        while max(sizes[-1]) > 4:
            sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
        levels, (high, wide) = len(sizes) - 1, sizes[-1]
        own = self.noise_level + sum(self.finer[:levels])
        steps = RootSteps(high, wide)
        numbers = [
            round(16 * math.log2(a / 63.75)) + 16 * levels + own
            for colour in range(colours)
            for a in steps.deviations(colour)
        ]
        moments = [(0, clipped(number, -37, 320)) for number in numbers]
        values = self.stage(moments, (2, 1)[levels] if levels < 2 and final else 0, final and levels == 0, levels)
        values += [0] * (3 * high * wide - len(values))
        picture, parent = [steps.picture(values[high * wide * c : high * wide * (c + 1)]) for c in range(3)], None
        for number in range(levels - 1, -1, -1):
            picture = smaller(picture, self.finer[number]) if number < 4 else picture
            level = Level(number, self.noise_level + sum(self.finer[:number]), picture, parent)
            level.mask(self.strength if number < 4 else 0)
            for chroma in range(1 + (colours == 3)):
                self.energy_classes(level, chroma)
                for stage in (range(4), range(4, 6))[chroma]:
                    self.details(level, stage, final and (number, stage) == (0, 3 if colours == 1 else 5))
            if final and number == 0 and self.has_filter and self.last == [1]:
                noise = self.shape or (0, 0, 0, 0, 32, 0)
                told = [self.noise_level - 40, *noise[:4], noise[4] - 32, noise[5]]
                plain_filter.apply(level, colours, self.tensors, told)
            picture, parent = level.finer(sizes[number]), level
        return picture

    def values(self):
        """The image in 255ths of the range, 0 in the middle: ``(height, width, channels)``."""
        channels = self.form % 4 + 1
        scale = math.sqrt(2 ** ((-512 - 32 * self.noise_level) / 256)) / 64 * 127.5
        values = np.zeros((*self.size, channels))
        if channels in (2, 4):
            values[:, :, -1] = np.array(self.plane(1, False)[0], dtype=float) * scale / math.sqrt(3)
        y, p, q = np.array(self.plane(3 if channels > 2 else 1, True), dtype=float) * scale
        values[:, :, 0] = y / math.sqrt(3)
        if channels > 2:
            values[:, :, 0] += p / math.sqrt(2) + q / math.sqrt(6)
            values[:, :, 1] = y / math.sqrt(3) - 2 * q / math.sqrt(6)
            values[:, :, 2] = y / math.sqrt(3) - p / math.sqrt(2) + q / math.sqrt(6)
        return values


PRIOR, IN_PARTS, FILTERED = (tiny_priors()[name] for name in ("pyramid", "pyramid-parts", "pyramid-filter"))
PRIORS = pytest.mark.parametrize("prior", [PRIOR, IN_PARTS, FILTERED], ids=["few parts", "many parts", "filter"])


def decoded_twice(data, prior):
    """The second decoder, once it has given the same as the first."""
    plain = Decoder(data, json.loads(json.dumps(prior.configuration())), prior.tensors())
    values, peak = plain.values() / 127.5, 65535 if plain.form & 4 else 255
    decoded = prior.decode(File.parse(data), View(keep_latents=True))
    assert decoded.latents.tolist() == plain.latents
    # the last step, from whole coefficients to values, is in float32
    np.testing.assert_allclose(values, decoded.values[:], rtol=0, atol=1e-6 * (1 + np.abs(values).max()))
    samples = np.rint((np.clip(values, -1, 1) + 1) * peak / 2)
    difference = np.abs(decoded.signal().samples - samples)
    assert difference.max() <= 1 and (difference > 0).sum() <= 2 + 0.01 * difference.size
    return plain


def any_file(prior, seed, shape, channels, groups, chains, noise, noise_shape=()):
    """A file of random classes and indices, which no encoder would write."""
    generator = np.random.default_rng(seed)
    indices = generator.integers(0, 256, groups).astype(np.uint8).tobytes()
    numbers = {"noise": (noise,), "densities": tuple(generator.integers(0, 128, 8).tolist()), "chains": (chains,)}
    if prior.filter:
        numbers["filter"] = (1,)
    if noise_shape:
        numbers |= {"noise": (noise + 128,), **header_numbers(PICTURE_FIELDS, noise_shape)}
    return invented_file(prior, Format("image", shape, channels, 16, None), numbers, indices, seed)


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((21, 17, 3, 8), Target("size", 420)),
        ((21, 17, 3, 8), Target("rate", 1.4)),
        ((9, 14, 1, 16), Target("size", 110)),
        ((12, 13, 4, 8), Target("rate", 2.1)),
        ((12, 13, 4, 8), Target("size", 250)),
        ((10, 6, 2, 8), Target("rate", 1.0)),
        ((1, 40, 3, 8), Target("size", 120)),
        ((1, 9, 1, 8), Target("size", 60)),
        ((4, 3, 2, 8), Target("rate", 1.4)),
        ((1, 1, 3, 8), Target("size", 36)),
    ],
)
@PRIORS
def test_the_description_is_enough_to_decode_what_the_encoder_writes(prior, shape, target):
    data = coded(smooth_image(*shape), prior, target).file.data
    assert target.unit != "size" or len(data) == target.value
    assert decoded_twice(data, prior).coded


def test_an_encoder_codes_large_details_in_parts_and_takes_more_groups_where_they_pay():
    data = coded(smooth_image(40, 34, 3, 8), IN_PARTS, Target("rate", 2.8)).file.data
    plain = decoded_twice(data, IN_PARTS)
    assert plain.parts > 3
    assert any(plain.more) and not all(plain.more)


def test_what_is_unlike_anything_learned_has_wider_deviations():
    samples = np.full((34, 40, 3), 20, np.uint8)
    samples[:, 20:] = 250
    plain = decoded_twice(of_size(Signal("image", samples), IN_PARTS, 2500).file.data, IN_PARTS)
    assert plain.widened_bands or plain.outliers


@pytest.mark.parametrize(
    ("shape", "channels", "groups", "chains", "noise"),
    [
        ((19, 26), 3, 900, 5, 50),
        ((7, 6), 4, 90, 1, 70),
        ((4, 4), 4, 40, 2, 30),
        ((17, 5), 2, 30, 64, 4),
        ((9, 8), 3, 0, 1, 90),
        ((40, 34), 1, 900, 2, 100),
    ],
)
@pytest.mark.parametrize("seed", range(2))
@PRIORS
def test_the_description_is_enough_to_decode_any_file(prior, seed, shape, channels, groups, chains, noise):
    decoded_twice(any_file(prior, seed, shape, channels, groups, chains, noise), prior)


@pytest.mark.parametrize(
    ("noise_shape", "noise", "shape", "channels"),
    [
        ((14, 20, 4, 4, 40, 10), 82, (19, 26), 3),
        ((14, 20, 4, 4, 40, 10), 3, (19, 26), 3),
        ((64, 0, 3, 64, 0, 32), 60, (40, 34), 4),
        ((0, 0, 0, 0, 64, 0), 82, (17, 5), 3),
        ((0, 0, 0, 0, 32, 32), 127, (33, 9), 1),
        ((1, 2, 3, 4, 32, 0), 82, (4, 3), 2),
        ((0, 0, 0, 0, 32, 0), 82, (9, 6), 3),
    ],
)
@pytest.mark.parametrize("seed", range(2))
@PRIORS
def test_the_description_is_enough_to_decode_files_whose_noise_has_a_shape(
    prior, seed, noise_shape, noise, shape, channels
):
    data = any_file(prior, seed, shape, channels, 600, 3, noise, noise_shape)
    assert decoded_twice(data, prior).shape == list(noise_shape)


@pytest.mark.parametrize("noise", [PictureShape((14, 20, 4, 4), 8, 10), PictureShape((3, 0, 40, 1), -20, 30)])
@PRIORS
def test_the_encoder_follows_a_shape_of_the_noise(prior, noise, monkeypatch):
    monkeypatch.setattr(encoder, "PERCEPTUAL", noise)
    for target in (Target("size", 420, "perceptual"), Target("rate", 1.4, "perceptual")):
        plain = decoded_twice(coded(smooth_image(21, 37, 3, 8), prior, target).file.data, prior)
        assert plain.shape == list(noise.numbers)
        assert plain.coded


def test_the_tests_meet_pruned_latents_parts_that_come_again_wider_deviations_and_all_classes():
    plains = [decoded_twice(any_file(prior, 0, (19, 26), 3, 900, 5, 50), prior) for prior in (PRIOR, IN_PARTS)]
    for name in ("pruned", "again", "widened_bands", "outliers"):
        assert any(getattr(plain, name) for plain in plains), name
    assert {number for plain in plains for number in plain.classes} == set(range(9))


def test_classes_that_no_encoder_writes_are_refused_by_both():
    numbers = {"noise": (40,), "class_bytes": (12,), "densities": (40,) * 8, "chains": (1,)}
    payload = b"\xff" * 12 + bytes(5)
    data = pack(PRIOR.id, Format("image", (9, 9), 3, 8, None), PRIOR.fields, numbers, payload)
    with pytest.raises(DamagedFileError):
        PRIOR.decode(File.parse(data), View())
    with pytest.raises(ValueError, match="damaged"):
        Decoder(data, PRIOR.configuration(), PRIOR.tensors()).values()
