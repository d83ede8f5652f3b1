"""What is told of a learning: lines, curves in characters and as a picture, and cards."""

import itertools
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from support.priors import tiny_siren

from combiner_cli.learning import report
from combiner_cli.learning.report import CardText, Curves, Measurement, OperatingPoint, ReportStyle

STYLE = ReportStyle("cost", "bits per pixel", "Cost of a picture", details={"rate": ".2f", "changed": ".0%"})


def curves(values, held_out):
    return Curves("cost, bits", "step", tuple(range(100, 100 * len(values) + 1, 100)), tuple(values), tuple(held_out))


def test_a_measurement_is_a_line():
    whole = Measurement(200, 1.5, 1.625, {"rate": 0.5, "changed": 0.25})
    expected = "step 200/6000, cost 1.5000 bits per pixel, held out 1.6250, rate 0.50, changed 25%"
    assert STYLE.line(whole, 6000) == expected
    bare = replace(STYLE, step="round", details={})
    assert bare.line(Measurement(2, 1.5), 6) == "round 2/6, cost 1.5000 bits per pixel"


def test_curves_are_of_measurements():
    measurements = [Measurement(100, 2.0, 2.5), Measurement(200, 1.0, None)]
    made = report.curves_of(STYLE, measurements)
    assert made == Curves("cost, bits per pixel", "step", (100, 200), (2.0, 1.0), (2.5, None))
    assert made.best() == (100, 2.5)


def test_curves_are_drawn_from_the_top_left_to_the_bottom_right():
    falling = [8.0 - 0.5 * number for number in range(12)]
    lines = report.drawn(curves(falling, [None] * 12), 60, 8)
    assert len(lines) == 10
    assert max(map(len, lines)) <= 60
    thin, thick = report.marks(True)
    places = [[column for column, mark in enumerate(line) if mark in thin] for line in lines[:8]]
    assert all(places)
    assert all(min(lower) > min(upper) for upper, lower in itertools.pairwise(places))
    assert lines[0].split()[0] == "8"
    assert lines[7].split()[0] == "2.5"
    assert lines[-1].endswith("step 1,200")
    assert not any(mark in "".join(lines) for mark in thick)
    both = report.drawn(curves(falling, [9.0] * 12), 60, 8)
    columns = 60 - report.FRONT
    measured = [column for column in range(columns) if 1200 * (column + 1) / columns >= 100]
    assert [column - report.FRONT for column, mark in enumerate(both[0]) if mark in thick] == measured
    assert "".join(report.drawn(curves(falling, [9.0] * 12), 60, 8, unicode=False)).isascii()


@pytest.mark.parametrize(
    ("values", "held_out"), [([], []), ([1.0], [None]), ([2.0, 2.0], [2.0, 2.0]), ([float("nan"), 1.0], [None, 1.0])]
)
def test_few_values_are_drawn_too(values, held_out):
    assert len(report.drawn(curves(values, held_out), 40, 4)) == (6 if values else 0)


def test_the_best_value_is_the_first_of_the_lowest_or_highest():
    assert curves([3, 3, 3, 3], [2.0, 1.0, 1.0, float("nan")]).best() == (200, 1.0)
    assert replace(curves([3, 3, 3], [2.0, 3.0, 1.0]), least_is_best=False).best() == (200, 3.0)
    assert curves([3], [None]).best() is None


def test_a_picture_has_both_curves_and_is_the_same_every_time():
    pictures = [report.svg(curves([3.0, 2.0], [4.0, 2.5]), "my own") for _ in range(2)]
    assert pictures[0] == pictures[1]
    text = "".join(ElementTree.fromstring(pictures[0]).itertext())
    for words in ("my own", "training", "held out", "cost, bits", "best, 2.5"):
        assert words in text


def card(text, measurements, points):
    return report.card(tiny_siren(), text, STYLE, measurements, points, "combiner x", "5 s", "PLOT")


def test_a_card_says_what_was_learned_from_what_and_how():
    text = CardText("siren", "photographs, 1,000 images", "Networks of some size", "6 steps", "bits per pixel")
    points = [OperatingPoint(4, 0.25, 30.125), OperatingPoint(12, 0.5, 33.0)]
    details = {"rate": 0.5, "changed": 0.25}
    measurements = [Measurement(100 * number, 2.0 / number, 3.0 / number, details) for number in range(1, 101)]
    made = card(text, measurements, points)
    assert made.startswith(f"# tiny\n\nA prior of the `siren` family for images, id `{tiny_siren().id:08x}`, ")
    for line in (
        "- Data: photographs, 1,000 images.",
        "- Command: `combiner x`",
        "- Networks of some size.",
        "- Learned with 6 steps; 5 s.",
        "| noise level | rate | PSNR |",
        "| 4 | 0.2500 | 30.12 |",
        "Cost of a picture:",
        "PLOT",
        "| step | training cost | held-out cost | rate | changed |",
        "| 10000 | 0.0200 | 0.0300 | 0.50 | 25% |",
    ):
        assert line in made.splitlines()
    assert max(len(line) for line in made.splitlines()) <= 110
    rows = [line for line in made.splitlines() if line.endswith("25% |")]
    assert len(rows) == 20


def test_a_card_leaves_out_what_there_is_not():
    text = CardText("lapped", "sounds", "Frames", "6 steps", "bits per sample", 16_000)
    made = card(text, [Measurement(1, 2.0, None, {"rate": 1.0, "changed": 0.0})], [])
    assert "PSNR" not in made
    assert "| step | training cost | rate | changed |" in made
    made = card(text, [Measurement(1, 2.0, None, {"rate": 1.0, "changed": 0.0})], [OperatingPoint(8, 0.5, 40.0)])
    assert "| 8 | 0.5000 | 8.00 | 40.00 |" in made


def test_the_ranges_of_a_prior_are_the_ends_of_what_was_measured():
    points = [OperatingPoint(4, 0.25, 30.0), OperatingPoint(12, 0.5, 33.0), OperatingPoint(20, 1.0, 40.0)]
    ranges = report.ranges_of(points)
    assert ranges["noise_codes"] == (4, 20)
    assert ranges["rates"] == (0.25, 1.0)
    assert ranges["errors"] == pytest.approx((4e-3, 4e-4))
