"""Pictures that a program draws: text, code, plots, diagrams, maps, QR codes, dithers, patterns, pixel art, gradients.

Every function takes a random generator and what there is to draw with, and gives an RGB picture. ``graphics_data.py``
makes data sets of them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = Image.Image
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont
Array = npt.NDArray[np.uint8]

LEAST_SIDE, LARGEST_SIDE = 192, 384  # of a drawn picture, in pixels
_COLOUR_MAPS = ("viridis", "magma", "coolwarm", "tab20", "Greys", "terrain", "jet", "Blues")


@dataclass(frozen=True)
class Materials:
    """What there is to draw with; none of it is both in the training and in the held-out pictures.

    Attributes:
        fonts: files of fonts.
        texts: of some thousand characters each.
        codes: source texts of Python.
        photographs: files; may be empty.
    """

    fonts: Sequence[Path]
    texts: Sequence[str]
    codes: Sequence[str]
    photographs: Sequence[Path]


def text(random: np.random.Generator, materials: Materials) -> Picture:
    """A page of text in one or two fonts, dark or light, with or without antialiasing, or in subpixels."""
    picture, ink = _page(random), _ink(random)
    paper, colour = ink
    picture.paste(paper, (0, 0, *picture.size))
    draw, top = ImageDraw.Draw(picture), 4
    mode = random.choice(["grey", "grey", "hard", "subpixels"])
    content = _pick(random, materials.texts)
    place = int(random.integers(max(1, len(content) - 4000)))
    body = _font(random, materials, int(random.integers(9, 22)))
    while top < picture.height - 8:
        font = body
        if random.random() < 0.1:
            font = _font(random, materials, int(random.integers(16, 44)))
        line = content[place : place + 90].replace("\n", " ")
        words = int(picture.width / max(1.0, font.getlength("n")) * random.uniform(0.7, 1.1))
        place += words
        _write(draw, (6, top), line[:words], font, colour, mode)
        top += int(font.size * random.uniform(1.15, 1.4)) + (8 if random.random() < 0.08 else 0)
    return picture


def code(random: np.random.Generator, materials: Materials) -> Picture:
    """Source text in the colours of a style, as editors and terminals show it."""
    from pygments.lexers import PythonLexer
    from pygments.styles import get_all_styles, get_style_by_name

    style = get_style_by_name(_pick(random, sorted(get_all_styles())))
    picture = _page(random)
    picture.paste(style.background_color, (0, 0, *picture.size))
    draw = ImageDraw.Draw(picture)
    wide = [font for font in materials.fonts if "mono" in font.name.lower() or "code" in font.name.lower()]
    font = ImageFont.truetype(str(_pick(random, wide or materials.fonts)), int(random.integers(10, 19)))
    mode = random.choice(["grey", "grey", "hard", "subpixels"])
    lines = _pick(random, materials.codes).splitlines()
    first = int(random.integers(max(1, len(lines) - 40)))
    advance, height = font.getlength("n"), int(font.size * 1.3)
    left, top = 4.0, 4
    if random.random() < 0.5:  # numbers of the lines
        for number in range(picture.height // height):
            draw.text((4, 4 + number * height), f"{first + number:4d}", fill="#888888", font=font)
        left += 5 * advance
    column = 0
    for token, value in PythonLexer().get_tokens("\n".join(lines[first : first + 60])):
        colour = style.style_for_token(token)["color"] or ("dddddd" if _is_dark(style.background_color) else "222222")
        for number, part in enumerate(value.expandtabs(4).split("\n")):
            if number:
                column, top = 0, top + height
            _write(draw, (int(left + column * advance), top), part, font, _rgb(f"#{colour}"), mode)
            column += len(part)
    return picture


def plot(random: np.random.Generator, materials: Materials) -> Picture:
    """A plot of invented data: lines, bars, points, areas, histograms, heat maps or contours."""
    del materials
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    style = _pick(random, ["default", "default", "ggplot", "dark_background", "bmh", "seaborn-v0_8", "grayscale"])
    with pyplot.style.context(style):
        dpi = int(random.integers(60, 110))
        figure, axes = pyplot.subplots(figsize=tuple(random.uniform(LEAST_SIDE, LARGEST_SIDE, 2) / dpi), dpi=dpi)
        x = np.linspace(0, random.uniform(1, 100), int(random.integers(8, 120)))
        curves = np.cumsum(random.standard_normal((int(random.integers(1, 5)), len(x))), axis=1)
        match random.choice(["lines", "bars", "points", "area", "histogram", "heat", "contour", "pie", "box"]):
            case "lines":
                for number, curve in enumerate(curves):
                    axes.plot(x, curve, _pick(random, ["-", "--", ":", ".-", "o-"]), label=f"series {number}")
            case "bars":
                heights = np.abs(curves[0][:8])
                axes.bar(np.arange(8), heights, color="#{:02x}{:02x}{:02x}".format(*_any_colour(random)))
            case "points":
                axes.scatter(x, curves[0], c=np.abs(curves[-1]), s=float(random.uniform(4, 60)))
            case "area":
                axes.stackplot(x, np.abs(curves))
            case "histogram":
                axes.hist(random.standard_normal(500), bins=int(random.integers(6, 40)), edgecolor="black")
            case "heat":
                axes.imshow(random.standard_normal((12, 16)).cumsum(0), cmap=_pick(random, _COLOUR_MAPS))
            case "contour":
                grid = np.hypot(*np.meshgrid(np.linspace(-2, 2, 40), np.linspace(-1, 2, 40))) + curves[0][0]
                axes.contourf(np.sin(grid * random.uniform(1, 5)), cmap=_pick(random, _COLOUR_MAPS))
            case "pie":
                axes.pie(np.abs(curves[0][:5]) + 0.1, labels=list("ABCDE"))
            case _:
                axes.boxplot(list(np.abs(curves)))
        axes.set_title("Figure of something" if random.random() < 0.5 else "", fontsize=float(random.uniform(7, 14)))
        axes.grid(bool(random.random() < 0.4))
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
        content = io.BytesIO()
        figure.savefig(content, format="png", bbox_inches=_pick(random, [None, "tight"]))
        pyplot.close(figure)
    return _opaque(Image.open(content), (255, 255, 255))


def diagram(random: np.random.Generator, materials: Materials) -> Picture:
    """Boxes with words, and arrows between them."""
    picture, draw = _sharp(random)
    font = _font(random, materials, int(random.integers(10, 18)) * picture.info["scale"])
    width, height = picture.size
    columns, rows = (int(n) for n in random.integers(2, 4, 2))
    colours = [_any_colour(random) for _ in range(3)]
    centres = []
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * width / columns, (row + 0.5) * height / rows
            centres.append((x, y))
    line = int(random.integers(1, 3)) * picture.info["scale"]
    for _ in range(len(centres)):
        start, end = (centres[int(n)] for n in random.integers(len(centres), size=2))
        bend = (end[0], start[1])
        draw.line([start, bend, end] if random.random() < 0.6 else [start, end], fill=(40, 40, 40), width=line)
    for x, y in centres:
        w, h = width / columns * 0.32, height / rows * 0.28
        box = (x - w, y - h, x + w, y + h)
        fill, outline = colours[int(random.integers(3))], (30, 30, 30)
        match int(random.integers(3)):
            case 0:
                draw.rectangle(box, fill, outline, line)
            case 1:
                draw.rounded_rectangle(box, min(w, h) / 2, fill, outline, line)
            case _:
                draw.ellipse(box, fill, outline, line)
        word = _pick(random, _pick(random, materials.texts).split())[:12]
        draw.text((x, y), word, fill=(255, 255, 255) if sum(fill) < 330 else (0, 0, 0), font=font, anchor="mm")
    return _reduced(picture)


def street_map(random: np.random.Generator, materials: Materials) -> Picture:
    """Areas of land and water, roads in two colours, names."""
    picture, draw = _sharp(random)
    width, height = picture.size
    scale = picture.info["scale"]
    draw.rectangle((0, 0, width, height), _pick(random, [(242, 239, 233), (255, 250, 230), (230, 236, 230)]))
    for _ in range(int(random.integers(3, 9))):
        centre = random.uniform(0, 1, 2) * (width, height)
        radii = random.uniform(0.1, 0.35) * width * random.uniform(0.6, 1.2, 14)
        angles = np.linspace(0, 2 * math.pi, 14, endpoint=False)
        corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        area = _pick(random, [(170, 211, 223), (205, 235, 176), (224, 223, 223), (250, 230, 210), _any_colour(random)])
        draw.polygon([tuple(corner) for corner in corners], area)
    for road in range(int(random.integers(4, 16))):
        steps = np.cumsum(random.normal(0, width / 8, (7, 2)), axis=0)
        points = [tuple(point) for point in steps - steps[3] + random.uniform(0, 1, 2) * (width, height)]
        broad = int(random.integers(2, 8)) * scale
        inner = _pick(random, [(255, 255, 255), (252, 214, 164), (249, 178, 156)])
        draw.line(points, fill=(150, 140, 130), width=broad, joint="curve")
        if road % 4:
            draw.line(points, fill=inner, width=max(1, broad - 2 * scale), joint="curve")
    for _ in range(int(random.integers(2, 12))):
        font = _font(random, materials, int(random.integers(8, 17)) * scale)
        word = _pick(random, _pick(random, materials.texts).split())[:14].title()
        place = tuple(random.uniform(0, 0.9, 2) * (width, height))
        draw.text(place, word, fill=(60, 60, 60), font=font, stroke_width=scale, stroke_fill=(255, 255, 255))
    return _reduced(picture)


def quick_response(random: np.random.Generator, materials: Materials) -> Picture:
    """A QR code or bars, sharp, at a whole or an odd scale."""
    import qrcode

    if random.random() < 0.25:
        bars = random.integers(0, 2, int(random.integers(60, 120))).astype(np.uint8) * 255
        picture = Image.fromarray(np.tile(bars, (60, 1)))
    else:
        symbol = qrcode.QRCode(error_correction=int(random.integers(4)), border=int(random.integers(1, 5)), box_size=1)
        content = _pick(random, materials.texts)
        first = int(random.integers(max(1, len(content) - 200)))
        symbol.add_data(content[first : first + int(random.integers(10, 180))])
        picture = Image.fromarray(np.where(np.array(symbol.get_matrix()), 0, 255).astype(np.uint8))
    if random.random() < 0.75:
        picture = enlarged(picture, -(-LEAST_SIDE // min(picture.size)) + int(random.integers(0, 2)))
    else:
        size = int(random.integers(LEAST_SIDE, LARGEST_SIDE))
        picture = picture.resize((size, size), _pick(random, [Image.Resampling.NEAREST, Image.Resampling.BICUBIC]))
    dark, light = ((0, 0, 0), (255, 255, 255)) if random.random() < 0.7 else _ink(random)
    weight = np.asarray(picture.convert("L"), dtype=np.float64)[..., None] / 255
    mixed = np.rint(np.array(dark) + weight * (np.array(light) - np.array(dark))).astype(np.uint8)
    return _cut(random, Image.fromarray(mixed))


def dither(random: np.random.Generator, materials: Materials) -> Picture:
    """A picture in a few colours, by error diffusion, ordered dither or halftone."""
    picture = _pick(random, [gradient, street_map, page])(random, materials)
    grey = np.asarray(picture.convert("L"), dtype=np.float64)
    match random.choice(["black and white", "palette", "ordered", "halftone"]):
        case "black and white":
            result = picture.convert("1").convert("RGB")
        case "palette":
            result = picture.quantize(int(random.integers(4, 64)), dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
        case "ordered":
            bayer = np.array([[0, 2], [3, 1]])
            for _ in range(int(random.integers(0, 3))):
                bayer = np.block([[4 * bayer, 4 * bayer + 2], [4 * bayer + 3, 4 * bayer + 1]])
            threshold = (np.tile(bayer, np.array(grey.shape) // len(bayer) + 1) + 0.5) / bayer.size * 255
            black = grey <= threshold[: grey.shape[0], : grey.shape[1]]
            result = Image.fromarray(np.where(black, 0, 255).astype("uint8"))
        case _:
            period, angle = random.uniform(4, 12), random.uniform(0, math.pi)
            y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] * 2 * math.pi / period
            across, along = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
            screen = np.cos(across) + np.cos(along)
            sharpness = random.uniform(60, 800)
            result = Image.fromarray(np.clip(128 + sharpness * (grey / 255 - 0.5 + screen / 4), 0, 255).astype("uint8"))
    result = result.convert("RGB")
    return enlarged(result.crop((0, 0, 200, 200)), 2) if random.random() < 0.2 else result


def pattern(random: np.random.Generator, materials: Materials) -> Picture:
    """Checkerboards, stripes, diagonals, grids, points and rings of any period, alone or in a frame."""
    del materials
    height, width = (int(n) for n in random.integers(LEAST_SIDE, LARGEST_SIDE, 2))
    y, x = np.mgrid[:height, :width]
    period = int(random.choice([1, 1, 2, 2, 3, 4, 5, 7, 8, 12, 16, 25, 32]))
    duty = max(1, round(period * random.uniform(0.2, 1)))
    a, b = x + int(random.integers(64)), y + int(random.integers(64))
    match random.choice(["checks", "checks", "stripes", "diagonals", "grid", "points", "rings", "mixed"]):
        case "checks":
            on = (a // period + b // period) % 2 == 0
        case "stripes":
            on = (a if random.random() < 0.5 else b) % (period + duty) < duty
        case "diagonals":
            on = (a + int(random.integers(-3, 4)) * b) % (period + duty) < duty
        case "grid":
            on = (a % (4 * period + 1) == 0) | (b % (4 * period + 1) == 0)
        case "points":
            on = (a % (period + 1) == 0) & (b % (period + 1) == 0)
        case "rings":
            on = np.hypot(a - width / 2, b - height / 2) % (2 * period) < duty
        case _:
            on = np.where(x < width // 2, (a // period + b // period) % 2, a % (2 * period) < period) > 0
    dark, light = _ink(random) if random.random() < 0.6 else ((0, 0, 0), (255, 255, 255))
    result = np.where(on[..., None], np.array(light, dtype=np.uint8), np.array(dark, dtype=np.uint8))
    if random.random() < 0.4:
        edge = int(random.integers(8, 80))
        inner = (y >= edge) & (y < height - edge) & (x >= edge) & (x < width - edge)
        result = np.where(inner[..., None], result, np.array(_any_colour(random), dtype=np.uint8))
    return Image.fromarray(result.astype(np.uint8))


def pixel_art(random: np.random.Generator, materials: Materials) -> Picture:
    """Mirrored sprites and tiles in a small palette, enlarged by a whole number."""
    del materials
    palette = random.integers(0, 256, (int(random.integers(3, 12)), 3)).astype(np.uint8)
    side = int(random.choice([8, 12, 16, 24, 32]))
    scale = int(random.choice([1, 2, 2, 3, 4, 4, 6, 8]))
    count = -(-int(random.integers(LEAST_SIDE, LARGEST_SIDE)) // (side * scale))
    sheet = np.zeros((count * side, count * side), dtype=np.int64)
    for row in range(count):
        for column in range(count):
            half = np.rint(_smooth(random, (side, side // 2), 1.2) * (len(palette) - 1)).astype(np.int64)
            sprite = np.concatenate([half, half[:, ::-1]], axis=1)
            if random.random() < 0.6:
                reach = np.hypot(*(np.mgrid[:side, :side] - side / 2 + 0.5))
                sprite = np.where(reach < side * random.uniform(0.3, 0.5), sprite, 0)
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = sprite
    return _cut(random, enlarged(Image.fromarray(palette[sheet]), scale))


def gradient(random: np.random.Generator, materials: Materials) -> Picture:
    """Smooth colours, linear or round, with sharp shapes on them or none."""
    del materials
    height, width = (int(n) for n in random.integers(LEAST_SIDE, LARGEST_SIDE, 2))
    y, x = np.mgrid[:height, :width] / max(height, width)
    angle = random.choice([0, math.pi / 2, random.uniform(0, math.pi)])
    linear = x * math.cos(angle) + y * math.sin(angle)
    way = linear if random.random() < 0.6 else np.hypot(x - random.random(), y - random.random())
    way = ((way - way.min()) / max(float(np.ptp(way)), 1e-9))[..., None]
    first, last = (np.array(_any_colour(random)) for _ in range(2))
    picture = Image.fromarray(np.rint(first + way * (last - first)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.choice([0, 0, 2, 5]))):
        left, top = random.uniform(0, width * 0.8), random.uniform(0, height * 0.8)
        box = (left, top, left + random.uniform(10, width / 2), top + random.uniform(10, height / 2))
        (draw.rectangle if random.random() < 0.5 else draw.ellipse)(box, fill=_any_colour(random))
    return picture


def page(random: np.random.Generator, materials: Materials) -> Picture:
    """A page or a window with photographs, if there are any, and text."""
    picture = text(random, materials)
    for _ in range(int(random.integers(1, 3)) if materials.photographs else 0):
        with Image.open(_pick(random, materials.photographs)) as whole:
            photograph = whole.convert("RGB")
        width = int(random.integers(picture.width // 3, picture.width))
        height = int(random.integers(picture.height // 4, picture.height * 3 // 4))
        scale = max(random.uniform(0.4, 1), width / photograph.width, height / photograph.height)
        photograph = photograph.resize([max(1, round(size * scale)) for size in photograph.size])
        left, top = (int(random.integers(max(1, n - m))) for n, m in zip(photograph.size, (width, height), strict=True))
        across, down = random.integers(0, [picture.width - width + 1, picture.height - height + 1]).tolist()
        picture.paste(photograph.crop((left, top, left + width, top + height)), (across, down))
    return picture


DRAWINGS: dict[str, Callable[[np.random.Generator, Materials], Picture]] = {
    "text": text,
    "code": code,
    "plot": plot,
    "diagram": diagram,
    "map": street_map,
    "qr": quick_response,
    "dither": dither,
    "pattern": pattern,
    "pixel-art": pixel_art,
    "gradient": gradient,
    "page": page,
}


def enlarged(picture: Picture, factor: int) -> Picture:
    """Every pixel a square of a whole number of pixels."""
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _page(random: np.random.Generator) -> Picture:
    width, height = (int(n) for n in random.integers(LEAST_SIDE, LARGEST_SIDE, 2))
    return Image.new("RGB", (width, height))


def _sharp(random: np.random.Generator) -> tuple[Picture, ImageDraw.ImageDraw]:
    """A page to draw on, three times as large where its edges are to be smooth, once where they are to be hard."""
    scale = 3 if random.random() < 0.7 else 1
    width, height = (int(n) * scale for n in random.integers(LEAST_SIDE, LARGEST_SIDE, 2))
    paper = (255, 255, 255) if random.random() < 0.7 else _any_colour(random)
    picture = Image.new("RGB", (width, height), paper)
    picture.info["scale"] = scale
    return picture, ImageDraw.Draw(picture)


def _reduced(picture: Picture) -> Picture:
    return picture.reduce(picture.info["scale"])


def _cut(random: np.random.Generator, picture: Picture) -> Picture:
    """At most the largest side of it, from a random corner."""
    width, height = (min(size, LARGEST_SIDE) for size in picture.size)
    left, top = int(random.integers(picture.width - width + 1)), int(random.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def _ink(random: np.random.Generator) -> tuple[Colour, Colour]:
    """Paper and ink: often black on white, otherwise colours far enough apart."""
    if random.random() < 0.5:
        return ((255, 255, 255), (0, 0, 0)) if random.random() < 0.8 else ((0, 0, 0), (255, 255, 255))
    paper = _any_colour(random)
    ink = _any_colour(random)
    while sum(abs(p - i) for p, i in zip(paper, ink, strict=True)) < 250:
        ink = _any_colour(random)
    return paper, ink


def _any_colour(random: np.random.Generator) -> Colour:
    red, green, blue = (int(n) for n in random.integers(0, 256, 3))
    return red, green, blue


def _font(random: np.random.Generator, materials: Materials, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_pick(random, materials.fonts)), size)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], line: str, font: Font, colour: Colour, mode: str) -> None:
    """Write a line: with grey edges, with hard ones, or with those of the three colours apart, as flat screens do."""
    if mode != "subpixels":
        draw.fontmode = "1" if mode == "hard" else "L"
        draw.text(place, line, fill=colour, font=font)
        return
    picture = draw._image
    left, top, right, bottom = (int(n) for n in font.getbbox(line))
    if right <= left or bottom <= top:
        return
    large = Image.new("L", (right + 2, bottom + 2))
    ImageDraw.Draw(large).text((0, 0), line, fill=255, font=font)
    wide = large.resize((3 * large.width, large.height), Image.Resampling.BICUBIC).filter(ImageFilter.BoxBlur(0.5))
    masks = np.asarray(wide).reshape(large.height, large.width, 3) / 255.0
    area = (*place, place[0] + large.width, place[1] + large.height)
    below = np.asarray(picture.crop(area), dtype=np.float64)
    picture.paste(Image.fromarray(np.rint(below + masks * (np.array(colour) - below)).astype(np.uint8)), place)


def _opaque(picture: Picture, background: Colour) -> Picture:
    """A picture on a background."""
    whole = Image.new("RGBA", picture.size, (*background, 255))
    return Image.alpha_composite(whole, picture.convert("RGBA")).convert("RGB")


def _smooth(random: np.random.Generator, shape: tuple[int, int], radius: float) -> npt.NDArray[np.float64]:
    """Smooth noise in [0, 1]."""
    noise = Image.fromarray(random.integers(0, 256, shape).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    values = np.asarray(noise, dtype=np.float64)
    scaled: npt.NDArray[np.float64] = (values - values.min()) / max(float(np.ptp(values)), 1.0)
    return scaled


def _rgb(colour: str) -> Colour:
    red, green, blue = (int(colour[first : first + 2], 16) for first in (1, 3, 5))
    return red, green, blue


def _is_dark(colour: str) -> bool:
    return sum(_rgb(colour if len(colour) == 7 else "#" + 2 * colour[1:])) < 384


def _pick(random: np.random.Generator, items: Sequence[Any]) -> Any:
    return items[int(random.integers(len(items)))]
