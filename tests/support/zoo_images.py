"""The images of the zoo: of every sort that a codec may meet, made from seeds, the same on every machine.

:data:`IMAGES` has what makes each of them by its name. Nothing is made before it is called, and two calls give the same
samples. They are small, so that all of them can be coded in minutes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from combiner_cli.signals.signal import Signal

Array = npt.NDArray[Any]
Maker = Callable[[], Signal]

SIDE = 128  # pixels of most images
_WHITE = 255

_WORDS = (
    "the quick brown fox jumps over a lazy dog while 1234567890 sheep watch from the hill, and nobody knows why; "
    '(x + y) * 2 = 42 % of all [things] {are} <this> small & that is "fine" | so it goes on / and on until the end '
)


def generator(name: str) -> np.random.Generator:
    """Random numbers that belong to a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def image_of(values: npt.ArrayLike, bit_depth: int = 8) -> Signal:
    """An image of samples in steps, ``(height, width)`` or ``(height, width, channels)``, rounded and clipped."""
    samples = np.asarray(values, dtype=np.float64)
    samples = samples[..., None] if samples.ndim == 2 else samples
    kind = np.uint8 if bit_depth == 8 else np.uint16
    return Signal("image", np.clip(np.rint(samples), 0, 2**bit_depth - 1).astype(kind), bit_depth=bit_depth)


