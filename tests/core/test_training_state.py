"""What passes from one trainer to the next: copies, and nothing that would not fit."""

import struct

import pytest
import torch
from torch import nn

from core.config import EncoderConfig
from core.snapshots import SnapshotError
from core.training_state import (
    MOMENTS,
    global_generators,
    moments,
    prefixed,
    refuse_generators,
    restore_moments,
    trained_weights,
    unprefixed,
)


def adam(fused: bool) -> tuple[nn.Linear, torch.optim.Adam]:
    """One step on the weight; the bias has never had a gradient."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(layer.parameters(), 0.1, fused=fused)
    step(layer, optimiser, layer.weight)
    return layer, optimiser


def step(layer: nn.Linear, optimiser: torch.optim.Adam, *parameters: nn.Parameter) -> None:
    optimiser.zero_grad()
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.25)
    optimiser.step()


def test_groups_come_apart_as_they_were_put_together():
    one, two = torch.zeros(1), torch.ones(2)
    together = prefixed("model", {"a.b": one}) | prefixed("models", {"a": two}) | {"model": two}
    assert unprefixed("model", together) == {"a.b": one}
    assert unprefixed("models", together) == {"a": two}


@pytest.mark.parametrize("fused", [True, False])
def test_adam_goes_on_as_if_it_had_never_stopped(fused):
    """A parameter that gets its first gradient later included."""
    layer, optimiser = adam(fused)
    taken = {name: tensor.clone() for name, tensor in moments(optimiser).items()}
    assert list(taken) == [f"{number}.{name}" for number in (0, 1) for name in MOMENTS]
    assert (taken["0.step"], taken["1.step"]) == (1, 0)
    other = nn.Linear(3, 2)
    other.load_state_dict(layer.state_dict())
    resumed = torch.optim.Adam(other.parameters(), 0.1, fused=fused)
    restore_moments(resumed, taken)
    for _ in range(3):
        step(layer, optimiser, layer.weight, layer.bias)
        step(other, resumed, other.weight, other.bias)
        assert torch.equal(layer.weight, other.weight)
        assert torch.equal(layer.bias, other.bias)
    assert (taken["0.step"], taken["1.step"]) == (1, 0)  # copies were given, not the tensors


def test_of_a_pretrained_encoder_only_what_is_trained_is_kept():
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.BatchNorm1d(2))
    batch_norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    kept = [f"1.{name}" for name in batch_norm]
    assert list(trained_weights(model, EncoderConfig(name="whisper-tiny"))) == kept
    drawn = trained_weights(model, EncoderConfig(name="logmel-small"))
    assert list(drawn) == ["0.weight", "0.bias", *kept]


@pytest.mark.parametrize(("device", "chosen"), [("cuda", 1), ("cuda:0", 0)])
def test_on_a_gpu_its_own_generator_belongs_to_the_state(monkeypatch, device, chosen):
    there = (torch.Generator(), torch.Generator())
    monkeypatch.setattr(torch.cuda, "default_generators", there)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    found = global_generators(torch.device(device))
    assert found == {"cpu": torch.default_generator, "cuda": there[chosen]}
    assert global_generators(torch.device("cpu")) == {"cpu": torch.default_generator}


@pytest.mark.parametrize("draws", [0, 1, 2, 623, 624, 625, 2000])
def test_a_generator_s_state_passes_after_any_number_of_draws(draws):
    generator = torch.Generator().manual_seed(3)
    for _ in range(draws):
        torch.randint(2**16, (1,), generator=generator)
    torch.randn(3, generator=generator)  # 3 of the pair and the float that is left over
    state = generator.get_state()
    refuse_generators({"order": state}, {"order": torch.Generator()})
    again = torch.Generator()
    again.set_state(state)
    assert torch.equal(torch.rand(5, generator=again), torch.rand(5, generator=generator))


def with_places(left: int, seeded: int, used: int) -> torch.Tensor:
    state = torch.Generator().manual_seed(3).get_state()
    state[8:24] = torch.frombuffer(
        bytearray(struct.pack("<iiQ", left, seeded, used)), dtype=torch.uint8
    )
    return state


@pytest.mark.parametrize(
    "state",
    [
        torch.zeros(5056, dtype=torch.uint8),
        torch.full((5056,), 255, dtype=torch.uint8),
        torch.zeros(16, dtype=torch.uint8),
        torch.zeros(0, dtype=torch.uint8),
        torch.zeros(5056),
        with_places(624, 1, 624),  # which torch takes, and then reads beyond its words
        with_places(2, 1, 624),
        with_places(0, 1, 0),
        with_places(1, 0, 0),
        with_places(-5, 1, 630),
        with_places(624, 1, 2**63),
    ],
    ids=lambda state: f"{state.dtype} {len(state)} {state[8:24].tolist()}",
)
def test_a_state_that_is_no_generator_s_is_refused(state):
    with pytest.raises(SnapshotError, match=r"^its generator order must be torch's, got another"):
        refuse_generators({"order": state}, {"order": torch.Generator()})
