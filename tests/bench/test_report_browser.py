"""The report of a benchmark in a real browser without a screen: it draws, answers, fits, and asks for nothing."""

import html.parser
import io
import itertools
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.signals import smooth_image, tone

from combiner_cli.cli.main import main
from combiner_cli.media import files as media

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
QUIET += (
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
OF_ITSELF = re.compile(r"(^|\.)(google|googleapis|gvt1)\.com$")  # hosts that a browser asks for whatever it shows
NASTY = '<img src=x onerror="alert(1)">.png'
NARROW = 360

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; Debian's package is called chromium")


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Reports on images and on sounds."""
    folder = tmp_path_factory.mktemp("reports")
    for name in ("pictures", "speech"):
        (folder / name).mkdir()
    media.write_signal(smooth_image(24, 24), folder / "pictures" / "a.png")
    media.write_signal(smooth_image(28, 20, seed=1), folder / "pictures" / NASTY)
    media.write_signal(tone(12000), folder / "speech" / "0.wav")
    (folder / "published.json").write_text(json.dumps({"Peer": {"any": [[0.3, 15], [0.6, 20], [1.2, 25]]}}))
    published = ("--published", folder / "published.json", "--published-name", "any")
    for name, prior, *options in (
        ("pictures", "photo-8", "--rates", "0.45,0.6,0.8,1", "--baselines", "jpeg,webp", *published),
        ("speech", "speech-5", "--qualities", "2,5,8", "--baselines", "opus"),
    ):
        more = ("--prior", prior, "--efforts", 1, "-o", folder / f"{name}-out", *options)
        done = CliRunner().invoke(main, [str(word) for word in ("bench", folder / name, *more)])
        assert done.exit_code == 0, done.output
    return {name: folder / f"{name}-out" / "report.html" for name in ("pictures", "speech")}


def browse(page, folder, *options):
    """What the browser prints of a page, what its console says, and the hosts that it asks for."""
    log = folder / "net.json"
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    command += ["--enable-logging=stderr", *options, f"file://{page}"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    hosts = set(re.findall(r'"url":"[a-z]+://([^/":]+)', log.read_text()))
    return done.stdout.decode(), console, {host for host in hosts if not OF_ITSELF.search(host)}


def dom_of(page, folder):
    return browse(page, folder, "--virtual-time-budget=3000", "--dump-dom")


class Elements(html.parser.HTMLParser):
    """All elements of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def all(self, tag, name=None):
        return [
            own for kind, own in self.found if kind == tag and (name is None or name in own.get("class", "").split())
        ]


@pytest.mark.parametrize("name", ["pictures", "speech"])
def test_plots_and_crops_are_there_and_nothing_is_asked_for(reports, tmp_path, name):
    text = reports[name].read_text()
    assert "http:" not in text
    assert "https:" not in text
    dom, console, hosts = dom_of(reports[name], tmp_path)
    assert console == []
    assert hosts == set()
    page = Elements(dom)
    assert len(page.all("svg", "plot")) == (1 if name == "pictures" else 2)
    assert len(page.all("polyline", "combiner")) == len(page.all("svg", "plot"))
    assert len(page.all("polyline", "published")) == (1 if name == "pictures" else 0)
    assert len(page.all("circle", "dot")) > 4
    images = page.all("img")
    assert len(images) == (2 * 2 * 4 if name == "pictures" else 2 * 3)
    assert all(own["src"].startswith("data:image/png;base64,") and own["alt"] for own in images)
    assert len(page.all("audio")) == (0 if name == "pictures" else 2 * 3)
    assert all(own["src"].startswith("data:audio/flac;base64,") for own in page.all("audio"))
    assert not any(attribute.startswith("on") for _, own in page.found for attribute in own)
    headings = [int(tag[1]) for tag, _ in page.found if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert dom.count("Point at a curve") == 1 + len(page.all("svg", "plot"))  # in the script, and what it wrote


def test_a_page_with_an_error_and_a_request_is_found_out(tmp_path):
    (tmp_path / "bad.html").write_text("<img src='https://example.org/x.png'><script>missing()</script>")
    _, console, hosts = dom_of(tmp_path / "bad.html", tmp_path)
    assert any("missing is not defined" in line for line in console)
    assert hosts == {"example.org"}


PROBE = """
<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter((element) =>
    !element.closest(".scroll *, svg") && element.getBoundingClientRect().right > innerWidth + 0.5);
  const figure = document.querySelector(".plots figure"), dot = figure.querySelector(".combiner ~ .dot");
  const box = dot.getBoundingClientRect();
  const at = {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};
  figure.querySelector("svg").dispatchEvent(new PointerEvent("pointermove", at));
  const said = figure.querySelector("output").textContent;
  document.querySelector("#show0").click();
  const hidden = getComputedStyle(figure.querySelector(".s0")).display;
  const broken = [...document.images].filter((image) => !image.naturalWidth).length;
  const facts = {inner: innerWidth, scroll: document.documentElement.scrollWidth, said, hidden, broken};
  parent.postMessage(JSON.stringify({...facts, wide: wide.map((element) => element.outerHTML.slice(0, 80))}), "*");
});
</script>
"""
FRAME = """<!DOCTYPE html><meta charset="utf-8"><pre id="facts"></pre>
<script>addEventListener("message", (event) => document.querySelector("#facts").textContent = event.data);</script>
<iframe src="{}" width="{}" height="700" style="border: 0"></iframe>"""


@pytest.mark.parametrize("name", ["pictures", "speech"])
def test_a_narrow_screen_holds_it_and_it_answers(reports, tmp_path, name):
    (tmp_path / "report.html").write_text(reports[name].read_text().replace("</body>", f"{PROBE}</body>"))
    (tmp_path / "frame.html").write_text(FRAME.format("report.html", NARROW))
    dom, console, _ = dom_of(tmp_path / "frame.html", tmp_path)
    assert console == []
    facts = json.loads(html.unescape(re.search(r'<pre id="facts">(.*?)</pre>', dom, re.DOTALL)[1]))
    assert facts["inner"] == NARROW
    assert facts["scroll"] == NARROW
    assert facts["wide"] == []
    assert facts["broken"] == 0
    assert facts["said"].startswith("combiner -e 1: ")
    assert facts["hidden"] == "none"


def test_the_curve_of_combiner_can_be_seen(reports, tmp_path):
    target = tmp_path / "shot.png"
    browse(reports["pictures"], tmp_path, "--window-size=1000,900", f"--screenshot={target}")
    shot = np.asarray(Image.open(io.BytesIO(target.read_bytes())).convert("RGB")).astype(int)
    assert shot.shape == (900, 1000, 3)
    near = np.abs(shot - [0xC2, 0x25, 0x5C]).max(axis=-1) < 8
    rows, columns = np.nonzero(near)
    assert len(rows) > 300
    assert np.ptp(columns) > 200
