"""The library: its names, its example, and what it refuses."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.signals import smooth_image, tone

import combiner_cli
from combiner_cli import api
from combiner_cli.signals import metrics

ROOT = Path(__file__).parent.parent


def test_the_names_are_those_of_the_library():
    assert sorted([*api.__all__, "__version__"]) == sorted(combiner_cli.__all__) == dir(combiner_cli)
    for name in api.__all__:
        assert getattr(combiner_cli, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="no attribute"):
        combiner_cli.nothing  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, combiner_cli; print(sorted({'numpy', 'torch', 'PIL', 'click', 'msgpack'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    """Those of the README have a test of their own."""
    code = "\n".join(line[4:] for line in api.__doc__.splitlines() if line.startswith("    "))
    monkeypatch.chdir(tmp_path)
    combiner_cli.write(smooth_image(40, 33), "photo.png")
    combiner_cli.write(tone(1600), "talk.wav")
    (tmp_path / "photographs").mkdir()
    for number in range(12):
        combiner_cli.write(smooth_image(32, 32, seed=number), f"photographs/{number}.png")
    ast.parse(code)
    code = code.replace("steps=2000", "steps=2, crops=2")  # or else it takes half an hour
    exec(compile(code, "example", "exec"), {})
    assert capsys.readouterr().out


def test_there_and_back(tmp_path):
    signal = smooth_image(21, 34)
    encoded = combiner_cli.encode(signal, size=150, effort=1)
    assert len(encoded.data) == 150
    decoded = combiner_cli.decode(encoded.data)
    assert (decoded.samples == encoded.decoded.samples).all()
    assert combiner_cli.psnr(signal, decoded) == metrics.psnr(signal, decoded) > 15
    assert combiner_cli.decode(encoded.data, scale=2).shape == (42, 68)
    assert combiner_cli.decode(encoded.data, size=(10, 20)).shape == (10, 20)
    found = combiner_cli.inspect(encoded.data)
    assert (found.format.shape, found.bytes) == ((21, 34), 150)
    combiner_cli.write(decoded, tmp_path / "x.png")
    assert (combiner_cli.read(tmp_path / "x.png").samples == decoded.samples).all()
    with pytest.raises(combiner_cli.CombinerError, match="exists"):
        combiner_cli.write(decoded, tmp_path / "x.png")
    combiner_cli.write(decoded, tmp_path / "x.png", overwrite=True)


def test_priors_by_name_and_as_objects():
    prior = combiner_cli.find_prior("speech-5")
    signal = tone(900)
    named, given = (combiner_cli.encode(signal, quality=2, prior=one) for one in ("speech-5", prior))
    assert named.data == given.data
    assert (combiner_cli.decode(given.data, prior=prior).samples == named.decoded.samples).all()
    assert "speech-5" in {entry.name for entry in combiner_cli.list_priors()}
    assert np.isfinite(combiner_cli.signal_to_noise(signal, named.decoded))


@pytest.mark.parametrize(
    "request_", [{"quality": 11}, {"effort": 0}, {"quality": 3, "size": 99}, {"kilobits_per_second": 3.0}]
)
def test_requests_that_make_no_sense(request_):
    with pytest.raises(combiner_cli.CombinerError):
        combiner_cli.encode(smooth_image(8, 8), **request_)


def test_a_prior_is_learned_and_used(tmp_path):
    for number in range(12):
        combiner_cli.write(smooth_image(32, 32, seed=number), tmp_path / f"{number}.png")
    learned = combiner_cli.learn(tmp_path, name="mine", steps=2, crops=2, held_out=20)
    assert (learned.prior.name, learned.prior.family.name, learned.prior.kind) == ("mine", "pyramid", "image")
    encoded = combiner_cli.encode(smooth_image(40, 40), quality=2, prior=learned.prior)
    assert encoded.decoded.shape == (40, 40)
    assert learned.card("command", "no time").startswith("# mine\n")
    with pytest.raises(combiner_cli.CombinerError, match="--hop does not go with --family pyramid"):
        combiner_cli.learn(tmp_path, hop=(64,))
    with pytest.raises(combiner_cli.CombinerError, match="there is no family oracle"):
        combiner_cli.learn(tmp_path, family="oracle")
