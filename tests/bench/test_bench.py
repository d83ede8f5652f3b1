"""The command bench: sweeps that go on where they were, tables, curves and a report, and the numbers behind them."""

import csv
import importlib.util
import json
import math
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.signals import smooth_image, tone

from combiner_cli import __version__
from combiner_cli.bench import curves, measures, sweep, tables, tasks
from combiner_cli.bench.codecs import baselines, images
from combiner_cli.bench.report import page, plots, summary
from combiner_cli.cli.main import main
from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.errors import InputError, OutputError
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

NASTY = '<img src=x onerror="alert(1)"> & co.png'
RATES = ("--rates", "0.45,0.6,0.8,1")


def run(*arguments):
    """Run a command in this process; an unexpected exception fails the test with its traceback."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def bench(*arguments, exit_code=0):
    done = run("bench", *arguments)
    assert done.exit_code == exit_code, done.output
    return done


def facts(*arguments, exit_code=0):
    return json.loads(bench(*arguments, "--json", exit_code=exit_code).stdout)


def refused(done, exit_code, message):
    assert done.exit_code == exit_code, done.output
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def rows_in(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


OPTIONS = ("pictures", "--prior", "photo-8", *RATES, "--efforts", 1, "--baselines", "jpeg", "-o", "out")


def make_pictures(folder):
    """A folder of two images, one of them with a name that needs care."""
    (folder / "pictures" / "more").mkdir(parents=True)
    media.write_signal(smooth_image(24, 24), folder / "pictures" / "a.png")
    media.write_signal(smooth_image(28, 20, seed=1), folder / "pictures" / "more" / NASTY)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Two images in the current folder, and options for a quick sweep."""
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path)
    return OPTIONS