def grid(height: int = SIDE, width: int = SIDE) -> tuple[Array, Array]:
    """Rows and columns of all pixels."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    return rows, columns


def coloured(mask: Array, low: Iterable[float], high: Iterable[float]) -> Array:
    """Two colours, blended by a mask in [0, 1]."""
    below, above = np.array(list(low), dtype=np.float64), np.array(list(high), dtype=np.float64)
    return below + mask[..., None] * (above - below)


def checkerboard(period: int, low: float = 0, high: float = _WHITE, side: int = SIDE) -> Array:
    """Squares of so many pixels."""
    rows, columns = grid(side, side)
    made: Array = low + (high - low) * ((rows // period + columns // period) % 2)
    return made


def stripes(width: int, angle: str) -> Array:
    """Black and white stripes of so many pixels, ``"across"``, ``"down"``, ``"rising"`` or ``"falling"``."""
    rows, columns = grid()
    place = {"across": rows, "down": columns, "rising": rows + columns, "falling": rows - columns}[angle]
    return _WHITE * (place // width % 2)


def ramp() -> Array:
    """A gradient from corner to corner in [0, 1], with a round hill in it."""
    rows, columns = grid()
    hill = np.exp(-((rows - SIDE / 3) ** 2 + (columns - 2 * SIDE / 3) ** 2) / (SIDE * 8))
    return np.clip((rows + columns) / (2 * SIDE - 2) * 0.8 + 0.3 * hill, 0, 1)


def bayer(order: int) -> Array:
    """A gradient in black and white by an ordered dither of side 2^order."""
    matrix = np.zeros((1, 1))
    for _ in range(order):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    side = len(matrix)
    thresholds = np.tile((matrix + 0.5) / side**2, (SIDE // side, SIDE // side))
    return _WHITE * (ramp() > thresholds)


def diffused(values: Array, levels: int = 2) -> Array:
    """Values in [0, 1] in a few levels, the error diffused as Floyd and Steinberg do."""
    rest = np.pad(values, ((0, 1), (1, 1)))
    chosen = np.zeros_like(values)
    height, width = values.shape
    for row in range(height):
        for column in range(width):
            wanted = rest[row, column + 1]
            chosen[row, column] = min(max(round(wanted * (levels - 1)) / (levels - 1), 0), 1)
            error = wanted - chosen[row, column]
            rest[row, column + 2] += error * 7 / 16
            rest[row + 1, column : column + 3] += error * np.array([3, 5, 1]) / 16
    return chosen


def halftone(period: float, degrees: float, values: Array) -> Array:
    """Dots whose sizes stand for values in [0, 1], in black and white."""
    rows, columns = grid()
    angle = math.radians(degrees)
    across = rows * math.cos(angle) + columns * math.sin(angle)
    along = columns * math.cos(angle) - rows * math.sin(angle)
    screen = (np.cos(2 * np.pi * across / period) + np.cos(2 * np.pi * along / period)) / 4 + 0.5
    return _WHITE * (values > screen)


def printed() -> Array:
    """Halftone dots of three inks."""
    inks = [halftone(5, degrees, np.roll(ramp(), 20 * number, axis=1)) for number, degrees in enumerate((15, 75, 0))]
    return np.stack(inks, axis=-1)


def matrix_code(module: int, side: int = SIDE) -> Array:
    """Random modules with finder patterns in three corners, as a QR code has them, and a quiet zone around."""
    count = side // module - 8
    bits = generator(f"code {module}").integers(0, 2, (count, count))
    finder = np.zeros((8, 8), dtype=np.int64)
    finder[:7, :7], finder[1:6, 1:6], finder[2:5, 2:5] = 1, 0, 1
    bits[:8, :8], bits[:8, -8:], bits[-8:, :8] = finder, finder[:, ::-1], finder[::-1]
    whole = np.pad(bits, 4).repeat(module, axis=0).repeat(module, axis=1)
    page = np.zeros((side, side))
    page[: len(whole), : len(whole)] = whole
    return _WHITE * (1 - page)


def bars() -> Array:
    """A bar code: stripes of one to four pixels."""
    widths = generator("bars").integers(1, 5, SIDE)
    row = np.repeat(np.arange(len(widths)) % 2, widths)[:SIDE]
    page = np.full((SIDE, SIDE), float(_WHITE))
    page[16:-16, 8:-8] = _WHITE * row[8:-8]
    return page


def drawn(draw: Callable[[ImageDraw.ImageDraw], None], background: str = "white", smooth: int = 1) -> Array:
    """What a function draws on a square of ``SIDE`` pixels.

    Args:
        draw: is given a square of ``smooth`` times as many pixels.
        background: colour.
        smooth: how many times larger it is drawn before it is reduced, so that edges are smooth.
    """
    picture = Image.new("RGB", (SIDE * smooth, SIDE * smooth), background)
    draw(ImageDraw.Draw(picture))
    return np.asarray(picture.reduce(smooth), dtype=np.float64)


def lines_of_text(name: str, count: int, words: int = 5) -> list[str]:
    """Lines of words in random order."""
    dice, known = generator(name), _WORDS.split()
    return [" ".join(dice.choice(known, words)) for _ in range(count)]


def text(colour: str, background: str, smooth: int = 1) -> Array:
    """A page of the font of bitmaps that Pillow brings along."""
    font = ImageFont.load_default_imagefont()

    def write(draw: ImageDraw.ImageDraw) -> None:
        for number, line in enumerate(lines_of_text("text", 12 * smooth, 5 * smooth)):
            draw.text((3, 2 + 11 * number), line, fill=colour, font=font)

    return drawn(write, background, smooth)


def noise(exponent: float, colours: int, deviation: float = 48) -> Array:
    """Gaussian noise whose amplitude falls with the frequency to a power: white 0, pink 1, brown 2."""
    white = generator(f"noise {exponent} {colours}").standard_normal((SIDE, SIDE, colours))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)) * SIDE
    shape = np.maximum(frequency, 1)[..., None] ** -exponent
    shaped = np.fft.ifft2(np.fft.fft2(white, axes=(0, 1)) * shape, axes=(0, 1)).real
    made: Array = 127.5 + shaped * (deviation / shaped.std())
    return made


def salt_and_pepper() -> Array:
    """A smooth picture with one pixel in fifty black or white."""
    dice = generator("salt and pepper")
    picture = 255 * ramp()
    where = dice.random(picture.shape) < 0.02
    picture[where] = _WHITE * dice.integers(0, 2, int(where.sum()))
    return picture


def escape_times(centre: complex, width: float, constant: complex | None = None) -> Array:
    """The Mandelbrot set, or the Julia set of a constant, in the colours of escape times."""
    rows, columns = grid()
    place = centre + width * ((columns - SIDE / 2) + 1j * (rows - SIDE / 2)) / SIDE
    z, step = (np.zeros_like(place), place) if constant is None else (place, np.full_like(place, constant))
    times = np.zeros(place.shape)
    for _ in range(64):
        inside = np.abs(z) < 2
        z = np.where(inside, z * z + step, z)
        times += inside
    return np.stack([255 * np.abs(np.sin(times * rate)) * (times < 64) for rate in (0.11, 0.17, 0.29)], axis=-1)


def regions(count: int) -> tuple[npt.NDArray[np.int64], Array]:
    """The nearest of some random places at each pixel, and how much farther the next one is."""
    dice, (rows, columns) = generator(f"regions {count}"), grid()
    places = dice.random((count, 2)) * SIDE
    distances = np.hypot(rows[..., None] - places[:, 0], columns[..., None] - places[:, 1])
    ordered = np.sort(distances, axis=-1)
    return distances.argmin(axis=-1), ordered[..., 1] - ordered[..., 0]


def political_map() -> Array:
    """Countries in flat colours with thin black borders."""
    nearest, margin = regions(24)
    palette = generator("palette").integers(90, 256, (24, 3)).astype(np.float64)
    return palette[nearest] * (margin > 1)[..., None]


def heights() -> Array:
    """A smooth random landscape."""
    return noise(2.5, 1)[..., 0]


def contour_map() -> Array:
    """Thin brown contour lines on green."""
    level = np.floor(heights() / 12)
    line = (np.diff(level, axis=0, append=level[-1:]) != 0) | (np.diff(level, axis=1, append=level[:, -1:]) != 0)
    return coloured(line.astype(np.float64), (225, 240, 210), (120, 80, 40))


def disc(soft: bool) -> Array:
    """A red disc on nothing; alpha falls within a pixel, or over twenty."""
    rows, columns = grid(64, 64)
    distance = np.hypot(rows - 31.5, columns - 31.5)
    alpha = np.clip((28 - distance) / (20 if soft else 1), 0, 1) * 255
    colour = np.broadcast_to(np.array([220.0, 40.0, 30.0]), (64, 64, 3)) * (0.6 + 0.4 * rows[..., None] / 63)
    return np.concatenate([colour, alpha[..., None]], axis=-1)


def hidden_noise() -> Array:
    """A glyph whose transparent surroundings hold noise that nobody sees."""
    icon = disc(soft=False)
    hidden = icon[..., 3] == 0
    icon[hidden, :3] = generator("hidden").integers(0, 256, (int(hidden.sum()), 3))
    return icon


def sprites(scale: int) -> Array:
    """Pixel art: mirrored random figures in four colours each, one pixel drawn as so many."""
    dice = generator("sprites")
    cells = SIDE // (8 * scale)
    sheet = np.zeros((8 * cells, 8 * cells, 3))
    for row in range(cells):
        for column in range(cells):
            palette = np.concatenate([[[32, 32, 48]], dice.integers(0, 256, (3, 3))])
            half = dice.integers(0, 4, (8, 4))
            sheet[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = palette[np.hstack([half, half[:, ::-1]])]
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)


def line_art(smooth: int) -> Array:
    """Thin curves and straight lines."""
    dice = generator("line art")

    def draw(board: ImageDraw.ImageDraw) -> None:
        size = SIDE * smooth
        for _ in range(10):
            board.line([tuple(point) for point in (dice.random((4, 2)) * size).tolist()], fill="black", width=smooth)
        for _ in range(10):
            x, y, radius = (dice.random(3) * (size, size, size / 3)).tolist()
            board.ellipse((x - radius, y - radius, x + radius, y + radius), outline="black", width=smooth)

    return drawn(draw, smooth=smooth)


def window() -> Array:
    """A window with a title, buttons, a list and a dithered background, as old screens had them."""
    screen = checkerboard(1, 80, 160)[..., None].repeat(3, axis=2)

    def draw(board: ImageDraw.ImageDraw) -> None:
        font = ImageFont.load_default_imagefont()
        board.rectangle((0, 0, 111, 91), fill="#c0c0c0", outline="black")
        board.rectangle((2, 2, 109, 13), fill="#000080")
        board.text((4, 2), "combiner", fill="white", font=font)
        for number, line in enumerate(lines_of_text("window", 4, 2)):
            board.rectangle((4, 17 + 14 * number, 107, 29 + 14 * number), fill="white", outline="#808080")
            board.text((6, 18 + 14 * number), line, fill="black", font=font)
        for number, word in enumerate(("OK", "No")):
            board.rectangle((20 + 40 * number, 76, 50 + 40 * number, 88), fill="#e0e0e0", outline="black")
            board.text((28 + 40 * number, 77), word, fill="black", font=font)

    screen[12:104, 8:120] = drawn(draw)[:92, :112]
    return screen


def source_code() -> Array:
    """Coloured text on a dark screen."""
    font, colours = ImageFont.load_default_imagefont(), ("#569cd6", "#ce9178", "#6a9955", "#dcdcaa", "#d4d4d4")

    def write(draw: ImageDraw.ImageDraw) -> None:
        for number, line in enumerate(lines_of_text("code", 11)):
            column = 4 + 12 * (number % 3)
            for place, word in enumerate(line.split()):
                draw.text((column, 2 + 11 * number), word, fill=colours[(number + place) % 5], font=font)
                column += 6 * len(word) + 6

    return drawn(write, "#1e1e1e")


def table() -> Array:
    """Thin grey lines with numbers between them."""

    def draw(board: ImageDraw.ImageDraw) -> None:
        font, dice = ImageFont.load_default_imagefont(), generator("table")
        for place in range(0, SIDE, 14):
            board.line((0, place, SIDE, place), fill="#c8c8c8")
        for place in range(0, SIDE, 32):
            board.line((place, 0, place, SIDE), fill="#c8c8c8")
        for row in range(0, SIDE, 14):
            for column in range(0, SIDE, 32):
                board.text((column + 4, row + 2), str(dice.integers(0, 1000)), fill="black", font=font)

    return drawn(draw)


def plot() -> Array:
    """Axes and three coloured curves."""

    def draw(board: ImageDraw.ImageDraw) -> None:
        board.line((24, 8, 24, 232, 248, 232), fill="black", width=2)
        for number, colour in enumerate(("#1f77b4", "#ff7f0e", "#2ca02c")):
            points = [(24 + x, 120 - 70 * math.sin(x / (14 + 9 * number)) * math.exp(-x / 200)) for x in range(220)]
            board.line(points, fill=colour, width=3)

    return drawn(draw, smooth=2)


def cartoon() -> Array:
    """Flat colours with thick black outlines."""

    def draw(board: ImageDraw.ImageDraw) -> None:
        board.rectangle((0, 320, 512, 512), fill="#70b040", outline="black", width=12)
        board.ellipse((60, 60, 200, 200), fill="#ffd820", outline="black", width=12)
        board.polygon([(260, 340), (380, 180), (500, 340)], fill="#c03020", outline="black", width=12)
        board.rectangle((290, 340, 470, 480), fill="#f0e0c0", outline="black", width=12)

    return drawn(draw, "#80c8ff", smooth=4)


def zone_plate() -> Array:
    """Rings that are ever closer, up to the finest that pixels can show."""
    rows, columns = grid()
    return 127.5 + 127.5 * np.cos(np.pi * ((rows - SIDE / 2) ** 2 + (columns - SIDE / 2) ** 2) / SIDE)


def dot(background: float, foreground: float, side: int = 65) -> Array:
    """A single pixel in the middle."""
    picture = np.full((side, side), float(background))
    picture[side // 2, side // 2] = foreground
    return picture


def stars() -> Array:
    """Single bright pixels on black."""
    dice = generator("stars")
    return np.where(dice.random((SIDE, SIDE)) < 0.004, dice.random((SIDE, SIDE)) * 255, 0)


def half_and_half() -> Array:
    """The one half smooth, the other a checkerboard of single pixels."""
    picture = checkerboard(1)
    picture[:, : SIDE // 2] = 255 * ramp()[:, : SIDE // 2]
    return picture


def colour_gradient() -> Array:
    """A gradient of another direction in each colour."""
    rows, columns = grid()
    return np.stack([rows, columns, SIDE - 1 - (rows + columns) / 2], axis=-1) * (255 / (SIDE - 1))


def sixteen(values: Array) -> Signal:
    """Values in [0, 1] in 16 bits."""
    return image_of(values * 65535, bit_depth=16)


def grey_and_alpha() -> Array:
    """Text whose alpha is a gradient."""
    return np.stack([text("black", "white")[..., 0], 255 * ramp()], axis=-1)


def _images() -> dict[str, Maker]:
    def plain(make: Callable[[], Array]) -> Maker:
        return lambda: image_of(make())

    arrays: dict[str, Callable[[], Array]] = {
        **{f"checkerboard-{period}": partial(checkerboard, period) for period in (1, 2, 3, 4, 5, 8, 16)},
        "checkerboard-1-colour": lambda: coloured(checkerboard(1) / _WHITE, (255, 0, 255), (0, 255, 0)),
        "checkerboard-1-faint": lambda: checkerboard(1, 124, 132),
        "checkerboard-1-half": half_and_half,
        **{
            f"stripes-{angle}-{width}": partial(stripes, width, angle)
            for angle in ("across", "down")
            for width in (1, 2, 3)
        },
        "stripes-rising-2": partial(stripes, 2, "rising"),
        "stripes-falling-3": partial(stripes, 3, "falling"),
        "stripes-down-7": lambda: stripes(7, "down"),
        "stripes-colour": lambda: coloured(stripes(1, "down") / _WHITE, (255, 0, 0), (0, 0, 255)),
        "zone-plate": zone_plate,
        "bayer-2": lambda: bayer(1),
        "bayer-4": lambda: bayer(2),
        "bayer-8": lambda: bayer(3),
        "floyd-steinberg": lambda: _WHITE * diffused(ramp()),
        "floyd-steinberg-colour": lambda: np.stack(
            [_WHITE * diffused(np.roll(ramp(), 30 * number, axis=0)) for number in range(3)], axis=-1
        ),
        "floyd-steinberg-four": lambda: _WHITE * diffused(ramp(), 4),
        "halftone": lambda: halftone(6, 45, ramp()),
        "halftone-printed": printed,
        **{f"matrix-code-{module}": partial(matrix_code, module) for module in (1, 2, 3, 5)},
        "bar-code": bars,
        "text": lambda: text("black", "white"),
        "text-white": lambda: text("white", "black"),
        "text-colour": lambda: text("#c02060", "#f0f0a0"),
        "text-smooth": lambda: text("black", "white", smooth=2),
        "gradient": lambda: 255 * grid()[1] / (SIDE - 1),
        "gradient-faint": lambda: 120 + 8 * grid()[0] / (SIDE - 1),
        "gradient-colour": colour_gradient,
        "gradient-hill": lambda: 255 * ramp(),
        "step": lambda: np.where(grid()[1] < SIDE / 2 - 3, 20.0, 230.0),
        "dot-white": lambda: dot(0, 255),
        "dot-black": lambda: dot(255, 0),
        "dot-faint": lambda: dot(128, 131),
        "stars": stars,
        "solid-black": lambda: np.zeros((SIDE, SIDE)),
        "solid-white": lambda: np.full((SIDE, SIDE), 255.0),
        "solid-grey": lambda: np.full((SIDE, SIDE), 119.0),
        "solid-red": lambda: coloured(np.ones((SIDE, SIDE)), (0, 0, 0), (255, 0, 0)),
        "noise-white": lambda: noise(0, 3),
        "noise-white-grey": lambda: noise(0, 1),
        "noise-white-loud": lambda: noise(0, 3, deviation=120),
        "noise-pink": lambda: noise(1, 3),
        "noise-brown": lambda: noise(2, 3),
        "noise-bits": lambda: _WHITE * generator("bits").integers(0, 2, (SIDE, SIDE, 3)).astype(np.float64),
        "salt-and-pepper": salt_and_pepper,
        "mandelbrot": lambda: escape_times(-0.6, 2.6),
        "mandelbrot-deep": lambda: escape_times(-0.745 + 0.11j, 0.02),
        "julia": lambda: escape_times(0, 3, -0.8 + 0.156j),
        "map-political": political_map,
        "map-contours": contour_map,
        "landscape": heights,
        "icon-hard": lambda: disc(soft=False),
        "icon-soft": lambda: disc(soft=True),
        "icon-hidden-noise": hidden_noise,
        "grey-and-alpha": grey_and_alpha,
        "pixel-art": lambda: sprites(4),
        "pixel-art-small": lambda: sprites(1),
        "line-art": lambda: line_art(1),
        "line-art-smooth": lambda: line_art(3),
        "screen-window": window,
        "screen-code": source_code,
        "screen-table": table,
        "plot": plot,
        "cartoon": cartoon,
        "one-pixel": lambda: np.full((1, 1, 3), (200.0, 30.0, 90.0)),
        "two-pixels": lambda: np.array([[0.0, 255.0]]),
        "two-by-two": lambda: checkerboard(1, side=2),
        "row": lambda: generator("row").integers(0, 256, (1, 200)).astype(np.float64),
        "row-stripes": lambda: _WHITE * (np.arange(300.0) % 2)[None],
        "column": lambda: np.linspace(0, 255, 150)[:, None],
        "column-noise": lambda: generator("column").integers(0, 256, (150, 1, 3)).astype(np.float64),
        "odd-small": lambda: generator("odd").integers(0, 256, (3, 5, 3)).astype(np.float64),
        "odd-37x61": lambda: text("black", "white")[:37, :61],
        "odd-127x101": lambda: checkerboard(3)[:127, :101],
    }
    return {name: plain(make) for name, make in arrays.items()} | {
        "sixteen-gradient": lambda: sixteen(ramp()),
        "sixteen-noise": lambda: sixteen(noise(0, 1) / 255),
        "sixteen-checkerboard": lambda: sixteen(checkerboard(1) / _WHITE),
        "sixteen-faint": lambda: sixteen(0.5 + heights() / 65535),
    }


IMAGES = _images()
