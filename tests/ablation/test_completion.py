"""The shell completes verbs, options and files."""

import shutil
import subprocess

import pytest

import runner
from ablation.arguments import EVERY_VERB
from ablation.completion import SHELLS, whole_parser


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    from shtab import complete

    from ablation.completion import ALONE, WITH_FILES

    path = tmp_path_factory.mktemp("completion") / "ser-ablation.bash"
    path.write_text(complete(whole_parser(), "bash").replace(ALONE, WITH_FILES))
    return path


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_every_verb(capsys, shell):
    assert runner.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in EVERY_VERB)
    assert "--keep-models" in text.replace("-l keep-models", "--keep-models")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pre"], {"predict"}),
        (["--keep"], {"--keep-models"}),
        (["--keep-models", "b"], {"best"}),
        (["predict", "--js"], {"--jsonl", "--json"}),
        (["fetch", "rav"], {"ravdess"}),
    ],
)
def test_bash_offers_what_can_follow(script, words, offered):
    typed = " ".join(["ser-ablation", *words])
    code = (
        f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; "
        '_shtab_ser_ablation; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) == offered
