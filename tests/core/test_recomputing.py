"""Activations computed again: the same gradients, dropout included, from less that is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.config import EncoderConfig
from core.encoders import StoredFrames, build_encoder
from core.fold import Fold
from core.recomputing import recompute_layers
from tests.core.small_checkpoints import noise, save_self_supervised, save_whisper
from tests.core.small_folds import of
from tests.core.small_speech import CPU, small_config, tones


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["wavlm", "hubert", "whisper"])
def test_gradients_with_dropout_are_those_of_kept_activations(
    family: str, precision: torch.dtype, tmp_path: Path
) -> None:
    if family == "whisper":
        save_whisper(tmp_path, dropout=0.3, attention_dropout=0.3)
    else:
        save_self_supervised(tmp_path, family, hidden_dropout=0.3, attention_dropout=0.3)
    batch = noise(2, 8000), torch.tensor([8000, 5000])
    gradients, kept = [], []
    for recompute in (False, True):
        encoder = build_encoder(EncoderConfig(name=str(tmp_path)))
        if recompute:
            recompute_layers(encoder)
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        torch.manual_seed(3)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            frames, _ = encoder(*batch)
        frames.float().pow(3).sum().backward()
        gradients.append({name: item.grad for name, item in encoder.named_parameters()})
        kept.append(sum(sizes))
    assert gradients[1].keys() == gradients[0].keys()
    for name, gradient in gradients[0].items():
        if gradient is None:
            assert gradients[1][name] is None, name
        else:
            assert torch.equal(gradients[1][name], gradient), name
    assert kept[1] < 0.5 * kept[0]


def test_stored_frames_have_nothing_to_compute_again() -> None:
    recompute_layers(StoredFrames(4, torch.nn.Identity()))  # type: ignore[arg-type]


def test_a_fold_that_recomputes_is_the_same_experiment_with_the_same_figures() -> None:
    utterances, clips = tones()
    config = replace(small_config(), training=replace(small_config().training, epochs=1))
    kept, again = (Fold(config, of(utterances, clips), CPU, recompute=it) for it in (False, True))
    for fold in (kept, again):
        fold.step()
    assert again.result().run_id == kept.result().run_id
    assert again.result().predictions == kept.result().predictions
