"""A run's identity, and the contradictions that no single range can see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import RunConfig
from core.encoder_catalog import ENCODERS
from core.identity import LATER, config_key, config_keys, run_id
from core.schema import ConfigError, flatten, leaves

ROOT = Path(__file__).parents[2]
# For every setting another value that is right beside the defaults.
OTHERS = {
    "corpus.name": "msp_improv",
    "corpus.folds": "emobox",
    "fold": 2,
    "seed": 1,
    "encoder.name": "hubert-large",
    "encoder.layer": 22,
    "encoder.weigh_layers": True,
    "encoder.join_layers": [1, 3],
    "encoder.normalise": True,
    "encoder.train": "all",
    "encoder.lora_rank": 8,
    "encoder.lora_alpha": 16.0,
    "audio.crop_s": 6.0,
    "audio.normalise": "none",
    "audio.trim_db": 40.0,
    "augment.speeds": [0.9, 1.0, 1.1],
    "augment.noise_probability": 0.5,
    "augment.noise_snr_min_db": 5.0,
    "augment.noise_snr_max_db": 30.0,
    "augment.noise_colours": ["white", "pink"],
    "augment.frequency_masks": 2,
    "augment.frequency_width": 15,
    "augment.time_masks": 2,
    "augment.time_share": 0.1,
    "mixup.method": "lam",
    "mixup.probability": 1.0,
    "mixup.snr_min_db": 0.0,
    "mixup.snr_max_db": 5.0,
    "mixup.max_share": 0.4,
    "mixup.alpha": 1.0,
    "pooling.method": "mean",
    "pooling.heads": 8,
    "pooling.standardise": True,
    "losses.terms": ["kl", "center"],
    "losses.weighting": "fixed",
    "losses.calibration_batches": 4,
    "losses.kl_weight": 2.0,
    "losses.center_weight": 0.01,
    "losses.focal_weight": 0.5,
    "losses.supcon_weight": 0.2,
    "losses.focal_gamma": 1.0,
    "losses.temperature": 0.1,
    "losses.normalise_frames": False,
    "losses.projected_features": 128,
    "losses.label_smoothing": 0.1,
    "training.epochs": 10,
    "training.batch_size": 32,
    "training.length_pool": 1,
    "training.learning_rate": 2e-4,
    "training.center_learning_rate": 1e-2,
    "training.decay": 0.9,
    "training.decay_epochs": 10,
    "training.beta1": 0.8,
    "training.beta2": 0.999,
    "training.epsilon": 1e-8,
    "training.precision": "float32",
    "training.threads": 2,
    "training.balanced": True,
    "training.head_learning_rate": 1e-3,
    "evaluation.selection": "validation",
    "evaluation.record_oracle": True,
    "evaluation.speeds": [0.9, 1.1],
    "evaluation.inner_fold": 3,
    "evaluation.patience": 3,
    "classifier.method": "linear-probe",
    "classifier.svm_c": 2.0,
    "classifier.svm_kernel": "linear",
    "classifier.svm_gamma": 0.1,
    "classifier.probe_c": 2.0,
}
# Where a value is right, or has an effect, only beside another: what the other is.
SVM = {"classifier.method": "egemaps-svm"}
BESIDE = {
    "corpus.folds": {"corpus.name": "ravdess"},
    "evaluation.patience": {"evaluation.selection": "validation"},
    "classifier.svm_c": SVM,
    "classifier.svm_kernel": SVM,
    "classifier.svm_gamma": SVM,
    "classifier.probe_c": {"classifier.method": "linear-probe"},
}
# Those that can stand beside one another: joined layers take the place of the layer, and a
# baseline of most of the others.
ALONE = (
    "corpus.folds",
    "encoder.train",
    "encoder.join_layers",
    *(k for k in OTHERS if "classifier" in k),
)
TOGETHER = {key: value for key, value in OTHERS.items() if key not in ALONE}
CORPUS, ENCODER = "c" * 16, "e" * 16
# Two configs of before `LATER`, their run ids and the keys of two of their folds, as named then.
BEFORE = [
    ({}, "fb85a5ec74cc", [(1, 0), (2, 5)], ["4a84ae2fd5e7", "7ac48c71f587"]),
    (
        {
            "corpus.name": "ravdess",
            "fold": 3,
            "seed": 7,
            "encoder.name": "whisper-base",
            "encoder.train": "frozen",
            "encoder.weigh_layers": True,
            "mixup.method": "none",
            "losses.terms": ["kl", "center"],
            "losses.weighting": "fixed",
            "augment.speeds": [0.9, 1.0, 1.1],
            "evaluation.selection": "validation",
            "training.epochs": 30,
        },
        "c9cc23cbdae7",
        [(1, 0), (2, 5)],
        ["0511de3b6fc9", "efc4ae4b9a95"],
    ),
]


def refusal(**settings) -> str:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict({key.replace("__", "."): value for key, value in settings.items()})
    return str(caught.value)


def test_every_setting_has_another_value_here():
    assert set(OTHERS) == set(leaves(RunConfig))


@pytest.mark.parametrize("key", OTHERS)
def test_the_run_id_differs_for_every_setting(key):
    base = BESIDE.get(key, {})
    first, second = RunConfig.from_dict(base), RunConfig.from_dict(base | {key: OTHERS[key]})
    assert flatten(first.to_dict())[key] != flatten(second.to_dict())[key]
    assert run_id(first, CORPUS, ENCODER) != run_id(second, CORPUS, ENCODER)
    assert config_key(first) != config_key(second)


def test_the_run_id_differs_for_other_audio_and_other_weights():
    config = RunConfig.from_dict({})
    ids = {run_id(config, *pair) for pair in (("c", "e"), ("d", "e"), ("c", "f"), ("ce", ""))}
    assert len(ids) == 4


def test_the_run_id_is_the_same_for_keys_in_another_order():
    turned = dict(reversed(TOGETHER.items()))
    assert run_id(RunConfig.from_dict(turned), CORPUS, ENCODER) == run_id(
        RunConfig.from_dict(TOGETHER), CORPUS, ENCODER
    )


def test_the_run_id_is_the_same_for_nested_keys_and_other_spellings_of_a_number():
    dotted = {"training.epochs": 10, "training.learning_rate": 2e-4, "mixup.probability": 1.0}
    nested = {"training": {"epochs": 10.0, "learning_rate": "2e-4"}, "mixup": {"probability": 1}}
    assert config_key(RunConfig.from_dict(dotted)) == config_key(RunConfig.from_dict(nested))


def test_the_run_id_is_the_same_in_a_fresh_process():
    code = (
        "from core.config import RunConfig\n"
        "from core.identity import run_id\n"
        "config = RunConfig.from_dict({'mixup.method': 'lam', 'seed': 3})\n"
        f"print(run_id(config, {CORPUS!r}, {ENCODER!r}))"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    config = RunConfig.from_dict({"seed": 3, "mixup.method": "lam"})
    assert fresh.stdout.strip() == run_id(config, CORPUS, ENCODER)


def test_an_inner_fold_must_be_another_than_the_fold():
    text = "evaluation.inner_fold: must be another than the fold, got 2"
    assert text in refusal(fold=2, evaluation__inner_fold=2)


def test_the_run_id_is_twelve_hexadecimal_digits():
    name = run_id(RunConfig.from_dict({}), CORPUS, ENCODER)
    assert len(name) == 12
    assert set(name) <= set("0123456789abcdef")


@pytest.mark.parametrize(("settings", "name", "runs", "keys"), BEFORE)
def test_a_run_is_called_what_it_was_called_before_there_were_more_settings(
    settings, name, runs, keys
):
    config = RunConfig.from_dict(settings)
    assert run_id(config, CORPUS, ENCODER) == name
    assert config_keys(config, runs) == keys


@pytest.mark.parametrize("key", LATER)
def test_a_later_setting_at_its_default_is_as_if_it_were_not_there(key):
    config = RunConfig.from_dict({})
    spelt_out = flatten(config.to_dict())
    bare = {name: value for name, value in spelt_out.items() if name not in LATER}
    assert RunConfig.from_dict(bare) == config
    assert config_key(RunConfig.from_dict(bare | {key: spelt_out[key]})) == config_key(config)


@pytest.mark.parametrize("settings", [{}, TOGETHER])
def test_many_keys_at_once_are_the_keys_one_by_one(settings):
    config = RunConfig.from_dict(settings)
    runs = [(1, 0), (5, 0), (2, 7)]
    singly = [config_key(config.on_fold(fold, seed)) for fold, seed in runs]
    assert config_keys(config, runs) == singly
    assert len(set(singly)) == 3


def test_a_config_survives_its_own_plain_values():
    config = RunConfig.from_dict(TOGETHER | BESIDE["corpus.folds"])
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_another_fold_changes_nothing_else():
    config = RunConfig.from_dict({"mixup.method": "lam"})
    moved = flatten(config.on_fold(4, 9).to_dict())
    assert moved == flatten(config.to_dict()) | {"fold": 4, "seed": 9}


@pytest.mark.parametrize(
    ("corpus", "scheme"),
    [
        ("iemocap", "leave-one-session-out"),
        ("msp_improv", "leave-one-session-out"),
        ("ravdess", "consecutive"),
        ("savee", "leave-one-speaker-out"),
    ],
)
def test_a_corpus_has_its_own_default_folds(corpus, scheme):
    assert RunConfig.from_dict({"corpus.name": corpus}).corpus.folds == scheme


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"corpus__name": "ravdes"},
            "corpus.name: must be one of iemocap, msp_improv, ravdess, savee, "
            "got 'ravdes'; did you mean 'ravdess'?",
        ),
        (
            {"corpus__name": "ravdess", "corpus__folds": "emo-box"},
            "corpus.folds: must be one of consecutive, emobox, luna-jimenez, halves for ravdess, "
            "got 'emo-box'; did you mean 'emobox'?",
        ),
        ({"fold": 6}, "fold: must lie in 1..5 for iemocap, got 6"),
        (
            {"mixup__snr_min_db": 12},
            "mixup.snr_min_db: must not exceed mixup.snr_max_db = 10, got 12",
        ),
        (
            {"augment__speeds": [0.9, 0.9]},
            "augment.speeds: must hold one or more speeds once each, in whole hundredths, "
            "got (0.9, 0.9)",
        ),
        (
            {"augment__speeds": []},
            "augment.speeds: must hold one or more speeds once each, in whole hundredths, got ()",
        ),
        (
            {"augment__speeds": [0.905]},
            "augment.speeds: must hold one or more speeds once each, in whole hundredths, "
            "got (0.905,)",
        ),
        (
            {"augment__speeds": [0.2]},
            "augment.speeds: must lie in 0.5..2, got 0.2",
        ),
        (
            {"evaluation__speeds": [1.001]},
            "evaluation.speeds: must hold one or more speeds once each, in whole hundredths, "
            "got (1.001,)",
        ),
        (
            {"encoder__join_layers": [3, 3]},
            "encoder.join_layers: must hold each layer once, got (3, 3)",
        ),
        (
            {"encoder__join_layers": [3, 25]},
            "encoder.join_layers: must lie in 0..24 for 'wavlm-large', got 25",
        ),
        (
            {"encoder__join_layers": [3], "encoder__layer": 3},
            "encoder.layer: can't stand beside encoder.join_layers, which names the layers itself",
        ),
        (
            {"encoder__join_layers": [3], "encoder__weigh_layers": True},
            "encoder.weigh_layers: can't stand beside encoder.join_layers, which names the layers "
            "itself",
        ),
        (
            {"encoder__name": "whisper-tiny", "encoder__join_layers": [1, 2], "pooling__heads": 36},
            "pooling.heads: must divide the 768 features of 'whisper-tiny', got 36",
        ),
        (
            {"augment__noise_snr_min_db": 20},
            "augment.noise_snr_min_db: must not exceed augment.noise_snr_max_db = 15, got 20",
        ),
        (
            {"augment__noise_colours": ["pink", "pink"]},
            "augment.noise_colours: must name one or more colours once each, got ('pink', 'pink')",
        ),
        (
            {"evaluation__patience": 3},
            "evaluation.patience: needs evaluation.selection: validation, whose group says when "
            "to stop, got 'last'",
        ),
        (
            {"encoder__lora_rank": 4, "encoder__train": "frozen"},
            "encoder.lora_rank: must be 0 unless encoder.train is 'transformer', of which it "
            "trains an addition, got 4 with 'frozen'",
        ),
        (
            {"encoder__lora_rank": 4, "encoder__name": "logmel-base"},
            "encoder.lora_rank: must be 0 for 'logmel-base', which has no trained weights to add "
            "to, got 4",
        ),
        (
            {"encoder__name": "logmel"},
            "encoder.train: must be 'frozen' for 'logmel', in which there is nothing to train, "
            "got 'transformer'",
        ),
        (
            {"encoder__name": "logmel", "encoder__train": "frozen", "encoder__layer": 1},
            "encoder.layer: must lie in 0..0 for 'logmel', got 1",
        ),
        ({"losses__terms": []}, "losses.terms: must name one or more terms once each, got ()"),
        (
            {"losses__terms": ["kl", "kl"]},
            "losses.terms: must name one or more terms once each, got ('kl', 'kl')",
        ),
        (
            {"losses__terms": ["center", "supcon"]},
            "losses.terms: must hold 'kl' or 'focal': nothing else trains the classifier, "
            "got center, supcon",
        ),
        ({"encoder__layer": 25}, "encoder.layer: must lie in 0..24 for 'wavlm-large', got 25"),
        (
            {"pooling__heads": 7},
            "pooling.heads: must divide the 1024 features of 'wavlm-large', got 7",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    assert refusal(**settings) == message


def test_contradictions_are_told_together_with_the_keys_they_lie_between():
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict({"mixup.snr_min_db": 12, "encoder.layer": 99, "pooling.heads": 7})
    assert {problem.key: problem.others for problem in caught.value.problems} == {
        "mixup.snr_min_db": ("mixup.snr_max_db",),
        "encoder.layer": ("encoder.name",),
        "pooling.heads": ("encoder.name", "pooling.method"),
    }


def test_heads_need_not_divide_where_they_are_not_used():
    assert RunConfig.from_dict({"pooling.method": "mean", "pooling.heads": 7}).pooling.heads == 7


def test_an_encoder_from_a_folder_is_not_judged_before_it_is_read():
    settings = {"encoder.name": "/models/own", "encoder.layer": 99, "pooling.heads": 7}
    assert RunConfig.from_dict(settings).encoder.layer == 99


def test_default_heads_suit_every_encoder():
    for name in ENCODERS:
        settings = {"encoder.name": name, "encoder.train": "frozen"}
        assert RunConfig.from_dict(settings).encoder.name == name


@pytest.mark.parametrize(
    "disturbing", ["augment.noise_probability", "augment.frequency_masks", "augment.time_masks"]
)
def test_a_frozen_encoder_whose_input_changes_each_epoch_stores_no_frames(disturbing):
    frozen = {"encoder.train": "frozen", "mixup.method": "none"}
    assert RunConfig.from_dict(frozen).stores_frames
    assert not RunConfig.from_dict(frozen | {disturbing: 1}).stores_frames
