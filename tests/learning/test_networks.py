"""Training by gradient steps, with a network whose first biases are to reach a value, and measured by another one."""

import numpy as np
import pytest
import torch

from combiner_cli.errors import UsageError
from combiner_cli.learning import gradients, networks
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.distributed import CPU
from combiner_cli.learning.networks import GradientTraining, MomentNetwork, NetworkShape
from combiner_cli.learning.trainer import TrainingPlan, best_measurement, train
from combiner_cli.stages import integer_network

TARGET, HELD_OUT_TARGET = 1.0, 0.3


class Toy(GradientTraining):
    """Four signals a step, each of which says where the biases should go, with a little noise."""

    def __init__(self, plan):
        shape = NetworkShape(2, 1, 1, 1, (4, 4), (0.0,))
        network = MomentNetwork(shape, torch.Generator().manual_seed(1))
        of_kind = torch.nn.ModuleDict({"only": network})
        super().__init__(torch.nn.ModuleDict({"0": of_kind}), plan, [], CPU, None)
        self.biases = network.first_bias

    def draw(self, generator):
        return TARGET + generator.normal(0, 0.01, 4), np.zeros(4, dtype=np.int64)

    draw_held_out = draw

    def cost(self, signals, noise_levels, generator):
        if torch.is_grad_enabled():
            cost = ((self.biases - torch.from_numpy(signals).float().mean()) ** 2).mean()
            cost.backward()
        else:
            cost = ((self.biases - HELD_OUT_TARGET) ** 2).mean()
        return float(cost.detach())

    def prior(self, tensors):
        raise NotImplementedError  # nothing is finished here

    simulated = prior


def plan(steps=20, shards=1, patience=None):
    return TrainingPlan(steps, 1, "toy", shards, patience)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(gradients, "MEASURED_STEPS", 5)
    monkeypatch.setattr(networks, "_WARM_UP", 1)
    monkeypatch.setattr(networks, "_LEARNING_RATE", 0.02)


@pytest.mark.usefixtures("quick")
def test_the_networks_of_the_best_measurement_are_kept(tmp_path):
    """The cost of what is held out falls, and rises again when the networks have gone past its own optimum."""
    settings, checkpoint = plan(400, patience=3), CheckpointFile(tmp_path / "x", 3600.0)
    toy = Toy(settings)
    measurements = train(toy, settings, None, checkpoint)
    best = best_measurement(measurements)
    assert measurements[-1].number == best.number + 15 < 400
    kept = toy.state().tensors["best.0.only.first_bias"]
    assert np.abs(kept - HELD_OUT_TARGET).max() < np.abs(toy.biases.detach().numpy() - HELD_OUT_TARGET).max()
    assert float(((kept - HELD_OUT_TARGET) ** 2).mean()) == pytest.approx(best.held_out, rel=1e-5)
    again = Toy(settings)
    train(again, settings, None, checkpoint)
    assert np.array_equal(again.state().tensors["best.0.only.first_bias"], kept)
    # without patience: all steps, and the last state
    patient = Toy(plan(400))
    assert train(patient, plan(400))[-1].number == 400
    assert patient.biases.detach().numpy() == pytest.approx(TARGET, abs=0.05)
    assert not any(name.startswith("best") for name in patient.state().tensors)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("done", [1, 5, 7])
def test_a_state_is_all_that_goes_on(done):
    whole, half, resumed = Toy(plan()), Toy(plan()), Toy(plan())
    for number in range(20):
        whole.step(number)
    for number in range(done):
        half.step(number)
    resumed.restore(half.state())
    for number in range(done, 20):
        resumed.step(number)
    states = whole.state(), resumed.state()
    assert states[0].facts == states[1].facts
    assert states[0].tensors.keys() == states[1].tensors.keys()
    assert all(np.array_equal(states[0].tensors[name], states[1].tensors[name]) for name in states[0].tensors)


def test_the_parts_of_a_step_have_the_gradients_of_the_whole():
    reached = []
    for shards in (1, 2, 4):
        toy = Toy(plan(shards=shards))
        train(toy, plan(shards=shards))
        reached.append(toy.biases.detach().numpy())
    assert reached[1] == pytest.approx(reached[0], rel=1e-4)
    assert reached[2] == pytest.approx(reached[0], rel=1e-4)
    with pytest.raises(UsageError, match="4 signals of a step cannot be cut into 3 equal shards"):
        train(Toy(plan(shards=3)), plan(shards=3))


def test_the_learning_rate_rises_shortly_and_falls():
    rates = [networks.relative_rate(number, 1000) for number in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    top = int(np.argmax(rates))
    assert top < 100
    assert all(later < earlier for earlier, later in zip(rates[top:], rates[top + 1 :], strict=False))
    assert 0.02 < rates[-1] < 0.021


def test_networks_in_whole_numbers_can_be_learned_on():
    toy = Toy(plan())
    for parameter in toy.networks.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(2))
    stored = networks.quantised(toy.networks)
    assert set(stored) == {f"0.only.{part}" for part in integer_network.TENSORS}
    other = Toy(plan())
    networks.load_networks(other.networks, stored, "it")
    again = networks.quantised(other.networks)
    assert all(np.array_equal(again[name], tensor) for name, tensor in stored.items())
    wrong = stored | {"0.only.first": stored["0.only.first"][:, :1]}
    for tensors in (wrong, {"1.only.first": stored["0.only.first"]}):
        with pytest.raises(UsageError, match="the networks of it have other sizes"):
            networks.load_networks(other.networks, tensors, "it")


def test_the_evidence_is_least_at_the_deviation_of_what_is_beyond_the_noise():
    """The fixed point of the closed-form update: the data variance less that of the noise, which is 1."""
    generator = torch.Generator().manual_seed(3)
    deviation = 3.0
    residual = torch.randn(200_000, generator=generator) * (deviation**2 + 1) ** 0.5
    octaves = np.log2(deviation) + np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    costs = [float(networks.evidence(residual, torch.full_like(residual, octave)).mean()) for octave in octaves]
    assert int(np.argmin(costs)) == 2


def test_what_is_sampled_is_of_the_posterior():
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(100_000, generator=generator)
    residual, octaves = torch.full_like(noise, 2.0), torch.full_like(noise, 1.0)
    sample = networks.sampled(residual, octaves, noise)
    assert float(sample.mean()) == pytest.approx(2 * 4 / 5, abs=0.01)
    assert float(sample.var()) == pytest.approx(4 / 5, abs=0.01)
    narrow = networks.sampled(residual, torch.full_like(noise, -40.0), noise)
    assert not narrow.any()
    assert float(networks.sampled(residual * 100, octaves, noise * 0, most=8.0)[0]) == 16.0
