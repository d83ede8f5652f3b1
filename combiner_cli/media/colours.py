"""Colours of images: what describes them in files, and their conversion to sRGB."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .colour_spaces import (
    BT709,
    CURVES,
    PRIMARIES,
    SRGB_CURVE,
    SRGB_TRANSFER,
    Curve,
    Parametric,
    Samples,
    Space,
    converted,
    to_xyz,
)

if TYPE_CHECKING:
    from PIL import Image, ImageCms

Conversion = Callable[[Samples], Samples]  # of (height, width, 1 or 3), of which it keeps shape and type

# Colour space of a profile to the modes of images it is for; the first is the mode that its conversion takes.
_PROFILE_MODES = {"GRAY": ("L",), "RGB": ("RGB", "L"), "CMYK": ("CMYK",)}
# Steps of 8 bits by which an sRGB profile may differ from Pillow's: primaries and curves are rounded in profiles.
_SRGB_TOLERANCE = 2

_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
_TRANSFERS = range(1, 19)  # of which 2 stands for unknown and 3 for nothing
_NO_TRANSFERS = (2, 3)
_UNSPECIFIED = 2
_CHROMATICITY, _GAMMA_STEPS = 100_000, 100_000  # steps of 1 in the chunks cHRM and gAMA
_SRGB_GAMMA, _GAMMA_TOLERANCE = 45455, 500
_CHROMATICITY_TOLERANCE = 0.002
_WORST_CONDITION = 1000.0  # of the matrix of primaries; that of sRGB is 4


class UnconvertibleError(InputError):
    """Colours cannot be converted to sRGB, or not with as many bits as the samples have."""


@dataclass(frozen=True)
class Colours:
    """What describes the colours of an image that are not those of sRGB; empty where they are.

    Attributes:
        icc: a colour profile.
        chunks: or chunks of PNG: cICP, with mDCV and cLLI; or gAMA, cHRM, or both.
    """

    icc: bytes = b""
    chunks: Mapping[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.icc or self.chunks)


# ---- what files say --------------------------------------------------------------------------------------------------


def of_chunks(chunks: Mapping[str, bytes], icc: bytes, path: Path, note: Callable[[str], None]) -> Colours:
    """What describes the colours of a PNG file: cICP before iCCP before sRGB before gAMA and cHRM.

    Args:
        chunks: the contents of those of them that are there.
        icc: the profile in the chunk iCCP, or nothing.
        path: of the file, for messages.
        note: told what makes no sense and is ignored.
    """
    code_points = chunks.get("cICP", b"")
    if code_points:
        primaries, transfer, matrix, _ = code_points
        if matrix == 0 and primaries in PRIMARIES and transfer in _TRANSFERS and transfer not in _NO_TRANSFERS:
            if code_points == bytes((1, SRGB_TRANSFER, 0, 1)):
                return Colours()
            return Colours(chunks={name: chunks[name] for name in ("cICP", "mDCV", "cLLI") if name in chunks})
        numbers = f"primaries {primaries}, transfer {transfer}, matrix {matrix}"
        note(f"{path} has a chunk cICP of unknown colours ({numbers}), which is ignored")
    if icc:
        return Colours(icc)
    described = {name: chunks[name] for name in ("gAMA", "cHRM") if name in chunks}
    if "sRGB" in chunks or not described:
        return Colours()
    try:
        space = _of_gamma(described)
    except (ArithmeticError, np.linalg.LinAlgError):
        note(f"{path} has chunks {' and '.join(described)} that make no sense, which are ignored")
        return Colours()
    return Colours(chunks=described) if space else Colours()


def of_code_points(primaries: int, transfer: int, path: Path, note: Callable[[str], None]) -> Colours:
    """What describes the colours of a file of another format that names them by the numbers of ITU-T H.273."""
    if _UNSPECIFIED in (primaries, transfer) or max(primaries, transfer) > 255:
        return Colours()
    return of_chunks({"cICP": bytes((primaries, transfer, 0, 1))}, b"", path, note)


def of_metadata(icc: bytes, chunks: Mapping[str, bytes]) -> Colours:
    """What describes the colours of an image by its metadata, which may be hostile."""
    if "cICP" in chunks:
        return Colours(chunks={"cICP": chunks["cICP"]})
    if icc:
        return Colours(icc)
    return Colours(chunks={name: chunks[name] for name in ("gAMA", "cHRM") if name in chunks})


def _of_gamma(chunks: Mapping[str, bytes]) -> Space | None:
    """The space of the chunks gAMA and cHRM, of which one may be missing; ``None`` for that of sRGB.

    Raises:
        ArithmeticError, numpy.linalg.LinAlgError: they make no sense.
    """
    chromaticities = BT709
    if "cHRM" in chunks:
        numbers = [number / _CHROMATICITY for number in struct.unpack(">8I", chunks["cHRM"])]
        white, red, green, blue = (tuple(numbers[start : start + 2]) for start in range(0, 8, 2))
        given = (red, green, blue, white)
        if np.abs(np.array(given) - BT709).max() > _CHROMATICITY_TOLERANCE:
            chromaticities = given
    curve = SRGB_CURVE
    if "gAMA" in chunks:
        gamma = int.from_bytes(chunks["gAMA"], "big")
        if chromaticities is not BT709 or abs(gamma - _SRGB_GAMMA) > _GAMMA_TOLERANCE:
            curve = Parametric(_GAMMA_STEPS / gamma)
    if curve is SRGB_CURVE and chromaticities is BT709:
        return None
    to_white = to_xyz(chromaticities)
    if np.linalg.cond(to_white) > _WORST_CONDITION:
        raise ArithmeticError("the primaries are hardly different colours")
    return Space((curve,) * 3, to_white)


# ---- conversion ------------------------------------------------------------------------------------------------------


def conversion(colours: Colours, channels: int, bit_depth: int, path: Path) -> Conversion | None:
    """The conversion of samples to sRGB, or ``None`` if it would change nothing.

    Args:
        colours: what describes them.
        channels: 1 or 3 of the samples.
        bit_depth: 8 or 16 of the samples.
        path: of the file, for messages.

    Raises:
        InputError: the description is damaged, or for other channels.
        UnconvertibleError: there is none, as of HDR, or of 16 bits with a profile of tables.
    """
    if colours.icc:
        return _conversion_of_profile(colours.icc, channels, bit_depth, path)
    if not colours.chunks:
        return None
    try:
        space = _of_code_points(colours.chunks["cICP"], path) if "cICP" in colours.chunks else _of_gamma(colours.chunks)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise InputError(f"{path} has a damaged description of its colours; remove it") from error
    if space is None:
        return None
    convert = partial(converted, space=Space(space.curves[:1]) if channels == 1 else space)
    return None if _changes_nothing(convert, channels) else convert


def _of_code_points(code_points: bytes, path: Path) -> Space:
    primaries, transfer, _, full_range = code_points
    if transfer in _HDR_TRANSFERS:
        raise UnconvertibleError(
            f"{path} has HDR colours ({_HDR_TRANSFERS[transfer]}), which cannot be converted to sRGB; "
            "give --keep-metadata, or map its tones first"
        )
    if transfer not in CURVES or primaries not in PRIMARIES or not full_range:
        raise UnconvertibleError(
            f"{path} has colours (cICP {' '.join(map(str, code_points))}) that cannot be converted to sRGB; "
            "give --keep-metadata, or convert it to sRGB first"
        )
    return Space((CURVES[transfer],) * 3, to_xyz(PRIMARIES[primaries]))


def _changes_nothing(convert: Conversion, channels: int) -> bool:
    """Whether the conversion is the identity up to rounding. Names of profiles do not tell, there are too many."""
    before = _lattice(channels)
    return bool(np.abs(convert(before).astype(np.int16) - before).max() <= _SRGB_TOLERANCE)


def _lattice(channels: int) -> npt.NDArray[np.uint8]:
    """Samples all over the space, ``(height, width, channels)``."""
    if channels == 1:
        return np.arange(256, dtype=np.uint8)[None, :, None]
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)


# ---- profiles --------------------------------------------------------------------------------------------------------


def profile_transform(icc: bytes, mode: str, path: Path) -> ImageCms.ImageCmsTransform:
    """The conversion from a profile to sRGB for images in mode L, RGB or CMYK, by LittleCMS.

    Raises:
        InputError: the profile is damaged, or for other colours.
    """
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(icc))
        space = source.profile.xcolor_space.strip()
        if not space.isprintable():
            raise OSError("the colour space has no name")
        if mode not in _PROFILE_MODES.get(space, ()):
            raise InputError(f"{path} has a colour profile for {space}, not for its colours; convert it to sRGB first")
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            _PROFILE_MODES[space][0],
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Otherwise dark greys come out wrong by up to 10 steps, from a table that is too coarse.
            ImageCms.Flags.NOOPTIMIZE,
        )
    except (OSError, UnicodeDecodeError, ImageCms.PyCMSError) as error:
        raise InputError(f"{path} has a damaged colour profile; remove it, or convert the image to sRGB") from error


def _conversion_of_profile(icc: bytes, channels: int, bit_depth: int, path: Path) -> Conversion | None:
    convert = partial(_transformed, transform=profile_transform(icc, "L" if channels == 1 else "RGB", path))
    if _changes_nothing(convert, channels):
        return None
    if bit_depth == 8:
        return convert
    # Pillow has no images of 16 bits that LittleCMS could convert.
    space = _of_profile(icc, channels)
    exact = partial(converted, space=space) if space else None
    lattice = _lattice(channels)
    if exact is None or np.abs(exact(lattice).astype(np.int16) - convert(lattice)).max() > _SRGB_TOLERANCE:
        raise UnconvertibleError(
            f"{path} has 16 bits and a colour profile that cannot be applied to them; "
            "give --keep-metadata, or convert it to sRGB"
        )
    return exact


def _transformed(samples: Samples, transform: ImageCms.ImageCmsTransform) -> Samples:
    """Samples of 8 bits, ``(height, width, 1 or 3)``, in sRGB."""
    from PIL import Image

    grey = samples.shape[-1] == 1
    colour: Image.Image = Image.fromarray(samples[:, :, 0] if grey else samples)
    converted = np.asarray(transform.apply(colour.convert(transform.input_mode)))
    # Profiles map greys to greys, so that any channel is the grey.
    return converted[:, :, 1:2] if grey else converted


def _of_profile(icc: bytes, channels: int) -> Space | None:
    """The space of a profile that is made of curves and a matrix; ``None`` if it is made otherwise."""
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        entries = [struct.unpack_from(">4sII", icc, 132 + 12 * number) for number in range(min(count, 200))]
        tags = {name: icc[start : start + length] for name, start, length in entries}
        if icc[20:24] != b"XYZ " or any(name.startswith(b"A2B") for name in tags):
            return None
        if icc[16:20] == b"GRAY":
            return Space((_curve(tags[b"kTRC"]),)) if channels == 1 else None
        colorants = [np.array(struct.unpack_from(">3i", tags[name], 8)) / 2**16 for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    except (ArithmeticError, LookupError, ValueError, struct.error):
        return None
    return Space(curves[:1]) if channels == 1 else Space(curves, np.stack(colorants, axis=1))


def _curve(tag: bytes) -> Curve:
    """A curve of a profile (ICC.1:2022, sections 10.6 and 10.18).

    Raises:
        ValueError, struct.error: it is of another kind, or cut off.
    """
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return Parametric(1.0)
        if count == 1:
            return Parametric(struct.unpack_from(">H", tag, 12)[0] / 256)
        table = np.frombuffer(tag, ">u2", count, 12) / np.iinfo(np.uint16).max
        return lambda encoded: np.interp(encoded, np.linspace(0, 1, count), table)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    (kind,) = struct.unpack_from(">H", tag, 8)
    names = ("g", "gab", "gabc", "gabcd", "gabcdef")[kind]
    number = dict(zip(names, (value / 2**16 for value in struct.unpack_from(f">{len(names)}i", tag, 12)), strict=True))
    gamma, scale, shift = number["g"], number.get("a", 1.0), number.get("b", 0.0)
    if kind <= 2:  # a constant up to where the power begins
        offset = number.get("c", 0.0)
        return Parametric(gamma, scale, shift, 0.0, -shift / scale if kind else 0.0, offset, offset)
    slope, threshold = number["c"], number["d"]
    return Parametric(gamma, scale, shift, slope, threshold, number.get("e", 0.0), number.get("f", 0.0))
