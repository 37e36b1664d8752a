"""The encoders that have a name of their own; any other is a hub name or a folder."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What must be known of an encoder before it is loaded."""

    source: str  # the hub's name of the checkpoint, or "" for an encoder without weights
    layers: int
    features: int
    frames_per_s: int = 50


ENCODERS: dict[str, Geometry] = {
    "wavlm-large": Geometry(source="microsoft/wavlm-large", layers=24, features=1024),
    "wavlm-base": Geometry(source="microsoft/wavlm-base", layers=12, features=768),
    "wavlm-base-plus": Geometry(source="microsoft/wavlm-base-plus", layers=12, features=768),
    "hubert-large": Geometry(source="facebook/hubert-large-ll60k", layers=24, features=1024),
    "hubert-base": Geometry(source="facebook/hubert-base-ls960", layers=12, features=768),
    "wav2vec2-large": Geometry(source="facebook/wav2vec2-large-lv60", layers=24, features=1024),
    "wav2vec2-base": Geometry(source="facebook/wav2vec2-base", layers=12, features=768),
    "whisper-tiny": Geometry(source="openai/whisper-tiny", layers=4, features=384),
    "whisper-base": Geometry(source="openai/whisper-base", layers=6, features=512),
    "whisper-small": Geometry(source="openai/whisper-small", layers=12, features=768),
    # O: trained from scratch, for the demo and for tests of the machinery.
    "logmel-small": Geometry(source="", layers=2, features=48, frames_per_s=25),
    "logmel-base": Geometry(source="", layers=3, features=80, frames_per_s=25),
    # O: the bands themselves, which have no weights at all: what any encoder has to beat.
    "logmel": Geometry(source="", layers=0, features=64, frames_per_s=100),
}


def is_pretrained(name: str) -> bool:
    """Whether an encoder of this name starts from weights."""
    return name not in ENCODERS or ENCODERS[name].source != ""


def is_drawn(name: str) -> bool:
    """Whether an encoder of this name starts from a random draw, another one for each seed."""
    return not is_pretrained(name) and ENCODERS[name].layers > 0
