"""SpecAugment's masks: where they were drawn, among an utterance's own frames, never in scoring."""

from typing import Any

import pytest
import torch
from torch import nn

from core import logmel, whisper
from core.augmentation import disturbed
from core.checkpoints import open_checkpoint
from core.config import AugmentConfig, EncoderConfig
from core.encoders import build_encoder
from core.masking import MaskDraw, draw_masks, hide
from tests.core.small_checkpoints import noise, save_self_supervised, save_whisper
from tests.core.small_speech import small_config
from tests.core.small_trainers import make_batcher, make_trainer

MASKS = AugmentConfig(frequency_masks=2, frequency_width=3, time_masks=3, time_share=0.5)
LENGTHS = torch.tensor([4000, 2400])


def drawn(seed: int = 0, utterances: int = 2) -> MaskDraw:
    return draw_masks(utterances, torch.Generator().manual_seed(seed), MASKS)


def test_bands_and_frames_are_hidden_where_they_were_drawn():
    frames = torch.ones(2, 6, 5)
    frame_mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    bands = torch.tensor([[[2.0, 0.99]], [[1.0, 0.5]]], dtype=torch.float64)
    in_time = torch.tensor([[[0.5, 0.3]], [[0.3, 0.0]]], dtype=torch.float64)
    hidden = hide(frames, frame_mask, MaskDraw(bands, in_time))
    # First: 2 of 5 bands at the last of 4 places; 3 of 6 frames at place floor(0.3 * 4) = 1.
    assert (hidden[0, 0] == torch.tensor([1, 1, 1, 0, 0])).all()
    assert hidden[0, :, 0].tolist() == [1, 0, 0, 0, 1, 1]
    # Second: 1 of 5 bands at place floor(0.5 * 5) = 2; floor(0.3 * 4) = 1 frame at place 0.
    assert (hidden[1, 1] == torch.tensor([1, 1, 0, 1, 1])).all()
    assert hidden[1, :, 0].tolist() == [0, 1, 1, 1, 1, 1]
    assert hide(frames, frame_mask, None) is frames


def test_padding_moves_no_mask():
    frames, frame_mask = torch.rand(2, 40, 8) + 1, torch.arange(40) < torch.tensor([[40], [25]])
    padded = torch.cat([frames, torch.zeros(2, 9, 8)], 1)
    longer = torch.cat([frame_mask, torch.zeros(2, 9, dtype=torch.bool)], 1)
    for seed in range(10):
        hidden = hide(frames, frame_mask, drawn(seed))
        assert torch.equal(hide(padded, longer, drawn(seed))[:, :40], hidden)


def test_widths_are_drawn_evenly_up_to_the_most():
    draw = drawn(utterances=4000)
    assert (draw.bands.shape, draw.frames.shape) == ((4000, 2, 2), (4000, 3, 2))
    counts = torch.bincount(draw.bands[..., 0].flatten().long())  # 8000 over 0, 1, 2, 3
    assert len(counts) == 4
    assert ((counts - 2000).abs() < 5 * (8000 * 0.25 * 0.75) ** 0.5).all()
    shares = draw.frames[..., 0]
    assert 0 <= shares.min() < 0.001
    assert 0.499 < shares.max() < 0.5
    assert abs(shares.mean() - 0.25) < 5 * 0.5 / (12 * 12_000) ** 0.5


@pytest.mark.parametrize("family", ["whisper", "logmel"])
def test_a_spectrogram_is_masked_before_its_convolutions(tmp_path, family):
    if family == "whisper":
        save_whisper(tmp_path)
        front_end, _ = whisper.build(open_checkpoint(str(tmp_path)), 1)
        first = front_end.conv1
    else:
        front_end, _ = logmel.build(8, 1)
        first = front_end.convolutions[0]
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda _, given: seen.append(given[0].transpose(1, 2)))
    waveforms = noise(2, 4000)
    waveforms[1, 2400:] = 0
    front_end(waveforms, LENGTHS)
    front_end(waveforms, LENGTHS, drawn())
    plain, masked = seen
    frame_mask = torch.arange(25) < torch.tensor([[25], [15]])  # 10 ms each
    assert torch.equal(masked, hide(plain, frame_mask, drawn()))
    assert not torch.equal(masked, plain)


@pytest.mark.parametrize("family", ["wavlm", "hubert", "wav2vec2"])
def test_self_supervised_encoders_are_masked_on_their_front_end_s_frames(tmp_path, family):
    save_self_supervised(tmp_path, family)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path), layer=1)).eval()
    waveforms = noise(2, 4000)
    plain, frame_mask = encoder.front_end(waveforms, LENGTHS)
    masked, _ = encoder.front_end(waveforms, LENGTHS, drawn())
    assert torch.equal(masked, hide(plain, frame_mask, drawn()))
    with torch.no_grad():
        given, other = encoder(waveforms, LENGTHS, drawn())[0], encoder(waveforms, LENGTHS)[0]
    assert not torch.allclose(given, other)
    assert torch.equal(given == 0, other == 0)  # padding alone


def test_scoring_is_never_masked_and_training_always():
    config = small_config(augment={"frequency_masks": 1, "time_masks": 1})
    trainer = make_trainer(config, held_out="2")
    seen: list[tuple[bool, bool]] = []

    def note(model: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append((model.training, given[2] is not None))

    _ = trainer.loss_weights
    trainer.model.register_forward_pre_hook(note)
    trainer.train_epoch()
    assert seen == [(True, True)] * 3 + [(False, False)]


def test_a_batch_in_parts_is_masked_as_it_is_whole():
    config = small_config(augment={"frequency_masks": 2, "time_masks": 2})
    whole, parts = (make_trainer(config, micro_batch=size).train_epoch() for size in (None, 1))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-3)
    unmasked = make_trainer(small_config()).train_epoch()
    assert unmasked.losses["kl"] != pytest.approx(whole.losses["kl"], rel=1e-3)


def test_masks_are_the_generator_s():
    batches = list(make_batcher(small_config()).in_order())
    one, two, other = (
        [
            batch.masks
            for batch in disturbed(batches, MASKS, {"masking": torch.Generator().manual_seed(seed)})
        ]
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0].frames, other[0].frames)
    assert not torch.equal(one[0].frames, one[1].frames)
