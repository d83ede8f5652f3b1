"""Speech: real files of the first three seconds of recordings, beside MP3, Vorbis and Opus, and published curves.

python benchmarks/speech.py speech/test --published published_curves.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from common import at_rate, published, text, write_csv, write_table

from combiner_cli import codec, media, metrics, priors
from combiner_cli.signals import Signal

FRAMES, RATE = 48000, 16000
QUALITIES = (1, 3, 5, 7, 9)
BASELINES = {
    "MP3, lowest constant": {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.99},
    "MP3, lowest variable": {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.99},
    "Vorbis, lowest": {"format": "OGG", "subtype": "VORBIS", "compression_level": 1.0},
    "Opus, lowest": {"format": "OGG", "subtype": "OPUS", "compression_level": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of recordings at 16 kHz")
    parser.add_argument("--published", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take only every so many recordings")
    arguments = parser.parse_args()
    clips = [first_seconds(path) for path in sorted(arguments.data.rglob("*.flac"))[:: arguments.every]]
    signals = [clip for clip in clips if clip is not None]
    baselines = [measure_baseline(name, signal, options) for name, options in BASELINES.items() for signal in signals]
    clock = time.perf_counter()
    mine = [row for quality in QUALITIES for row in measure(signals, quality)]
    seconds = (time.perf_counter() - clock) / len(QUALITIES)
    rows = mine + baselines
    write_csv("speech.csv", rows)
    table = []
    for name in dict.fromkeys(row["codec"] for row in rows):
        mine = [row for row in rows if row["codec"] == name]
        rate, psnr, snr = (float(np.mean([row[column] for row in mine])) for column in ("kbps", "psnr", "snr"))
        table.append({"codec": name, "kbit/s": f"{rate:.2f}", "PSNR dB": f"{psnr:.2f}", "SNR dB": f"{snr:.2f}"})
        if name.startswith("combiner"):
            for peer in ("COIN++", "RECOMBINER"):
                value = at_rate(published(arguments.published, peer, "librispeech_full_kbps"), rate)
                table.append(
                    {"codec": f"{peer} (test-clean)", "kbit/s": f"{rate:.2f}", "PSNR dB": text(value), "SNR dB": "–"}
                )
    write_table(
        "speech.md",
        "Speech",
        f"The first 3 s of {len(signals)} recordings at 16 kHz, whole files, means. PSNR on samples in [0, 1], peak 1, "
        "against the decoded file. Published rows: their points on another set (LibriSpeech test-clean), linear in the "
        f"logarithm of the rate. Encoding took {seconds / len(signals):.1f} s per clip in one batch on one core.",
        table,
    )


def first_seconds(path: Path) -> Signal | None:
    signal = media.read_signal(path)
    if signal.sample_rate != RATE or signal.points < FRAMES:
        return None
    return Signal("sound", signal.samples[:FRAMES, :1], RATE, signal.bit_depth)


def measure(signals: list[Signal], quality: int) -> list[dict[str, object]]:
    rows = []
    prior, rate = priors.choose("sound", signals[0].shape, quality)
    with tempfile.TemporaryDirectory() as folder:
        for number, result in enumerate(codec.encode_batch(signals, prior, codec.Settings(rate=rate))):
            coded, decoded = Path(folder) / f"{number}.cmb", Path(folder) / f"{number}.wav"
            coded.write_bytes(result.data)
            media.write_signal(codec.decode(coded.read_bytes(), priors.find_id), decoded)
            rows.append(
                row(f"combiner -q {quality}", signals[number], coded.stat().st_size, media.read_signal(decoded))
            )
    return rows


def measure_baseline(name: str, signal: Signal, options: dict[str, object]) -> dict[str, object]:
    buffer = BytesIO()
    soundfile.write(buffer, signal.samples, RATE, **options)
    size = len(buffer.getvalue())
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32", always_2d=True)
    best = align(signal.samples[:, 0], decoded[:, 0])
    return row(name, signal, size, Signal("sound", best[:, None].astype(np.float32), RATE, 16))


def align(original: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Undo a codec's delay: the shift of at most 3,000 samples with the highest correlation."""
    padded = np.concatenate([np.zeros(3000, np.float32), decoded, np.zeros(len(original) + 3000, np.float32)])
    padded = padded[: len(original) + 6000]
    size = 1 << (len(padded) + len(original)).bit_length()
    spectrum = np.fft.rfft(padded, size) * np.conj(np.fft.rfft(original, size))
    shift = int(np.argmax(np.fft.irfft(spectrum, size)[:6001]))
    return padded[shift : shift + len(original)]


def row(codec_name: str, signal: Signal, size: int, decoded: Signal) -> dict[str, object]:
    return {
        "codec": codec_name,
        "bytes": size,
        "kbps": round(metrics.kilobits_per_second(size, FRAMES, RATE), 4),
        "psnr": round(metrics.psnr(signal, decoded), 4),
        "snr": round(metrics.signal_to_noise(signal, decoded), 4),
    }


if __name__ == "__main__":
    main()
