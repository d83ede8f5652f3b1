"""Puts together what graphics-2 and small-1 are learned from, and what they are measured with.

    for package in gimp-help-en openclipart-png oxygen-icon-theme tango-icon-theme \\
            fonts-liberation fonts-dejavu-core fonts-hack fonts-firacode fonts-lato fonts-open-sans \\
            fonts-inconsolata fonts-freefont-ttf fonts-linuxlibertine fonts-comfortaa; do
        apt-get download $package && dpkg-deb -x ${package}_*.deb packages/$package
    done
    python benchmarks/graphics_data.py packages graphics --photographs train_photographs

Debian packages, unpacked, give screenshots, clip art, icons, fonts and text; the rest is drawn by ``drawings.py``. The
output folder gets ``training`` (pictures of at least 128 pixels a side), ``small`` (icons of 16 to 64 pixels) and
``held-out``, named by their kinds. A tenth of the sources, by a hash of their names without size and folder, are held
out: files, fonts, texts and photographs alike. Needs matplotlib, pygments and qrcode.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from drawings import DRAWINGS, LARGEST_SIDE, LEAST_SIDE, Materials, Picture
from PIL import Image

LEAST_CROP = 128  # side of what is learned from, in pixels
LARGEST_SCREEN = 512  # side of a part of a screenshot, in pixels
LARGEST_SOURCE = 40_000_000  # pixels of clip art that is taken
HELD_OUT_SHARE = 10  # one in so many sources
# drawn pictures of each kind to learn from; a sixteenth as many are held out
DRAWN = {
    "text": 480,
    "code": 260,
    "plot": 320,
    "diagram": 180,
    "map": 200,
    "qr": 120,
    "dither": 180,
    "pattern": 180,
    "pixel-art": 180,
    "gradient": 100,
    "page": 260,
}
HELD_OUT_FRACTION = 16
SCREENS = 720
SHEETS = 360  # of icons
CLIP_ART = 700
SMALL = 6000
FOLDERS = {"screen": "gimp-help-en", "clip-art": "openclipart-png", "icon": "*-icon-theme"}

Make = Callable[[np.random.Generator], Picture]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="folder of unpacked packages, a folder each")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--photographs", type=Path, help="folder, for pages with photographs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the drawn pictures and sheets, for a trial")
    arguments = parser.parse_args()
    for held_out in (True, False):
        recipe = Recipe(arguments.packages, arguments.photographs, held_out, arguments.share)
        folder = arguments.output / ("held-out" if held_out else "training")
        print(f"{folder}: {written(folder, recipe.pictures(), [arguments.seed, int(held_out)])} pictures", flush=True)
        if not held_out:
            folder = arguments.output / "small"
            print(f"{folder}: {written(folder, recipe.small(), [arguments.seed, 2])} pictures", flush=True)


def written(folder: Path, pictures: Iterator[tuple[str, Make]], seed: list[int]) -> int:
    """Make pictures and write them, each from random numbers of its own; how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, make in pictures:
        count += 1
        path = folder / f"{name}.png"
        if not path.exists():
            make(np.random.default_rng([*seed, int(digest(name)[:8], 16)])).save(path)
    return count


class Recipe:
    """The pictures to learn from, or those that are held out."""

    def __init__(self, packages: Path, photographs: Path | None, held_out: bool, share: float) -> None:
        self._held_out, self._share = held_out, share
        self._images = {
            kind: [path for root in sorted(packages.glob(name)) for path in self._kept(root.rglob("*.png"))]
            for kind, name in FOLDERS.items()
        }
        fonts = self._kept(path for path in packages.rglob("*.?tf") if path.suffix in (".ttf", ".otf"))
        texts = [plain_text(path) for path in self._kept((packages / FOLDERS["screen"]).rglob("*.html"))]
        library = Path(sysconfig.get_paths()["stdlib"])
        codes = [path.read_text(encoding="utf-8", errors="replace") for path in self._kept(library.glob("*.py"))]
        named = [] if photographs is None else list(self._kept(path for path in photographs.rglob("*.*")))
        self.materials = Materials(
            list(fonts),
            [text for text in texts if len(text) > 2000],
            [code for code in codes if len(code) > 2000],
            named,
        )

    def _kept(self, paths: Iterator[Path]) -> list[Path]:
        """Files of this half, without links, by name."""
        files = [path for path in paths if path.is_file() and not path.is_symlink()]
        return sorted(path for path in files if is_held_out(path) == self._held_out)

    def _count(self, count: int) -> int:
        return max(1, round(count * self._share / (HELD_OUT_FRACTION if self._held_out else 1)))

    def pictures(self) -> Iterator[tuple[str, Make]]:
        """Names of pictures and how they are made."""
        for kind, count in DRAWN.items():
            for number in range(self._count(count)):
                yield f"{kind}-{number:04d}", partial(drawn, DRAWINGS[kind], self.materials)
        screens = [path for path in self._images["screen"] if min(size_of(path)) >= LEAST_CROP]
        for number, path in enumerate(spread(screens, self._count(SCREENS))):
            yield f"screen-{number:04d}", partial(shown, path)
        clips = [path for path in self._images["clip-art"] if LEAST_CROP**2 < area_of(path) <= LARGEST_SOURCE]
        for number, path in enumerate(spread(clips, self._count(CLIP_ART))):
            yield from self._with_alpha("clip", number, partial(fitted, path))
        for number in range(self._count(SHEETS)):
            yield from self._with_alpha("sheet", number, partial(sheet, self._images["icon"]))

    def _with_alpha(self, kind: str, number: int, make: Make) -> Iterator[tuple[str, Make]]:
        """A picture with alpha; to learn from, on a background and of its colours or its alpha alone."""
        if self._held_out:
            yield f"{kind}-{number:04d}", make
            return
        yield f"{kind}-{number:04d}", lambda random: on_background(random, make(random))
        if number % 2:
            yield f"{kind}-colours-{number:04d}", lambda random: make(random).convert("RGBA").convert("RGB")
        else:
            yield f"{kind}-alpha-{number:04d}", lambda random: make(random).convert("RGBA").getchannel("A")

    def small(self) -> Iterator[tuple[str, Make]]:
        """Icons of 16 to 64 pixels, on a background, of their colours alone or of their alpha alone, 32 at least."""
        icons = [path for path in self._images["icon"] if 16 <= max(size_of(path)) <= 64]
        for number, path in enumerate(spread(icons, self._count(SMALL))):

            def make(random: np.random.Generator, path: Path = path) -> Picture:
                icon = opened(path)
                whole = Image.new("RGBA", [max(32, size) for size in icon.size])
                places = [int(random.integers(n - m + 1)) for n, m in zip(whole.size, icon.size, strict=True)]
                whole.paste(icon, (places[0], places[1]))
                match int(random.integers(4)):
                    case 0:
                        return whole.getchannel("A")
                    case 1:
                        return whole.convert("RGB")
                    case _:
                        return on_background(random, whole)

            yield f"icon-{number:05d}", make


