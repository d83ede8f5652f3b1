"""A second decoder, of version 3 with a pyramid prior, as FORMAT.md has it: slow, plain, and the same samples."""

import hashlib
import itertools
import json
import math
import zlib

import constriction
import numpy as np
import pytest
from combiner_cli.container.bitstream import Header
from conftest import smooth_image
from support.plain import candidate, philox

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.errors import DamagedFileError
from combiner_cli.families.pyramid import prior as hierarchy
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.signals.signal import Signal

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))

EXAMPLE = """
43 4d 42                     # magic
98                           # array of eight
03                           # version 3
ce 13 57 9b df               # prior 13579bdf
02                           # image, 8 bits, three channels
06                           # height 6
05                           # width 5
28                           # noise code 40
04                           # four bytes of classes
99                           # array of nine
50 51 52 53 54 55 56 57 01   # densities 80 to 87; one chain
fa 8c 20 a3                  # stream of classes: the word a3208cfa
12 ff 07 40 c8               # indices of groups 0 to 4: 18, 255, 7, 64, 200
ed e8 b1 60                  # CRC-32
"""


class RangeDecoder:
    """Words of 32 bits, a state of 64 bits, probabilities in units of 2^-24."""

    def __init__(self, data):
        data += bytes(-len(data) % 4)
        self.words = [int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4)]
        self.low, self.range = 0, 2**64 - 1
        self.point = self.word() * 2**32 + self.word()

    def word(self):
        return self.words.pop(0) if self.words else 0

    def decode(self, frequencies):
        count = len(frequencies)
        starts = [sum(frequencies[:k]) * (2**24 - count) / 65536 for k in range(count)]
        bounds = [*(int(np.float32(start)) + k for k, start in enumerate(starts)), 2**24]
        scale = self.range // 2**24
        place = (self.point - self.low) % 2**64 // scale
        if place >= 2**24:
            raise ValueError("these classes are damaged")
        symbol = max(k for k in range(count) if bounds[k] <= place)
        self.low = (self.low + scale * bounds[symbol]) % 2**64
        self.range = scale * (bounds[symbol + 1] - bounds[symbol])
        if self.range < 2**32:
            self.low, self.range = self.low * 2**32 % 2**64, self.range * 2**32
            self.point = self.point * 2**32 % 2**64 + self.word()
        return symbol


def parsed(data):
    """The fields of the header of a file and its payload."""
    assert data[:3] == b"CMB"
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")
    place = 3

    def value():
        nonlocal place
        first, place = data[place], place + 1
        if first < 0x80:
            return first
        if 0x90 <= first < 0xA0:
            return [value() for _ in range(first - 0x90)]
        size = {0xCC: 1, 0xCD: 2, 0xCE: 4}[first]
        place += size
        return int.from_bytes(data[place - size : place], "big")

    fields = value()
    return fields, data[place:-4]


def block(first, last):
    span = range(first, last + 1)
    return [(y, x) for y in span for x in span if (y, x) != (0, 0)]


NEAR, WIDE = block(-1, 1), [(y, x) for y, x in block(-3, 3) if y * y + x * x <= 10]
ACROSS, DOWN = ((0, -1), (0, 1)), ((-1, 0), (1, 0))
NINE = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
SLANTED, FAR = ((-1, -1), (-1, 1), (1, -1), (1, 1)), ((-2, 0), (0, -2), (0, 2), (2, 0))


def logarithm(steps, factor):
    """floor(factor · lg(steps / 64))."""
    bits = steps.bit_length()
    return factor * (bits - 8) + 2 * factor * steps // 2**bits


def magnitude(numbers):
    return sum(map(abs, numbers))


