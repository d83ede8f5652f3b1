"""How many points may be rendered: of a file, which may declare any number, and of what is encoded."""

from __future__ import annotations

import math

from ..errors import LimitError
from ..family import Prior, View
from ..signals.kinds import KINDS
from ..signals.signal import Format

_HIGHEST_RATE = 192_000  # Hz at which the seconds that a caller allows are counted; files may declare any


def most_points(signal_format: Format, most_pixels: int | None, most_seconds: float | None) -> int:
    """Points that may be rendered of a file, as the caller has it.

    Args:
        signal_format: that the file declares.
        most_pixels: or sample instants; ``None`` stands for the usual limit of the kind of signal.
        most_seconds: that a sound may last; as many sample instants are allowed as they have at the sound's rate, up
            to 192 kHz, if that is more than the usual limit.

    Raises:
        LimitError: the sound lasts longer.
    """
    usual = most_pixels or KINDS[signal_format.kind].most_points
    if signal_format.sample_rate is None or most_seconds is None:
        return usual
    seconds = signal_format.points / signal_format.sample_rate
    if seconds > most_seconds:
        raise LimitError(
            f"the sound lasts {seconds:.6g} s, over the limit of {most_seconds:g}; raise --max-seconds if you trust it"
        )
    return max(usual, math.ceil(most_seconds * min(signal_format.sample_rate, _HIGHEST_RATE)))


def check_declared(signal_format: Format, view: View, limit: int) -> None:
    """Refuse a file that declares more points than may be rendered, before its prior is looked for.

    Args:
        signal_format: that the file declares.
        view: how it is to be looked at.
        limit: points that may be rendered.

    Raises:
        LimitError: it declares more.
    """
    _check(signal_format.points * view.scale ** len(signal_format.shape), signal_format, limit)


def check_rendered(signal_format: Format, view: View, prior: Prior, limit: int) -> None:
    """Refuse a file that takes more points to render than may be; a prior may render more than there are.

    Args:
        signal_format: that the file declares.
        view: how it is to be looked at.
        prior: of the file.
        limit: points that may be rendered.

    Raises:
        LimitError: it takes more.
    """
    _check(prior.points_rendered(signal_format, view.scale), signal_format, limit)


def check_encoded(signal_format: Format, prior: Prior) -> None:
    """Refuse a signal whose file no decoder would render without being asked to.

    Args:
        signal_format: of the signal.
        prior: that it is to be encoded with.

    Raises:
        LimitError: it takes too many points.
    """
    points, most = prior.points_rendered(signal_format), KINDS[signal_format.kind].most_points
    if points > most:
        raise LimitError(f"the {signal_format.kind} takes {points} points, over the limit of {most}; cut it into parts")


def _check(points: int, signal_format: Format, limit: int) -> None:
    if points > limit:
        size = "x".join(str(length) for length in reversed(signal_format.shape))  # width first, as people say it
        raise LimitError(
            f"the file declares {size} samples, over the limit of {limit}; "
            f"raise {KINDS[signal_format.kind].limit_option} if you trust it"
        )