@pytest.fixture(scope="module")
def first_sweep(tmp_path_factory):
    """The folder of such a sweep, and what it said."""
    folder = tmp_path_factory.mktemp("first")
    make_pictures(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / "out", bench(*OPTIONS).stdout


@pytest.fixture
def swept(pictures, tmp_path, first_sweep):
    """The options, once the sweep was made."""
    shutil.copytree(first_sweep[0], tmp_path / "out")
    return pictures


# The whole


def test_every_row_is_a_file_that_decodes_to_what_was_measured(swept, tmp_path, first_sweep):
    assert "out/report.html: 2 images, 34 rows measured, 0 known before" in first_sweep[1]
    rows = rows_in(tmp_path / "out")
    # four rates, and every other setting of the two ways of JPEG
    assert len(rows) == 2 * (4 + 7 + 6)
    prior = library.find("photo-8")
    coded = {path.stat().st_size: path for path in (tmp_path / "out" / "files").glob("*.cmb")}
    by_combiner = [row for row in rows if row["codec"] == "combiner -e 1"]
    assert {row["setting"] for row in by_combiner} == {"bpp=0.45", "bpp=0.6", "bpp=0.8", "bpp=1"}
    for row in by_combiner:
        original = media.read_signal(tmp_path / "pictures" / row["file"])
        data = coded[int(row["bytes"])].read_bytes()
        decoded = pipeline.decode(File.parse(data), lambda _: prior)
        assert float(row["bpp"]) == pytest.approx(8 * len(data) / original.points, abs=1e-6)
        assert float(row["psnr"]) == pytest.approx(metrics.psnr(original, decoded), abs=1e-5)
        assert float(row["bpp"]) <= float(row["setting"].removeprefix("bpp="))
        assert row["ms_ssim"] == ""  # the images are too small for it
        assert (row["program"], row["prior"]) == (f"combiner {__version__}", "photo-8")
        assert row["prior_id"] == f"{prior.id:08x}"
        assert float(row["encoding_time"]) > 0 < float(row["decoding_time"])
    for row in rows:
        if row["codec"] == "JPEG 4:4:4":
            options = {"format": "JPEG", "optimize": True, "subsampling": "4:4:4"}
            options["quality"] = int(row["setting"].split("quality=")[1])
            original = media.read_signal(tmp_path / "pictures" / row["file"])
            again = images.code(original, options)
            assert len(again.data) == int(row["bytes"])
            assert metrics.psnr(original, again.decoded) == pytest.approx(float(row["psnr"]), abs=1e-5)


def test_curves_have_the_shape_of_compressai(swept, tmp_path):
    assert {path.name for path in (tmp_path / "out" / "curves").iterdir()} == {
        "combiner-e-1.json",
        "jpeg-420.json",
        "jpeg-444.json",
    }
    content = json.loads((tmp_path / "out" / "curves" / "combiner-e-1.json").read_text())
    assert set(content) == {"name", "description", "results"}
    assert content["name"] == "combiner -e 1"
    assert content["description"] == f"combiner {__version__}, effort 1"
    assert set(content["results"]) == {"bpp", "psnr-rgb", "encoding_time", "decoding_time"}
    rows = [row for row in rows_in(tmp_path / "out") if row["codec"] == "combiner -e 1"]
    for number, rate in enumerate(("0.45", "0.6", "0.8", "1")):
        at_rate = [row for row in rows if row["setting"] == f"bpp={rate}"]
        psnr, bpp = (np.mean([float(row[column]) for row in at_rate]) for column in ("psnr", "bpp"))
        assert content["results"]["psnr-rgb"][number] == pytest.approx(psnr)
        assert content["results"]["bpp"][number] == pytest.approx(bpp)
    (again,) = curves.published(tmp_path / "out" / "curves" / "combiner-e-1.json", "any").values()
    assert again == list(zip(content["results"]["bpp"], content["results"]["psnr-rgb"], strict=True))


def test_bd_rates_are_written_and_shown(swept, tmp_path, first_sweep):
    ((row,), text) = (tables.read_csv(tmp_path / "out" / "bd_rate.csv"), (tmp_path / "out" / "bd_rate.md").read_text())
    assert (row["codec"], row["beside"]) == ("combiner -e 1", "JPEG")
    results = [json.loads(path.read_text())["results"] for path in sorted((tmp_path / "out" / "curves").iterdir())]
    points = [list(zip(curve["bpp"], curve["psnr-rgb"], strict=True)) for curve in results]
    expected = curves.bd_rate(curves.better(points[1:]), points[0]).percent
    assert float(row["bd_rate_psnr"]) == pytest.approx(expected, abs=0.006)
    assert f"| combiner -e 1 | JPEG | {tables.signed(expected)} |" in text
    assert tables.signed(expected) in first_sweep[1]


def test_names_of_files_are_escaped_in_the_report(swept, tmp_path):
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<img src=x" not in text
    assert "more/&lt;img src=x onerror=&#34;alert(1)&#34;&gt; &amp; co.png" in text


def test_what_is_there_is_not_measured_again(swept, tmp_path):
    before = rows_in(tmp_path / "out")
    (tmp_path / "pictures" / "a.png").rename(tmp_path / "pictures" / "renamed.png")  # the content counts
    again = facts(*swept)
    assert (again["measured"], again["rows"]) == (0, 34)
    assert rows_in(tmp_path / "out") == before
    more = facts(*swept[:3], "--rates", "0.6,1,1.2", *swept[5:])
    assert (more["measured"], more["rows"]) == (2, 32)
    assert len(rows_in(tmp_path / "out")) == 36  # the other rates stay


def test_a_figure_without_its_file_is_measured_again(swept, tmp_path):
    gone, cut, *_ = (tmp_path / "out" / "files").glob("*.cmb")
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    assert facts(*swept)["measured"] == 2


def test_another_version_of_the_program_is_measured_again(swept, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "__version__", "99")
    assert facts(*swept)["measured"] == 8
    assert {row["program"] for row in rows_in(tmp_path / "out")} >= {f"combiner {__version__}", "combiner 99"}


def test_interrupted_it_goes_on_where_it_was(pictures, tmp_path, monkeypatch):
    measure, calls = sweep._measure, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(sweep, "_measure", interrupted)
    done = run("bench", *pictures)
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert len(rows_in(tmp_path / "out")) == 5
    monkeypatch.setattr(sweep, "_measure", measure)
    assert facts(*pictures)["measured"] == 29


def test_jobs_measure_the_same(swept, tmp_path):
    assert facts(*swept[:-1], "two", "--jobs", 2)["measured"] == 34
    times = ("encoding_time", "decoding_time", "jobs")
    one, two = (
        [{name: value for name, value in row.items() if name not in times} for row in rows_in(tmp_path / folder)]
        for folder in ("out", "two")
    )
    assert one == two
    assert {row["jobs"] for row in rows_in(tmp_path / "two")} == {"2"}


def test_a_process_that_dies_is_no_endless_wait(pictures, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    def broken(_futures):
        raise BrokenProcessPool
        yield

    monkeypatch.setattr(sweep, "as_completed", broken)
    refused(run("bench", *pictures, "--jobs", 2), 9, "fewer --jobs")


def test_efforts_are_curves_of_their_own(pictures, tmp_path):
    done = facts(*pictures, "--efforts", "1,5", "--baselines", "none")
    assert done["rows"] == 16
    assert [(row["codec"], row["beside"]) for row in done["bd_rates"]] == [("combiner", "combiner -e 1")]
    assert {path.name for path in (tmp_path / "out" / "curves").iterdir()} == {"combiner.json", "combiner-e-1.json"}


def test_a_sweep_of_speech(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).normal(0, 0.02, (12000, 1))
        samples = np.rint((tone(12000, seed=number).samples + noise).clip(-1, 0.99) * 32768) / 32768
        media.write_signal(
            Signal("sound", samples.astype(np.float32), 16000, 16), tmp_path / "speech" / f"{number}.wav"
        )
    more = ("--prior", "speech-5", "--qualities", "2,5,8", "--efforts", "1")
    done = bench("speech", *more, "--baselines", "opus, MP3")
    assert "ESTOI" in done.stdout
    assert "speech-bench/report.html: 2 sounds" in done.stdout
    rows = rows_in(tmp_path / "speech-bench")
    assert {row["codec"] for row in rows} == {"combiner -e 1", "Opus", "MP3 constant", "MP3 average", "MP3 variable"}
    assert all(float(row["snr"]) < float(row["psnr"]) and 0 < float(row["estoi"]) <= 1 for row in rows)
    results = json.loads((tmp_path / "speech-bench" / "curves" / "opus.json").read_text())["results"]
    assert set(results) == {"kbps", "psnr", "snr", "estoi", "encoding_time", "decoding_time"}
    text = (tmp_path / "speech-bench" / "report.html").read_text()
    assert text.count("<audio ") == text.count("data:audio/flac") == 2 * 2 * 4
    assert sorted({path.suffix for path in (tmp_path / "speech-bench" / "files").iterdir()}) == [
        ".cmb",
        ".mp3",
        ".opus",
    ]


def test_published_curves_stand_beside(swept, tmp_path):
    content = {
        "_meta": {},
        "JPEG": {"pictures": [[1, 20], [2, 30]]},
        "Peer": {"pictures": [[4, 50], [1, 20], [2, 30], [3, 40]]},
        "Far": {"else": [[1, 2]]},
    }
    (tmp_path / "published.json").write_text(json.dumps(content))
    done = facts(*swept, "--published", "published.json")
    assert [row["beside"] for row in done["bd_rates"]] == ["JPEG", "JPEG, published", "Peer"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert "curve published" in text
    named = facts(*swept, "--published", "published.json", "--published-name", "else", "--published-methods", "Far")
    assert [row["beside"] for row in named["bd_rates"]] == ["JPEG", "Far"]


def test_a_terminal_of_80_columns_holds_the_tables(first_sweep):
    assert max(map(len, first_sweep[1].splitlines()[:-1])) <= 80


# What goes wrong


def test_a_bad_file_does_not_stop_the_others(swept, tmp_path):
    (tmp_path / "pictures" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    clear = np.zeros((16, 16, 4), np.uint8)
    media.write_signal(Signal("image", clear), tmp_path / "pictures" / "clear.png")
    done = run("bench", *swept)
    assert done.exit_code == 1
    assert "combiner: broken.png: " in done.stderr
    assert "combiner: clear.png: more than 8 bits or transparency" in done.stderr
    assert len(rows_in(tmp_path / "out")) == 34
    assert "<b>clear.png</b>" in (tmp_path / "out" / "report.html").read_text()


def test_a_rate_that_a_file_cannot_have_is_no_point_of_a_curve(swept, tmp_path):
    done = facts(*swept[:3], "--rates", "0.05,1", *swept[5:], exit_code=1)
    assert [failure["what"].split(" by ")[1] for failure in done["failures"]] == ["combiner -e 1, bpp=0.05"] * 2
    results = json.loads((tmp_path / "out" / "curves" / "combiner-e-1.json").read_text())["results"]
    assert len(results["bpp"]) == 1
    assert "There are no BD-rates" in (tmp_path / "out" / "report.html").read_text()


def test_nothing_but_failures_is_still_told(pictures, tmp_path):
    command = (*pictures[:3], "--rates", "0.05", "--baselines", "none", "-o", "out")
    done = run("bench", *command)
    assert done.exit_code == 1
    assert "There is no other codec" in done.stdout
    assert "there is no curve" in (tmp_path / "out" / "report.html").read_text()


def test_a_codec_that_does_not_take_a_sound_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    media.write_signal(tone(9600, rate=96000), tmp_path / "high.wav")
    more = ("--prior", "speech-5", "--qualities", "5", "--efforts", 1)
    done = facts("high.wav", *more, "--baselines", "mp3,vorbis", exit_code=1)
    assert all(" by MP3 " in failure["what"] for failure in done["failures"])
    text = (tmp_path / "high-bench" / "report.html").read_text()
    assert "high.wav, Vorbis, " in text
    assert "high.wav, MP3, " not in text
    assert '<th scope="col">LSD dB</th>' in text


def test_results_inside_a_data_set_are_not_of_it(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "pictures")
    assert facts(".", *pictures[1:-2])["measured"] == 34
    assert (tmp_path / "pictures" / "pictures-bench" / "files").is_dir()
    assert facts(".", *pictures[1:-2])["rows"] == 34


def test_a_full_disk_stops_it(pictures, monkeypatch):
    def full(*_arguments):
        raise OutputError("no space left")

    monkeypatch.setattr(sweep, "_code_with_combiner", full)
    refused(run("bench", *pictures), 7, "no space left")


def test_deep_and_transparent_images_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = smooth_image(24, 24, channels=4, depth=16)
    media.write_signal(deep, tmp_path / "deep.png")
    command = ("deep.png", "--prior", "photo-8", "--rates", "1.5", "--efforts", 1)
    assert facts(*command, "--baselines", "none")["rows"] == 1
    (tmp_path / "deep-bench" / "results.csv").unlink()
    refused(run("bench", *command), 10, "more than 8 bits or transparency")


def test_examples_are_at_a_low_and_a_middle_rate(pictures, tmp_path):
    bench(*pictures, "--rates", "1,0.6,0.8,0.45,0.7")
    text = (tmp_path / "out" / "report.html").read_text()
    assert re.findall(r"<h3>a.png at (.*)</h3>", text) == ["0.45 bpp", "0.7 bpp"]


def test_copies_are_left_out(pictures, tmp_path):
    (tmp_path / "pictures" / "b.png").write_bytes((tmp_path / "pictures" / "a.png").read_bytes())
    done = bench(*pictures)
    assert "note: b.png has the same content as a.png" in done.stderr
    assert "2 images" in done.stdout


def test_a_limit_is_spread_over_the_data_set(pictures, tmp_path):
    for number in range(3, 8):
        media.write_signal(smooth_image(16, 16, seed=number), tmp_path / "pictures" / f"{number}.png")
    bench(*pictures, "--limit", 3, "--baselines", "none", "--rates", "1")
    assert [row["file"] for row in rows_in(tmp_path / "out")] == ["3.png", "6.png", f"more/{NASTY}"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--baselines", "jpeg,opus"), 2, "no codec of images called 'opus' runs here; known: jpeg"),
        (("--qualities", "5"), 2, "--rates and --qualities exclude each other"),
        (("--rates", "1,x"), 2, "positive numbers with commas"),
        (("--rates", "0"), 2, "positive numbers with commas"),
        (("--rates", "nan"), 2, "positive numbers with commas"),
        (("--efforts", "0"), 2, "numbers from 1 to 9"),
        (("--efforts", "1.5"), 2, "numbers from 1 to 9"),
        (("--published-methods", "X"), 2, "no published curve called 'X'"),
        (("--published", "no.json"), 3, "no.json does not exist"),
        (("--prior", "no"), 6, "no prior is called no"),
        (("-o", "pictures/a.png"), 7, "cannot be made"),
        (("no",), 3, "no does not exist"),
        (("empty",), 10, "holds no images and no sounds"),
        (("voice.wav",), 10, "are an image and a sound"),
    ],
)
def test_mistakes(pictures, tmp_path, arguments, exit_code, message):
    (tmp_path / "empty").mkdir()
    media.write_signal(tone(500), tmp_path / "voice.wav")
    refused(run("bench", *pictures, *arguments), exit_code, message)


def test_a_prior_for_sounds_is_refused_for_images(pictures):
    refused(run("bench", *pictures, "--prior", "speech-5"), 6, "is for sounds")


def test_results_of_something_else_are_left_alone(pictures, tmp_path):
    (tmp_path / "out").mkdir()
    for text, message in (("a,b\n1,2\n", "a table of something else"), ("a,b\n1\n", "is damaged")):
        (tmp_path / "out" / "results.csv").write_text(text)
        refused(run("bench", *pictures), 3, message)
        assert (tmp_path / "out" / "results.csv").read_text() == text


def test_missing_packages_are_named_with_their_extra(pictures, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pystoi" else there(name))
    refused(run("bench", *pictures), 2, "combiner bench needs pystoi; run pip install 'combiner[bench]'")


# Curves


def test_half_the_rate_is_a_bd_rate_of_minus_50():
    anchor = [(0.1 * 2**step, 20.0 + 3 * step + 0.1 * step**2) for step in range(6)]
    half = [(rate / 2, quality) for rate, quality in anchor]
    delta = curves.bd_rate(anchor, half)
    assert delta.percent == pytest.approx(-50, abs=1e-6)
    assert (delta.low, delta.high) == (20, 20 + 15 + 2.5)
    assert curves.bd_rate(half, anchor).percent == pytest.approx(100, abs=1e-6)


def test_a_bd_rate_is_the_mean_difference_in_the_logarithm_of_the_rate():
    """Both curves are straight in it; the factor between them goes from 1 to 4, of which 2 is the mean."""
    anchor = [(10 ** (step / 5), 20.0 + 2 * step) for step in range(6)]
    curve = [(10 ** (step / 5) * 4 ** (step / 5), 20.0 + 2 * step) for step in range(6)]
    assert curves.bd_rate(anchor, curve).percent == pytest.approx(100, abs=1e-6)


def test_too_little_in_common_is_no_bd_rate():
    anchor = [(1.0, 20.0), (2.0, 25.0), (3.0, 29.0), (4.0, 32.0)]
    assert curves.bd_rate(anchor, anchor).percent == pytest.approx(0, abs=1e-6)
    assert curves.bd_rate(anchor, anchor[:3]).percent is None
    higher = [(rate, quality + 6.5) for rate, quality in anchor]
    assert curves.bd_rate(anchor, higher).percent is None
    assert curves.bd_rate(anchor, higher, least_overlap=5.5).percent is not None
    # points that bring nothing do not count
    assert curves.bd_rate(anchor, [*anchor[:3], (5.0, 24.0)]).percent is None


def test_between_points_curves_are_straight_in_the_logarithm_of_the_rate():
    curve = [(4.0, 30.0), (1.0, 20.0)]
    assert curves.at_rate(curve, 2) == pytest.approx(25)
    assert curves.at_rate(curve, 0.995) == 20
    assert curves.at_rate(curve, 0.98) is None
    assert curves.at_rate(curve, 4.01) is None


def test_the_better_of_curves():
    assert curves.better([[(1, 5.0), (4, 6.0)], [(2, 9.0)], []]) == [(1, 5.0), (2, 9.0), (4, 9.0)]
    assert curves.better([[], []]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1, 2]", "holds no curves"),
        ('{"a": {"b": [[1, 2]]}}', "no curve on a data set called here"),
        ('{"a": {"here": [[1, "x"]]}}', "holds no curves"),
        ('{"a": {"here": [[0, 2]]}}', "holds no curves"),
        ('{"a": {"here": []}}', "holds no curves"),
        ('{"name": "a", "results": {"bpp": [1, 2], "psnr": [3]}}', "holds no curves"),
        ('{"name": "a", "results": {"bpp": [1, 2]}}', "holds no curves"),
        ('{"name": "a", "results": 3}', "holds no curves"),
    ],
)
def test_published_files_that_are_none(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=message):
        curves.published(tmp_path / "x.json", "here")


# Other codecs of images


@pytest.mark.parametrize("name", images.codecs())
@pytest.mark.parametrize("channels", [1, 3])
def test_codecs_of_images_keep_size_and_colours_and_their_settings_rise(name, channels):
    codec_ = images.codecs()[name]
    noise = np.random.default_rng(0).integers(0, 60, (64, 48, channels))
    original = Signal("image", np.clip(smooth_image(64, 48, channels).samples + noise - 30, 0, 255).astype(np.uint8))
    for ways in codec_.ways.values():
        small, large = (codec_.encode(original, options) for options in (ways[0], ways[-1]))
        assert len(small.data) < len(large.data)
        assert metrics.psnr(original, small.decoded) < metrics.psnr(original, large.decoded)
        assert np.array_equal(codec_.decode(large.data, original).samples, large.decoded.samples)
        assert large.decoded.samples.shape == original.samples.shape


def test_the_nearest_size_is_found():
    codec_ = images.codecs()["jpeg"]
    original = smooth_image(200, 220)
    sizes = [len(codec_.encode(original, options).data) for options in codec_.fine]
    wanted = 4000
    best = min(abs(math.log(size / wanted)) for size in sizes)
    assert abs(math.log(len(baselines.nearest(codec_, original, wanted).data) / wanted)) == pytest.approx(best)
    assert len(baselines.nearest(codec_, original, 1).data) == min(sizes)


# Measures


def test_ms_ssim_of_equal_and_of_small_images():
    image = smooth_image(170, 176)
    assert measures.multiscale_similarity(image, image) == pytest.approx(1)
    assert measures.multiscale_similarity(smooth_image(160, 300), smooth_image(160, 300)) is None
    noise = np.random.default_rng(0).integers(0, 40, image.samples.shape)
    noisy = Signal("image", np.clip(image.samples + noise, 0, 255).astype(np.uint8))
    assert 0.3 < (measures.multiscale_similarity(image, noisy) or 0) < 0.999


def test_silence_and_snippets_have_no_estoi():
    silent = Signal("sound", np.zeros((16000, 1), np.float32), 16000, 16)
    assert measures.intelligibility(silent, silent) is None
    assert measures.intelligibility(tone(800), tone(800)) is None


# Tables and plots


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text(), min_size=3), min_size=1))
def test_tables_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "table.csv"
    rows = [
        {name: text.replace("\r", "").encode("utf-8", "ignore").decode() for name, text in row.items()} for row in rows
    ]
    tables.write_csv(path, rows, "abc")
    assert tables.read_csv(path) == rows


