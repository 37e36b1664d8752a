"""The README.md of an exported model: what it was trained on, how well it does, what it is not."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from ablation.archive import Archive
from ablation.columns import MIXUP
from ablation.kept_models import honest_ua
from core.config import RunConfig
from core.corpora.catalog import CORPORA
from core.encoder_catalog import ENCODERS, is_drawn, is_pretrained
from core.identity import run_id
from core.result import FoldResult

MOST_FOLDS = 1000  # as a config's fold
SELECTION = {
    "last": "all training speakers trained it, and its last epoch is scored",
    "validation": "the best epoch on held-out training speakers is scored, once",
    "oracle": "its last epoch is scored, and not the epoch that the test fold would pick",
}

TEXT = """\
---
library_name: ser-ablation
pipeline_tag: audio-classification
license: other
tags: [speech-emotion-recognition]
---

# Speech emotion: {classes} ({title}, fold {fold})

Run `{run}` of ser-ablation, which reproduces *Multi-Loss Learning for Speech Emotion
Recognition with Energy-Adaptive Mixup and Frame-Level Attention* (Wang et al.).

| | |
|---|---|
| data | {title}, fingerprint `{fingerprint}` |
| licence of the data | {licence} |
| encoder | {encoder} |
| method | {method} |
| classes | {classes} |
| tested on | {tested} |

## Figures

{figures}

Selection `{selection}`: {selected}.
WA is correct ÷ utterances, UA the mean of the per-class recalls. The speakers of the test, whom it
never heard in training: {speakers}.

## Limits

- The weights are of one fold: they never heard the speakers above, and heard the others.
- Chosen among folds by its test figure, a model looks better than the method is; the mean over
  folds is what to expect of new speakers of the same corpus, and less of any other.
- It knows the classes above, in the language and the recording style of its corpus, and gives a
  probability to each of them whatever it hears. The probabilities are not calibrated.
- It is no measure of what a person feels, and not for decisions about people.
- The licence of the data, above, may bind what is made of it: this model, too.

## Use

```sh
python runner.py predict THIS_FOLDER recording.wav     # in a checkout of ser-ablation
```

{loading}

`head.safetensors` holds what stands on the encoder, and as JSON among its metadata (`config`,
`facts`) all settings, the classes in order, and the fingerprints. Input: mono, 16 kHz;
{audio}.
"""
STOCK = """\
The encoder alone loads without ser-ablation, with its trained weights; the method reads
`hidden_states[{layer}]`:

```python
{line}
encoder = {name}.from_pretrained("THIS_FOLDER")
```{note}"""
WHISPER_NOTE = """

(There, Whisper hears 30 s, silence included; here, the recording alone, which changes its frames a
little.)"""
OWN = """\
The encoder is one of ser-ablation's own; `model.safetensors` and `head.safetensors` hold plain
tensors."""


def card_of(result: FoldResult, archive: Archive) -> str:
    """The card of one fold's model, the other folds of its setting beside it."""
    config, corpus = result.config, CORPORA.get(result.config.corpus.name)
    mixed = "" if config.mixup.method == "none" else f", {MIXUP[config.mixup.method]} mixup"
    audio = f"the first {config.audio.crop_s:g} s"
    if config.audio.trim_db is not None:
        audio = f"silence {config.audio.trim_db:g} dB below the loudest cut from both ends, {audio}"
    speakers = sorted(result.speakers())
    return TEXT.format(
        title=corpus.title if corpus else config.corpus.name,
        classes=", ".join(result.classes),
        fold=config.fold,
        run=result.run_id,
        fingerprint=result.corpus_fingerprint,
        licence=corpus.licence if corpus else "that of your own corpus",
        encoder=_encoder_line(config),
        method=f"{config.pooling.method} pooling, {' + '.join(config.losses.terms)}{mixed}",
        tested=f"{len(result.predictions)} utterances, speakers: {len(speakers)}",
        figures=_figures(result, archive),
        selection=config.evaluation.selection,
        selected=SELECTION[config.evaluation.selection],
        speakers=", ".join(speakers),
        loading=_loading(config),
        audio=audio + (", scaled to its peak" if config.audio.normalise == "peak" else ""),
    )


def _encoder_line(config: RunConfig) -> str:
    encoder = config.encoder
    known = ENCODERS.get(encoder.name)
    name = known.source if known and known.source else Path(encoder.name).name
    layer = "last layer" if encoder.layer is None else f"layer {encoder.layer}"
    trained = {
        "all": "all of it trained",
        "transformer": "its transformer trained",
        "frozen": "frozen",
    }
    how = "trained from scratch" if is_drawn(encoder.name) else trained[encoder.train]
    return f"{name}, {layer}, {how}"


def _figures(result: FoldResult, archive: Archive) -> str:
    """This fold, and the mean over what has finished of the same setting."""
    ua = honest_ua(result)
    wa = _honest_wa(result)
    lines = [
        "| | folds | WA % | UA % |",
        "|---|---:|---:|---:|",
        f"| this fold | 1 | {100 * wa:.2f} | {100 * ua:.2f} |",
    ]
    others = _same_setting(result, archive)
    if len(others) > 1:
        was, uas = [_honest_wa(item) for item in others], [honest_ua(item) for item in others]
        cells = " | ".join(_spread(values) for values in (was, uas))
        lines.append(f"| the setting, seed {result.config.seed} | {len(others)} | {cells} |")
    return "\n".join(lines)


def _same_setting(result: FoldResult, archive: Archive) -> list[FoldResult]:
    """Every finished fold of the same setting, corpus, encoder and seed."""
    found = []
    for fold in range(1, MOST_FOLDS + 1):
        config = result.config.on_fold(fold, result.config.seed)
        name = run_id(config, result.corpus_fingerprint, result.encoder_fingerprint)
        if archive.holds(name):
            found.append(archive.load(name))
    return found


def _spread(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.2f} ± {100 * stdev(values):.2f}"


def _honest_wa(result: FoldResult) -> float:
    last = result.history[-1].oracle
    if result.config.evaluation.selection == "oracle" and last:
        return last["wa"]
    return result.scores().wa


def _loading(config: RunConfig) -> str:
    if not is_pretrained(config.encoder.name):
        return OWN
    from core.checkpoints import geometry, open_checkpoint

    name, line, note = "AutoModel", "from transformers import AutoModel", ""
    if open_checkpoint(config.encoder.name).family == "whisper":
        name, note = "WhisperEncoder", WHISPER_NOTE
        line = "from transformers.models.whisper.modeling_whisper import WhisperEncoder"
    layer = config.encoder.layer
    layer = geometry(config.encoder).layers if layer is None else layer
    return STOCK.format(layer=layer, line=line, name=name, note=note)