def energy(numbers):
    return logarithm(64 + magnitude(numbers) // len(numbers), 32)


def directions(luma, offsets):
    """Parts of the picture around: left and right, above and below, at the corners, further away."""
    return [[luma[offsets.index(offset)] for offset in four] for four in (ACROSS, DOWN, SLANTED, FAR)]


def class_feature(number):
    return 32 * number


def clipped(x, low, high):
    return min(max(x, low), high)


def limited(value, level):
    """A mean, a coefficient or a sample of a level's coarser picture."""
    largest = 2**21 if level <= 1 else 2**28
    return clipped(value, -largest, largest)


class Level:
    """What is decoded of a level: dictionaries from places, where what is missing is 0."""

    def __init__(self, number, code, picture, parent):
        self.number, self.code, self.parent = number, code, parent
        self.picture = [[[limited(value, number) for value in row] for row in rows] for rows in picture]
        self.rows, self.columns = len(picture[0]), len(picture[0][0])
        self.details, self.classes = {}, ({}, {})
        self.units = [(r, c) for r in range((self.rows + 1) // 2) for c in range((self.columns + 1) // 2)]

    def positions(self, phase):
        return [(y, x) for y in range(phase[0], self.rows, 2) for x in range(phase[1], self.columns, 2)]

    def around(self, colour, place, offsets):
        """The coarser picture around a position, less its value there."""
        own, (row, column) = self.picture[colour], place
        rows, columns = self.rows - 1, self.columns - 1
        return [own[clipped(row + y, 0, rows)][clipped(column + x, 0, columns)] - own[row][column] for y, x in offsets]

    def bands(self, colours, place, offsets):
        return [
            self.details.get((colour, band, place[0] + y, place[1] + x), 0)
            for y, x in offsets
            for colour in colours
            for band in range(3)
        ]

    def parents(self, colour, unit):
        """The classes of the parents of the units around and of the own one."""
        there = [(unit[0] + y, unit[1] + x) for y, x in NINE]
        known = self.parent.classes[colour] if self.parent else {}
        return [class_feature(known.get((r // 2, c // 2), 0) if (r, c) in self.units else 0) for r, c in there]

    def around_and_own(self, colour, unit):
        """The classes of the units around and of the own one, and which that is."""
        there = [(unit[0] + y, unit[1] + x) for y, x in NINE]
        own = self.classes[colour][unit]
        return [class_feature(self.classes[colour].get(unit, 0)) for unit in there] + [
            128 * (k == own) for k in range(9)
        ]

    def luma(self, which, place):
        """Relative features, contrast, groups of energies and classes; ``which`` is a phase or None for activity."""
        activity, unit = which is None, (place[0] // 2, place[1] // 2)
        offsets, near = (block(-2, 3), CORNERS[1:]) if activity else (WIDE, NEAR)
        luma = self.around(0, place, offsets)
        chroma = self.around(1, place, near) + self.around(2, place, near)
        contrast = 64 + magnitude(luma) // 32
        groups = [*directions(luma, offsets), chroma]
        if activity:
            return luma + chroma, contrast, groups, self.parents(0, unit)
        parity = {(y, x): ((place[0] + y) % 2, (place[1] + x) % 2) for y, x in block(-2, 2)}
        details = self.bands((0,), place, [offset for offset, own in parity.items() if PHASES.index(own) < which])
        groups += [details[band::3] for band in range(3)] if which else []
        return luma + chroma + details, contrast, groups, self.around_and_own(0, unit)

    def chroma(self, which, place):
        """As ``luma``; ``which`` is a stage or None for activity."""
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
        return relative, 64 + (8 * sums[0] + sums[1]) // 128, groups, [*self.around_and_own(1, unit), luma_class]

    def features(self, name, place):
        """Features and contrast of a network at a position."""
        kind, _, which = name.partition("_")
        relative, contrast, groups, classes = getattr(self, kind)(int(which) if which.isdigit() else None, place)
        scaled = [clipped(math.floor(128 / contrast * feature), -2047, 2047) for feature in relative]
        scalars = [logarithm(contrast, 32), 4 * (self.code - 48), 32 * (min(self.number, 5) - 3)]
        return scaled + scalars + [energy(group) for group in groups] + classes, contrast

    def finer(self, size):
        found = np.zeros((3, 2 * self.rows, 2 * self.columns), dtype=object)
        for colour, y, x in np.ndindex(3, self.rows, self.columns):
            s = self.picture[colour][y][x]
            h, v, d = (self.details.get((colour, band, y, x), 0) for band in range(3))
            found[colour, 2 * y, 2 * x : 2 * x + 2] = (s - h - v + d) // 2, (s + h - v - d) // 2
            found[colour, 2 * y + 1, 2 * x : 2 * x + 2] = (s - h + v - d) // 2, (s + h + v + d) // 2
        return found[:, : size[0], : size[1]].tolist()


def results(tensors, name, features):
    """Results of a network, and how many of them are means."""
    part = {key.rpartition(".")[2]: own.astype(np.int64) for key, own in tensors.items() if key.startswith(name + ".")}
    x = np.array(features, dtype=np.int64)
    y = np.clip((part["first"] @ x + part["first_bias"]) // 2**9, 0, 2**14)
    z = np.clip((part["second"] @ y + part["second_bias"]) // 2**12, 0, 2**14)
    found = part["third"] @ z + part["third_bias"]
    means, relative = part["linear"].shape
    found[:means] += part["linear"] @ x[:relative]
    return np.clip(found, -(2**27), 2**27).tolist(), means


def frequencies(logits):
    whole = [logit * 16 // 2**22 for logit in logits]
    powers = [round(2 ** (max(value - max(whole), -192) / 16 + 16)) for value in whole]
    found = [1 + power * (65536 - len(powers)) // sum(powers) for power in powers]
    found[powers.index(max(powers))] += 65536 - sum(found)
    return found


class Share:
    """Deals groups to stages."""

    def __init__(self, densities, groups):
        self.densities, self.left, self.pending = densities, groups, 0

    def take(self, information, density, last, least=0):
        found = self.left
        if not last:
            found, self.pending = divmod(self.pending + information * self.densities[density], 196608)
        found = min(max(found, least), self.left, information)
        self.left -= found
        return found


class StageDecoder:
    """A file of version 3 that is being decoded stage by stage, and what tests may want to know of it."""

    def __init__(self, data, configuration, tensors):
        digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode())
        for name in sorted(tensors):
            digest.update(tensors[name].astype(tensors[name].dtype.newbyteorder("<")).tobytes())
        fields, payload = parsed(data)
        version, prior_id, self.form, *self.size, self.code, length, numbers = fields
        densities, self.chains, self.transform = numbers[:8], numbers[8], numbers[9:]
        assert version == 3
        assert prior_id == int.from_bytes(digest.digest()[:4], "big")
        whole = int.from_bytes(digest.digest()[:8], "big")
        self.key, self.tensors = (whole % 2**32, whole // 2**32), tensors
        self.range_decoder, self.indices = RangeDecoder(payload[:length]), payload[length:]
        self.share = Share(densities, len(self.indices))
        self.parts_from = configuration.get("parts_from")
        self.coded, self.pruned, self.classes, self.parts, self.more, self.again = 0, 0, [], 0, [], 0

    def stage(self, moments, density, last, level):
        """Coefficients from means and numbers of deviations."""
        least = 16 * self.parts_from if self.parts_from else math.inf
        for turn in itertools.count():
            moments = self.widened(moments) if turn < 16 else moments
            if not any(k >= least for _, k in moments):
                break
            self.parts += 1
            information = [1024 * (k >= least) for _, k in moments]
            found, again = self.part(moments, information, density, False, level, 1)
            less = 0 if again else 64
            moments = [(value, k - less * (k >= least)) for value, (_, k) in zip(found, moments, strict=True)]
            self.again += again
        information = [max(1, round(128 * math.log2(1 + 2 ** (min(k, 320) / 8)))) * (k >= -37) for _, k in moments]
        again = True
        while again:
            found, again = self.part(moments, information, density, last, level, 0)
            moments = [(value, k) for value, (_, k) in zip(found, moments, strict=True)]
            self.again += again
        return found

    def widened(self, moments):
        """Moments of which the file may change some, before all parts of a stage but repeated last ones."""
        return moments

    def part(self, moments, information, density, last, level, least):
        """Coefficients once the latents that have information are added to."""
        coded = [place for place, bits in enumerate(information) if bits]
        self.coded, self.pruned = self.coded + len(coded), self.pruned + len(moments) - len(coded)
        first = len(self.indices) - self.share.left
        count, more = self.share.take(sum(information), density, last, least), 0
        if self.parts_from and level >= 3 and 1 <= count <= 256:
            more = self.range_decoder.decode([49152, 5632, 3584, 2304, 1664, 1280, 896, 640, 384])
            more = min(more, self.share.left, sum(information) - count)
            self.more.append(more)
            self.share.left -= more
            count += more
        found = [mean for mean, _ in moments]
        dealing = (self.key[0] + 2**32 * self.key[1] + more) % 2**64
        words = [philox((j, len(coded), 1, 0), (dealing % 2**32, dealing // 2**32))[0] for j in range(len(coded))]
        before, total, columns = 0, sum(information), {}
        for j in sorted(range(len(coded)), key=lambda j: 2**32 * (words[j] // 2) + j) if count else ():
            place, group = coded[j], before * count // total
            columns[group] = columns.get(group, -1) + 1
            number = first + group
            earlier = self.indices[number - self.chains] if number >= self.chains else 0
            z = int(candidate(256 * earlier + self.indices[number], columns[group], self.key) * 2**20)
            found[place] += round(2 ** (min(moments[place][1], 320) / 16 + 12)) * z // 2**26
            before += information[place]
        return found, more == 8


class Decoder(StageDecoder):
    """A file of an image."""

    def __init__(self, data, configuration, tensors):
        super().__init__(data, configuration, tensors)
        self.code -= 16

    def foretold(self, own, name, place):
        """Results of a network at a position, how many of them are means, and the contrast."""
        features, contrast = own.features(name, place)
        return *results(self.tensors, f"{clipped(own.number, 0, 3)}.{name}", features), contrast

    def activity(self, own, colour):
        for r, c in own.units:
            found, means, _ = self.foretold(own, ("luma_activity", "chroma_activity")[colour], (2 * r, 2 * c))
            own.classes[colour][r, c] = self.range_decoder.decode(frequencies(found[means:]))
        self.classes += own.classes[colour].values()

    def details(self, own, number, last):
        """Decode one of six stages of a level."""
        name, colours = (f"chroma_{number - 4}", (1, 2)) if number > 3 else (f"luma_{number}", (0,))
        phases = (PHASES[:2], PHASES[2:])[number - 4] if number > 3 else (PHASES[number],)
        places = [place for phase in phases for place in own.positions(phase)]
        foretold = [self.foretold(own, name, place) for place in places]
        moments = [
            (
                limited(found[n] * contrast // 2**22, own.number),
                found[means + n] * 16 // 2**22 + logarithm(contrast, 16),
            )
            for n in range(3 * len(colours))
            for found, means, contrast in foretold
        ]
        density = (2 + number, 1)[own.number] if own.number < 2 and self.final else 0
        values = iter(self.stage(moments, density, last, own.number))
        for colour in colours:
            for band in range(3):
                for place in places:
                    own.details[colour, band, *place] = limited(next(values), own.number)

    def plane(self, colours, final):
        """The picture of a plane in steps."""
        self.final, sizes = final, [tuple(self.size)]
        while max(sizes[-1]) > 4:
            sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
        levels, (high, wide) = len(sizes) - 1, sizes[-1]
        numbers = [round(16 * math.log2(a / 63.75)) + 16 * levels + self.code for a in (150, 60, 40)[:colours]]
        moments = [(0, clipped(number, -37, 320)) for number in numbers for _ in range(high * wide)]
        values = self.stage(moments, (2, 1)[levels] if levels < 2 and final else 0, final and levels == 0, levels)
        values += [0] * (3 * high * wide - len(values))
        picture, parent = np.array(values, dtype=object).reshape(3, high, wide).tolist(), None
        for number in range(levels - 1, -1, -1):
            own = Level(number, self.code, picture, parent)
            for chroma in range(1 + (colours == 3)):
                self.activity(own, chroma)
                for stage in (range(4), range(4, 6))[chroma]:
                    self.details(own, stage, final and (number, stage) == (0, 3 if colours == 1 else 5))
            picture, parent = own.finer(sizes[number]), own
        return picture

    def values(self):
        """The image in 255ths of the range, 0 in the middle: ``(height, width, channels)``."""
        channels = self.form % 4 + 1
        scale = math.sqrt(2 ** ((-512 - 32 * self.code) / 256)) / 64 * 127.5
        found = np.zeros((*self.size, channels))
        if channels in (2, 4):
            found[:, :, -1] = np.array(self.plane(1, False)[0], dtype=float) * scale / math.sqrt(3)
        y, p, q = np.array(self.plane(3 if channels > 2 else 1, True), dtype=float) * scale
        found[:, :, 0] = y / math.sqrt(3)
        if channels > 2:
            found[:, :, 0] += p / math.sqrt(2) + q / math.sqrt(6)
            found[:, :, 1] = y / math.sqrt(3) - 2 * q / math.sqrt(6)
            found[:, :, 2] = y / math.sqrt(3) - p / math.sqrt(2) + q / math.sqrt(6)
        return found


SHAPES = {  # features, relative ones among them, means and further results of each network
    "luma_activity": (58, 41, 12, 9),
    "luma_0": (78, 52, 3, 3),
    "luma_1": (93, 64, 3, 3),
    "luma_2": (117, 88, 3, 3),
    "luma_3": (129, 100, 3, 3),
    "chroma_activity": (76, 57, 24, 9),
    "chroma_0": (79, 51, 6, 6),
    "chroma_1": (105, 75, 6, 6),
}


def random_network(generator, features, linear, weights, centre):
    """Tensors of a small network with two hidden layers.

    Args:
        generator: of their numbers.
        features: number of them.
        linear: shape of that tensor.
        weights: deviations of the rows of the last layer.
        centre: of its biases.
    """

    def drawn(scale, *shape, centre=0):
        kind = np.int16 if len(shape) == 2 else np.int32
        return np.rint(centre + scale * generator.standard_normal(shape)).astype(kind)

    return {
        "first": drawn(200, 6, features),
        "first_bias": drawn(2**18, 6),
        "second": drawn(2**11, 5, 6),
        "second_bias": drawn(2**21, 5),
        "third": drawn(weights[:, None], len(weights), 5),
        "third_bias": drawn(2**19, len(weights), centre=centre),
        "linear": drawn(200, *linear),
    }


def some_prior(parts_from):
    """A prior of small random networks, whose deviations are about a sixth of the contrast."""
    generator, stored = np.random.default_rng(3), {}
    for kind, name in itertools.product(range(4), SHAPES):
        features, relative, means, others = SHAPES[name]
        centre = np.where(np.arange(means + others) < means, 0, 0 if others == 9 else -5 * 2**21)
        weights = np.where(np.arange(means + others) < means, 150, 2000 if others == 9 else 6000)
        tensors = random_network(generator, features, (means, relative), weights, centre)
        stored |= {f"{kind}.{name}.{part}": tensor for part, tensor in tensors.items()}
    return PyramidPrior("some", "image", (10, 60), (0.5, 4.0), (0.01, 0.0005), 32, stored, parts_from)


PRIOR, IN_PARTS = some_prior(0), some_prior(4)
PRIORS = pytest.mark.parametrize("prior", [PRIOR, IN_PARTS], ids=["whole", "in parts"])


def decoded(data, prior):
    """The second decoder, once it has given the same as the first."""
    own = Decoder(data, json.loads(json.dumps(prior.configuration())), prior.tensors())
    values, peak = own.values() / 127.5, 65535 if own.form & 4 else 255
    content = pipeline.read(data, prior)
    assert content.classes.tolist() == own.classes
    # the last step, from whole coefficients to values, is in float32
    np.testing.assert_allclose(values, content.values[:], rtol=0, atol=1e-6 * (1 + np.abs(values).max()))
    samples = np.rint((np.clip(values, -1, 1) + 1) * peak / 2)
    difference = np.abs(pipeline.decode(data, lambda _: prior).samples - samples)
    assert difference.max() <= 1 and (difference > 0).sum() <= 2 + 0.01 * difference.size
    return own


def any_file(prior, seed, shape, channels, groups, chains, noise):
    """A file of random classes and indices, which no encoder would write."""
    generator = np.random.default_rng(seed)
    classes, indices = (generator.integers(0, 256, count).astype(np.uint8).tobytes() for count in (30, groups))
    densities = tuple(generator.integers(0, 128, 8).tolist())
    header = Header(prior.id, "image", shape, channels, 16, None, (), noise, len(classes), densities, chains)
    return bitstream.pack(header, classes + indices)


def test_the_priors_are_possible():
    assert hierarchy.problem(PRIOR) is None and hierarchy.problem(IN_PARTS) is None
    assert "parts_from" not in PRIOR.configuration()


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((21, 17, 3, 8), pipeline.Settings(size=420)),
        ((21, 17, 3, 8), pipeline.Settings(rate=1.0)),
        ((9, 14, 1, 16), pipeline.Settings(size=110)),
        ((12, 13, 4, 8), pipeline.Settings(rate=1.5)),
        ((12, 13, 4, 8), pipeline.Settings(size=250)),
        ((10, 6, 2, 8), pipeline.Settings(rate=0.7)),
        ((1, 40, 3, 8), pipeline.Settings(size=120)),
        ((1, 9, 1, 8), pipeline.Settings(size=60)),
        ((4, 3, 2, 8), pipeline.Settings(rate=1.0)),
        ((1, 1, 3, 8), pipeline.Settings(size=36)),
    ],
)
@PRIORS
def test_the_description_is_enough_to_decode_what_the_encoder_writes(prior, shape, settings):
    data = pipeline.encode(smooth_image(*shape), prior, settings).data
    assert settings.size in (None, len(data))
    assert decoded(data, prior).coded


def test_an_encoder_codes_large_details_in_parts_and_takes_more_groups_where_they_pay():
    own = decoded(pipeline.encode(smooth_image(40, 34, 3, 8), IN_PARTS, pipeline.Settings(rate=2.0)).data, IN_PARTS)
    assert own.parts > 3
    assert any(own.more) and not all(own.more)


def test_what_no_candidate_reaches_is_coded_again():
    samples = np.full((34, 40, 3), 20, np.uint8)
    samples[:, 20:] = 250
    own = decoded(pipeline.encode(Signal("image", samples), IN_PARTS, pipeline.Settings(size=2500)).data, IN_PARTS)
    assert own.again


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
    decoded(any_file(prior, seed, shape, channels, groups, chains, noise), prior)


def test_the_tests_meet_pruned_latents_and_all_classes():
    own = decoded(any_file(PRIOR, 0, (19, 26), 3, 900, 5, 50), PRIOR)
    assert own.pruned
    assert set(own.classes) == set(range(9))


def test_classes_that_no_encoder_writes_are_refused():
    header = Header(PRIOR.id, "image", (9, 9), 3, 8, None, (), 40, 12, (40,) * 8, 1)
    data = bitstream.pack(header, b"\xff" * 12 + bytes(5))
    with pytest.raises(DamagedFileError):
        pipeline.decode(data, lambda _: PRIOR)
    with pytest.raises(ValueError, match="damaged"):
        Decoder(data, PRIOR.configuration(), PRIOR.tensors()).values()


def some_frequencies(generator, count):
    powers = np.exp(generator.normal(0, generator.choice([0.3, 2, 6]), (count, 9)))
    found = 1 + np.floor(powers / powers.sum(axis=1, keepdims=True) * (65536 - 9)).astype(int)
    found[np.arange(count), powers.argmax(axis=1)] += 65536 - found.sum(axis=1)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_range_decoder_is_that_of_the_library(seed):
    generator = np.random.default_rng(seed)
    table, model = some_frequencies(generator, 200), constriction.stream.model.Categorical(perfect=False)
    probabilities = (table / 65536).astype(np.float32)
    symbols = np.array([generator.choice(9, p=own / 65536) for own in table], dtype=np.int32)
    symbols[::7] = generator.integers(0, 9, len(symbols[::7]))
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols, model, probabilities)
    plain = RangeDecoder(encoder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))
    assert [plain.decode(own.tolist()) for own in table] == symbols.tolist()
    noise = generator.integers(0, 2**32, 20, dtype=np.uint32)  # runs out long before the last symbol
    plain = RangeDecoder(noise.astype("<u4").tobytes())
    expected = constriction.stream.queue.RangeDecoder(noise).decode(model, probabilities)
    assert [plain.decode(own.tolist()) for own in table] == expected.tolist()


def test_the_worked_example():
    data = bytes.fromhex("".join(line.split("#")[0] for line in EXAMPLE.splitlines()))
    fields, payload = parsed(data)
    assert fields == [3, 0x13579BDF, 2, 6, 5, 40, 4, [80, 81, 82, 83, 84, 85, 86, 87, 1]]
    header = Header(0x13579BDF, "image", (6, 5), 3, 8, None, (), 40, 4, tuple(range(80, 88)), 1)
    assert bitstream.unpack(data) == (header, payload)
    assert bitstream.pack(header, payload) == data
    decoder = RangeDecoder(payload[:4])
    assert [decoder.decode([32768] + [4096] * 8) for _ in range(8)] == [3, 0, 0, 5, 1, 0, 0, 2]
    share, stages = Share(list(range(80, 88)), 5), enumerate([3000, 2000, 1500, 900, 800, 1000, 600], 1)
    assert [share.take(information, density, density == 7) for density, information in stages] == [1, 1, 0, 1, 0, 0, 2]
    assert list(payload[4:]) == [18, 255, 7, 64, 200]