@given(st.floats(0.01, 1000), st.floats(1.0, 1000), st.floats(1, 60), st.floats(0, 40))
def test_ticks_are_round_and_inside(low, factor, quality, more):
    curve = [(low, quality), (low * factor, quality + more)]
    plot = plots.plot("PSNR, dB", "bpp", {"combiner": curve}, ["combiner"], 2)
    assert plot is not None
    assert 2 <= len(plot.qualities) <= 9
    assert 3 <= len(plot.rates) <= 7
    assert len({tick.words for tick in plot.rates}) == len(plot.rates)
    assert len({tick.words for tick in plot.qualities}) == len(plot.qualities)
    assert all(plots.LEFT <= tick.place <= plots.WIDTH - plots.RIGHT for tick in plot.rates)
    assert all(plots.TOP <= tick.place <= plots.HEIGHT - plots.BOTTOM for tick in plot.qualities)
    places = [float(tick.words) for tick in plot.rates]
    assert places == sorted(places)


def test_points_are_where_their_numbers_say():
    curve = [(1.0, 10.0), (2.0, 20.0), (4.0, 30.0)]
    plot = plots.plot("PSNR, dB", "bpp", {"combiner": curve, "far": [(100.0, 5.0)]}, ["combiner"], 1)
    assert plot is not None
    first, middle, last = plot.lines[0].dots
    assert middle.x == pytest.approx((first.x + last.x) / 2, abs=0.11)
    assert middle.y == pytest.approx((first.y + last.y) / 2, abs=0.11)
    assert first.y > last.y
    assert middle.words == "combiner: 2 bpp, 20.0"
    assert plot.lines[1].dots == []
    assert plots.plot("PSNR, dB", "bpp", {}, [], 1) is None


def test_infinite_quality_is_no_point_and_no_number_of_json():
    rows = [
        {"codec": "combiner", "setting": f"bpp={rate}", "bpp": rate, "bytes": 9, "psnr": psnr, "ms_ssim": ""}
        | {"encoding_time": 1, "decoding_time": 2, "prior": "", "prior_id": ""}
        for rate, psnr in ((1, 30), (2, "inf"))
    ]
    whole = (measures.PSNR, measures.MS_SSIM)
    found = summary.summarise("image", rows, 1, whole, ["combiner"], [], {})
    assert found.curves(measures.PSNR) == {"combiner": [(1, 30)]}
    assert summary.compressai(found, "combiner", "")["results"]["psnr-rgb"] == [30, None]
    assert page.table_of_points(found, with_others=True).rows[1][3] == "inf"
