"""The command compare."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import UsageError, one_line
from .. import display, options
from ..sources import read_signal

if TYPE_CHECKING:
    from ...signals.signal import Signal


_USUAL_EXTRA = "bench"
# what people see of measures of perception, where they are known
_TITLES = (
    ("ms_ssim", "MS-SSIM", 4),
    ("ssimulacra2", "SSIMULACRA 2", 1),
    ("estoi", "ESTOI", 3),
    ("pesq", "PESQ", 2),
    ("visqol", "ViSQOL", 2),
)


@click.command(epilog=options.exit_codes(3, 4, 5, 6, 7))
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--difference",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write B less A: a picture in which grey is no difference, or a sound.",
)
@click.option(
    "--gain",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    show_default=True,
    help="What differences are multiplied by.",
)
@options.force
@options.json
@options.verbose
def compare(first: Path, second: Path, difference: Path | None, gain: float, force: bool, as_json: bool) -> None:
    """Compare two images or two sounds, of which either may be a .cmb file.

    A is the original. Of images: PSNR, with the extra bench MS-SSIM (from 161 pixels of width and height on) and
    SSIMULACRA 2 (of 8 bits without alpha), and the largest difference. Of sounds: PSNR as the papers count it (samples
    mapped to [0, 1], peak 1), SNR, with the extra bench ESTOI, with the extra listening PESQ (of 16 kHz) and ViSQOL.
    Images and sounds come as encode reads them: upright, in sRGB.

    \b
    Examples:
      combiner compare photo.png photo.cmb
      combiner compare photo.png decoded.jpg --difference difference.png
      combiner compare talk.flac talk.cmb --json
    """
    from ...media import files as media
    from ...signals import metrics
    from ...system import files

    original, first_bytes = read_signal(first, display.note)
    copy, second_bytes = read_signal(second, display.note)
    facts: dict[str, float | None] = {"psnr": metrics.psnr(original, copy)}
    if original.sample_rate is not None:
        facts["snr"] = metrics.signal_to_noise(original, copy)
    facts |= _perceived(original, copy)
    facts["largest_difference"] = metrics.largest_difference(original, copy)
    if difference is not None:
        media.check_writable_suffix(original.kind, difference)
        with files.output(difference, force) as file:
            shown = metrics.difference(original, copy, gain)
            file.write(media.signal_bytes(shown, difference.suffix.lower()))
    if as_json:
        told: dict[str, object] = {"first": str(first), "second": str(second), "bytes": [first_bytes, second_bytes]}
        click.echo(json.dumps({**told, **{name: display.finite(value) for name, value in facts.items()}}))
        return
    words = f"{first} {first_bytes:,} bytes, {second} {second_bytes:,} bytes: {_words(original, facts)}"
    click.echo(one_line(words))


def _perceived(original: Signal, copy: Signal) -> dict[str, float | None]:
    """What measures of perception say, where they are defined and their packages are installed."""
    from ...bench.measures import PERCEPTUAL

    facts: dict[str, float | None] = {}
    for measure, extra in PERCEPTUAL[original.kind]:
        try:
            facts[measure.column] = measure.of(original, copy)
        except (ImportError, UsageError):
            if extra == _USUAL_EXTRA:
                display.note(f"{measure.title} is left out; pip install 'combiner[{extra}]' brings it")
    return facts


def _words(original: Signal, facts: dict[str, float | None]) -> str:
    psnr = facts["psnr"]
    if psnr == math.inf:
        return "no difference"
    largest = facts["largest_difference"]
    words = [f"PSNR {psnr:.2f} dB"]
    if facts.get("snr") is not None:
        words.append(f"SNR {facts['snr']:.2f} dB")
    for name, title, digits in _TITLES:
        if facts.get(name) is not None:
            words.append(f"{title} {facts[name]:.{digits}f}")
    words.append(f"largest difference {largest:.4g}{' of 255' if original.bit_depth == 8 else ''}")
    return ", ".join(words)
