"""Nothing is rendered, and nothing allocated, beyond what the caller allows."""

import pytest
from support.plain_prior import PlainPrior
from support.signals import smooth_image, tone

from combiner_cli.codec import limits, pipeline
from combiner_cli.container.file import File, pack
from combiner_cli.errors import LimitError
from combiner_cli.family import View
from combiner_cli.signals.kinds import KINDS
from combiner_cli.signals.signal import Format

IMAGE = Format("image", (20, 30), 3, 8, None)
HOUR = Format("sound", (3600 * 8000,), 1, 16, 8000)


def test_the_usual_limit_is_that_of_the_kind():
    assert limits.most_points(IMAGE, None, None) == KINDS["image"].most_points == 2**26
    assert limits.most_points(HOUR, None, None) == KINDS["sound"].most_points == 2**28
    assert limits.most_points(IMAGE, 100, None) == 100
    assert limits.most_points(IMAGE, 100, 1.0) == 100  # an image lasts for no time


def test_seconds_are_counted_at_the_sounds_own_rate():
    with pytest.raises(LimitError, match="the sound lasts 3600 s, over the limit of 3599; raise --max-seconds if you"):
        limits.most_points(HOUR, None, 3599)
    assert limits.most_points(HOUR, 1000, 3600) == 3600 * 8000
    fast = Format("sound", (2**32 - 1,), 1, 16, 2**32 - 1)  # about a second, as it says
    assert limits.most_points(fast, 1000, 10) == 10 * 192_000


def test_what_a_file_declares_is_checked_before_its_prior_is_looked_for():
    data = pack(1, Format("image", (2**32 - 1, 2**32 - 1), 3, 8, None), (), {}, b"")

    def find_prior(_):
        raise AssertionError("it was looked for")

    words = "declares 4294967295x4294967295 samples, over the limit of 67108864; raise --max-pixels if you trust it"
    with pytest.raises(LimitError, match=words):
        pipeline.decode(File.parse(data), find_prior)
    sound = pack(1, HOUR, (), {}, b"")
    with pytest.raises(LimitError, match="raise --max-seconds if you trust it"):
        pipeline.decode(File.parse(sound), find_prior, View(scale=2), most_points=2 * 3600 * 8000 - 1)


@pytest.mark.parametrize("view", [View(scale=3), View(size=(60, 90)), View(size=(5, 90))])
def test_a_larger_view_counts(view):
    prior = PlainPrior()
    file = pipeline.encode(smooth_image(20, 30), prior).file
    assert pipeline.decode(file, lambda _: prior, view, most_points=60 * 90).shape == (view.size or (60, 90))
    with pytest.raises(LimitError):
        pipeline.decode(file, lambda _: prior, view, most_points=60 * 90 - 1)


def test_what_a_prior_renders_beyond_the_signal_counts():
    class Padded(PlainPrior):
        def points_rendered(self, signal_format, scale=1):
            return 2 * super().points_rendered(signal_format, scale)

    prior = Padded()
    file = pipeline.encode(smooth_image(20, 30), prior).file
    assert pipeline.decode(file, lambda _: prior, most_points=1200).shape == (20, 30)
    with pytest.raises(LimitError, match="declares 30x20 samples, over the limit of 1199"):
        pipeline.decode(file, lambda _: prior, most_points=1199)


def test_signals_beyond_the_limit_are_not_encoded():
    class Padded(PlainPrior):
        def points_rendered(self, signal_format, scale=1):
            return 2**28 + 1

    with pytest.raises(LimitError, match="the sound takes 268435457 points, over the limit of 268435456; cut it into"):
        pipeline.encode(tone(10), Padded(kind="sound"))
