"""What a learning takes: sums of operations, corrected by what was timed, and in words."""

import pytest

from combiner_cli.learning import estimate
from combiner_cli.learning.estimate import Pace, ResourceEstimate

ESTIMATE = ResourceEstimate(
    1000, 1e9, steps=100, step_operations=2e9, last_operations=6e9, first_operations=4e9, speed=1e9
)


def test_time_is_of_what_is_left():
    assert ESTIMATE.seconds() == 4 + 100 * 2 + 6
    assert ESTIMATE.seconds(40) == 60 * 2 + 6
    assert ESTIMATE.seconds(100) == 6


def test_a_timed_step_corrects_everything():
    slower = ESTIMATE.at_pace(5.0)
    assert slower.seconds(40) == pytest.approx(60 * 5 + 15)
    assert slower.memory == ESTIMATE.memory


def test_the_pace_counts_from_the_first_step_after_a_resumption(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(estimate.time, "monotonic", lambda: now[0])
    pace = Pace(ESTIMATE, 40)
    assert pace.seconds_per_step() is None
    assert pace.seconds_left() == ESTIMATE.seconds(40)
    now[0] += 60  # the first step takes long
    pace.went_on(41)
    assert pace.seconds_left() == ESTIMATE.seconds(41)
    for done in range(42, 52):
        assert not pace.known()
        now[0] += 4
        pace.went_on(done)
    assert pace.seconds_per_step() == 4
    assert pace.seconds_left() == (100 - 51) * 4 + 12
    assert pace.known()


def test_words_are_no_more_exact_than_they_deserve():
    times = [estimate.about_time(seconds) for seconds in (2, 61, 300, 7200, 86400 * 3)]
    assert times == ["5 s", "60 s", "5 min", "2.0 h", "3.0 days"]
    sizes = [estimate.size_text(size) for size in (10, 25_600, 2_340_000, 5_100_000_000)]
    assert sizes == ["1 kB", "26 kB", "2.3 MB", "5.1 GB"]
    assert estimate.about_size(397e6) == "400 MB"


def test_the_memory_of_this_process_is_counted_in_bytes():
    before = estimate.memory_used()
    assert 2e7 < before < 1e11
    block = bytearray(int(1.4 * before))  # more than the most that was held, even if all of that was given back
    block[::4096] = b"1" * len(block[::4096])
    assert estimate.memory_used() > 1.3 * before
