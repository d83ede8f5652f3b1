"""The codecs that photographs are compared with: those that run here, at their best, and published curves.

Curves are made in one of two conventions. At one *setting* for all images, as codecs are used and as their papers and
test models measure them, easy images get smaller files than difficult ones. At one *rate* for all images, as with
networks of one size, difficult ones lose more; the mean PSNR of the same codec is higher then.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from PIL import Image

from combiner_cli.bench.codecs import images
from combiner_cli.bench.codecs.baselines import Codec, Coded, Options
from combiner_cli.signals.signal import Signal

SETTING, RATE = "setting", "rate"

AVIF_SPEEDS = (2, 6)
AVIF_SAMPLINGS = ("4:4:4", "4:2:0")
# the usual tuning is for eyes; qualities of both that cover 0.1 to 2 bits per pixel
AVIF_IQ_QUALITIES = {2: (8, 18, 30, 42, 55, 67, 78, 87), 6: (8, 30, 55, 78, 87)}
AVIF_PSNR_QUALITIES = (3, 20, 42, 62, 80)
JXL_EFFORTS = (7, 9)
JXL_QUALITIES = {7: (5, 30, 60, 82, 90), 9: (5, 15, 30, 45, 60, 72, 82, 90)}
SHARP_QUALITIES = (2, 20, 50, 75, 88)


@dataclass(frozen=True)
class Published:
    """A published curve.

    Attributes:
        method: its name in the file of curves.
        convention: in which it was made.
    """

    method: str
    convention: str = SETTING


# networks of one size for all images have about one rate; of JPEG 2000 a rate was asked for
PUBLISHED = {
    "RECOMBINER": Published("RECOMBINER", RATE),
    "COIN": Published("COIN", RATE),
    "COIN++": Published("COIN++", RATE),
    "MSCN": Published("MSCN", RATE),
    "Strümpler 2022": Published("Strumpler2022", RATE),
    "VC-INR": Published("VC-INR"),
    "JPEG, published": Published("JPEG"),
    "JPEG 2000, published": Published("JPEG2000", RATE),
    "WebP, published": Published("WebP"),
    "BPG 4:2:0": Published("BPG_420"),
    "BPG 4:4:4": Published("BPG_444_dense"),
    "HM": Published("HM"),
    "AV1": Published("AV1"),
    "VTM, CompressAI": Published("VTM_compressai"),
    "VTM 19.1": Published("VTM-19.1"),
    "factorized 2018": Published("bmshj2018-factorized"),
    "hyperprior 2018": Published("bmshj2018-hyperprior"),
    "mbt2018-mean": Published("mbt2018-mean"),
    "mbt2018": Published("mbt2018"),
    "cheng2020-anchor": Published("cheng2020-anchor"),
    "cheng2020-attn": Published("cheng2020-attn"),
    "STF": Published("STF"),
    "Neural Syntax": Published("Neural-Syntax_WYH2022"),
    "ELIC": Published("ELIC"),
    "EVC-S": Published("EVC-S"),
    "EVC-L": Published("EVC-L"),
    "shallow-ntc": Published("shallow-ntc_2-layer+SGA"),
    "QRes-VAE": Published("QRes-VAE"),
    "MLIC": Published("MLIC"),
    "MLIC+": Published("MLIC+"),
    "LALIC": Published("LALIC"),
    "HPCM-Base": Published("HPCM-Base"),
    "HPCM-Large": Published("HPCM-Large"),
    "Cool-chic 1.0": Published("Cool-chic_1.0"),
    "Cool-chic 2.0": Published("Cool-chic_2.0"),
    "Cool-chic 3.0": Published("Cool-chic_3.0"),
    "Cool-chic 4.2": Published("Cool-chic_4.2"),
    "Cool-chic 5.0": Published("Cool-chic_5.0"),
    "C3": Published("C3"),
    "C3, adaptive": Published("C3_adaptive"),
    "LotteryCodec, 1,600": Published("LotteryCodec_1600MAC"),
    "LotteryCodec, 5,100": Published("LotteryCodec_5100MAC"),
    "MoRIC": Published("MoRIC"),
}


def conventions() -> dict[str, str]:
    """The convention of every codec that runs here, by its title."""
    return {title: RATE if title == "JPEG 2000" else SETTING for title in codecs()}


@functools.cache
def codecs() -> Mapping[str, Codec]:
    """Those that run here, by their titles; of each the better of its ways counts at each rate."""
    usual = images.codecs()
    every_other = [
        replace(usual[name], ways={way: settings[::2] for way, settings in usual[name].ways.items()})
        for name in ("jpeg", "jpeg2000", "webp")
    ]
    return {codec.title: codec for codec in (*every_other, *_further(usual))}


def _further(usual: Mapping[str, Codec]) -> Iterator[Codec]:
    """AVIF at two speeds, WebP with sharp chroma and JPEG XL, where they are there."""
    for speed in AVIF_SPEEDS:
        for sampling in AVIF_SAMPLINGS:
            title = f"AVIF {sampling}, speed {speed}"
            options = {"format": "AVIF", "speed": speed, "subsampling": sampling, "max_threads": 1}
            ways = {
                title: images.at_qualities(options, AVIF_IQ_QUALITIES[speed]),
                f"{title}, psnr": images.at_qualities({**options, "advanced": {"tune": "psnr"}}, AVIF_PSNR_QUALITIES),
            }
            yield replace(usual["avif"], title=title, ways=ways)
    if shutil.which("cwebp"):
        settings = images.at_qualities({"format": "WEBP", "method": 6, "sharp": True}, SHARP_QUALITIES)
        yield replace(usual["webp"], title="WebP, sharp", ways={"WebP, sharp": settings}, encode=sharp_webp)
    with suppress(ImportError):
        import_module("pillow_jxl")  # Pillow knows the format then
        for effort in JXL_EFFORTS:
            title = f"JPEG XL, effort {effort}"
            settings = images.at_qualities({"format": "JXL", "effort": effort}, JXL_QUALITIES[effort])
            yield replace(usual["jpeg"], title=title, ways={title: settings}, encode=jpeg_xl)


def jpeg_xl(original: Signal, options: Options) -> Coded:
    """A file of JPEG XL, also in a process that has not met the format."""
    import_module("pillow_jxl")
    return images.code(original, options)


def sharp_webp(original: Signal, options: Options) -> Coded:
    """A file of the program cwebp with its slower and sharper way to halve the resolution of chroma."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded = Path(folder) / "x.ppm", Path(folder) / "x.webp"
        Image.fromarray(original.samples).save(source)
        quality, method = str(options["quality"]), str(options["method"])
        command = ["cwebp", "-quiet", "-sharp_yuv", "-m", method, "-q", quality, str(source), "-o", str(coded)]
        subprocess.run(command, check=True)
        data = coded.read_bytes()
    return Coded(data, images.decode(data, original), 0.0, 0.0)


def words() -> str:
    """How the codecs that run here are used."""
    sharp = ""
    if shutil.which("cwebp"):
        version = subprocess.run(["cwebp", "-version"], capture_output=True, text=True, check=True).stdout.split()[0]
        sharp = f" WebP, sharp: cwebp {version} with -sharp_yuv and method 6."
    programs = "; ".join(f"{codec.title.split(',')[0]}: {codec.program}" for codec in images.codecs().values())
    return (
        f"{programs}; JPEG: optimised tables, the better of 4:2:0 and 4:4:4 at each rate; WebP: method 6.{sharp} AVIF: "
        "the better of the tunings iq, its usual one, and psnr at each rate. JPEG XL: pillow-jxl-plugin."
    )