def digest(name: str) -> str:
    """A hash of a name."""
    return hashlib.sha256(name.encode()).hexdigest()


def is_held_out(path: Path) -> bool:
    """Whether a source is one of those to measure with: by its name, so that all sizes of an icon are on one side."""
    stem = path.stem.split("-")[0] if path.suffix in (".ttf", ".otf") else re.sub(r"[\d_.-]+$", "", path.stem.lower())
    return int(digest(stem), 16) % HELD_OUT_SHARE == 0


def plain_text(path: Path) -> str:
    """The words of a page of hypertext."""
    page = path.read_text(encoding="utf-8", errors="replace")
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height by the header of a PNG, however large."""
    with path.open("rb") as file:
        header = file.read(24)
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def area_of(path: Path) -> int:
    """Pixels of a PNG; none where it is too narrow for a crop."""
    width, height = size_of(path)
    return width * height if min(width, height) >= LEAST_CROP else 0


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """So many of some files, the same number of every folder as far as it goes, by a hash of their names."""
    turns: dict[Path, int] = {}
    order = []
    for path in sorted(paths, key=lambda path: digest(str(path.name))):
        turns[path.parent] = turns.get(path.parent, 0) + 1
        order.append((turns[path.parent], digest(path.name), path))
    return [path for _, _, path in sorted(order)[:most]]


def opened(path: Path) -> Picture:
    """A picture with alpha."""
    with Image.open(path) as picture:
        return picture.convert("RGBA")


def on_background(random: np.random.Generator, picture: Picture) -> Picture:
    """A picture on white, black, or any colour."""
    choice, colour = random.random(), tuple(random.integers(0, 256, 3).tolist())
    colour = (255, 255, 255) if choice < 0.5 else (0, 0, 0) if choice < 0.6 else colour
    return Image.alpha_composite(Image.new("RGBA", picture.size, (*colour, 255)), picture).convert("RGB")


def drawn(
    drawing: Callable[[np.random.Generator, Materials], Picture], materials: Materials, random: np.random.Generator
) -> Picture:
    """What one of the drawings gives."""
    return drawing(random, materials)


def shown(path: Path, random: np.random.Generator) -> Picture:
    """A file on a background, or a part of it."""
    return cut(random, on_background(random, opened(path)), LARGEST_SCREEN)


def cut(random: np.random.Generator, picture: Picture, most: int) -> Picture:
    """A part of a picture of at most so many pixels a side."""
    width, height = (min(size, most) for size in picture.size)
    left, top = int(random.integers(picture.width - width + 1)), int(random.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def fitted(path: Path, random: np.random.Generator) -> Picture:
    """Clip art as it is shown: shrunk to a usual size, or a part of it."""
    picture = opened(path)
    side = int(random.integers(LEAST_SIDE, LARGEST_SIDE))
    scale = side / max(picture.size)
    if scale < 1 and random.random() < 0.8 and min(picture.size) * scale >= LEAST_CROP:
        return picture.resize([max(1, round(size * scale)) for size in picture.size], Image.Resampling.LANCZOS)
    return cut(random, picture, LARGEST_SIDE)


def sheet(icons: Sequence[Path], random: np.random.Generator) -> Picture:
    """Icons of one size side by side, as in tool bars and folders; one of them where they are large."""
    size = int(random.choice([16, 22, 32, 48, 64, 128, 256]))
    alike = [path for path in icons if f"{size}x{size}" in path.parts]
    distance = size + int(random.integers(0, max(2, size // 3)))
    across = max(1, round(random.uniform(LEAST_SIDE, LARGEST_SIDE - 64) / distance))
    down = max(1, round(random.uniform(LEAST_SIDE, LARGEST_SIDE - 64) / distance))
    width, height = (max(LEAST_CROP, size + (count - 1) * distance) for count in (across, down))
    whole = Image.new("RGBA", (width, height))
    for row in range(down):
        for column in range(across):
            icon = opened(alike[int(random.integers(len(alike)))])
            whole.paste(icon.crop((0, 0, size, size)), (column * distance, row * distance))
    return whole


if __name__ == "__main__":
    main()
