"""Thousands of damaged grid files: each gives a grid or a `GridError`, never a traceback."""

import copy
import datetime
import random
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import runner
from ablation.grid import Grid, GridError, Overrides
from ablation.grid_file import load_grid
from tests.mutations import (
    INPUTS,
    ON_TEXT,
    Weighted,
    bounded,
    bounded_memory,
    change_tree,
    damaged,
    is_fit_to_print,
    rewrite,
)

ROOT = Path(__file__).parents[2]
GRIDS = [*sorted((ROOT / "grids").glob("*.yaml")), Path(__file__).with_name("matrix.yaml")]
SEARCHES = [path for path in GRIDS if "search" in path.name]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's are ten times faster
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
THROUGH_MAIN = 120  # of them, spread evenly
SEED = 20_240_229

SCALARS = [
    *("", "~", "null", "true", "no", "none", "0", "-1", "1e-4", "1e400", "1.0e+400", "-0.0"),
    *(".nan", ".inf", "-.inf", "0x", "0x_", "0o17", "1_000", "190:20:30", "2024-99-99", "<<", "="),
    *("2024-01-01T00:00:00Z", "9" * 30, "9" * 5000, "0x" + "f" * 90, "0x" + "f" * 5000, "x" * 9000),
    *(
        "!!python/object/apply:os.system [ls]",
        "!!python/name:os.system",
        "!!binary aGk=",
        "!!int x",
    ),
    *(
        "!!bool x",
        "!!int ''",
        "!!timestamp x",
        "!!float 1:x",
        "!!set {a}",
        "!own {a: 1}",
        "!",
        "!!",
    ),
    *("{}", "[]", "[[]]", "{a: {b: {c: 1}}}", "{? [a] : b}", "[kl, kl]", "[center]", "{<<: 3}"),
    *("'", '"', '"\\x00"', '"\\e[31m"', '"\\ud800"', '"\\uffff"', "&a *a", "*nowhere", "&x [*x]"),
    *(
        "&y {a: *y}",
        "|",
        ">-",
        "%",
        "@",
        "`",
        "- -",
        "? ?",
        ": :",
        "\t",
        "é",
        "日本",
        "\u202e",
        "😀",
    ),
    *(
        "eam",
        "lam",
        "flam",
        "savee",
        "ravdess",
        "last",
        "oracle",
        "3",
        "1000",
        "16",
        "99",
        "[0, 1]",
    ),
]
KEYS = [
    *("name", "title", "corpora", "seeds", "selection", "record_oracle", "base", "rows", "<<"),
    *("published", "mixup", "mixup.method", "mixup.snr_min_db", "losses.terms", "encoder.layer"),
    *("training.epochs", "pooling.heads", "corpus", "corpus.name", "fold", "seed", "~", "", "? "),
    *("matrix", "components", "add_one", "leave_one_out", "exclude", "losses.terms+", "on", "off"),
    *("losses.terms-", "mixup.method+", "EAM", "+", "-"),
    *("search", "space", "method", "trials", "hours", "inner_folds", "uniform", "choice", "int"),
    *("losses.focal_gamma", "loguniform", "evaluation.inner_fold"),
    *("evaluation.selection", "a.b.c.d", ".", "..", "mixup.", ".mixup", "x" * 2000, "é\u202e", "1"),
]
VALUES = [
    *(None, True, False, 0, 1, -1, 3, 1.5, -0.0, 1e300, 10**40, float("nan"), float("-inf")),
    *("", " ", "x", "1e400", "none", "eam", "savee", "ravdess", "last", "kl", "table3.1", "a\nb"),
    *("\x1b[31m", "\u202e", "x" * 5000, "2024-99-99", "wavlm-base", "/models/own", "../x", "~"),
    *([], {}, [[]], [{}], {"": {}}, [None], [1, 1], ["kl", "kl"], ["kl"], ["center"], [0, 1, 2]),
    *({"losses.terms+": "focal"}, {"losses.terms-": ["kl", "focal"]}, {"on": {}, "off": None}),
    *({"EAM": True}, {"EAM": [False, "off"]}, [False, True], ["off", "on", 1], ["EAM", "EAM"]),
    *({"x": {"mixup.method": "lam"}, "y": None}, list(range(1, 90)), [{"mixup.method": ["eam"]}]),
    *({"name": "savee"}, {"name": "ravdess", "folds": "emobox"}, {"name": 3}, {"a": {"b": {}}}),
    *({"uniform": [0, 1]}, {"loguniform": [0, "1e-4"]}, {"int": [1, 10**30]}, {"choice": [[], {}]}),
    *({"trials": 2, "space": {"seed": {"int": [0, 1]}}}, {"space": []}, [1, float("nan")]),
    *(datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12), b"bytes", {"method": "lam"}),
]
WHOLE = [
    b"",
    b"\xef\xbb\xbf",
    b"---\n...\n---\n",
    b"%YAML 9.9\n---\na: 1",
    b"[" * 5000,
    b"{a: " * 5000,
    b"- " * 5000,
    b"? " * 5000,
    "name: x".encode("utf-16"),
    b"a0: &a0 {x: 1}\n"
    + b"".join(b"a%d: &a%d {<<: *a%d}\n" % (i, i, i - 1) for i in range(1, 999)),
    b"a0: &a0 [[[x]]]\n" + b"".join(b"a%d: &a%d [[*a%d]]\n" % (i, i, i - 1) for i in range(1, 999)),
    b"a0: &a0 [x]\n"
    + b"".join(
        b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 30)
    ),
    b"name: x\ncorpora: [savee]\nrows:\n" + b"".join(b"- {name: r%d}\n" % i for i in range(20_000)),
    b"name: x\ncorpora: [savee]\nrows:\n- name: a\n"
    + b"".join(b"  mixup.probabilty%d: 1\n" % i for i in range(20_000)),
    b"name: x\ncorpora: [savee]\nmatrix:\n" + b"".join(b"  a%d: [1, 2]\n" % i for i in range(9999)),
    b"name: x\ncorpora: [savee]\nmatrix:\n  training.epochs: [%s]\n" % b"1," * 20_000,
    b"name: x\ncorpora: [savee]\nmatrix:\n"
    + b"".join(b"  x.a%d: {a: {seed: 1}, b: {x: }}\n" % i for i in range(12))
    + b"  exclude: [%s]" % (b"{x.a1: b, x.a2: [a, b]}, " * 199),
    b"name: x\ncorpora: [savee]\nadd_one: true\ncomponents:\n"
    + b"".join(b"  c%d: {on: {training.epochs: 3}}\n" % i for i in range(9_000)),
    b"name: x\ncorpora: [savee]\nseeds: 1000\nrows:\n"
    + b"".join(b"- {name: r%d}\n" % i for i in range(2_000)),
]


def change_indentation(text: bytes, chance: random.Random) -> bytes:
    lines = text.split(b"\n")
    for _ in range(chance.choice([1, 3])):
        index = chance.randrange(len(lines))
        blank = chance.choice([b"", b" ", b"   ", b"\t", b" " * 40])
        lines[index] = blank + lines[index].lstrip()
    return b"\n".join(lines)


def replace_value(text: bytes, chance: random.Random) -> bytes:
    lines = text.split(b"\n")
    index = chance.choice([i for i, line in enumerate(lines) if b":" in line] or [0])
    key, _, _ = lines[index].partition(b":")
    lines[index] = key + b": " + chance.choice(SCALARS).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def add_key(text: bytes, chance: random.Random) -> bytes:
    """A key that is doubled, unknown, reserved or odd, at the depth of the line before."""
    lines = text.split(b"\n")
    index = chance.randrange(len(lines))
    indent = lines[index][: len(lines[index]) - len(lines[index].lstrip(b" -"))].replace(b"-", b" ")
    value = chance.choice(SCALARS).encode("utf-8", "surrogatepass")
    lines.insert(index + 1, indent + chance.choice(KEYS).encode() + b": " + value)
    return b"\n".join(lines)


def nest_deeply(text: bytes, chance: random.Random) -> bytes:
    depth = chance.choice([5, 19, 21, 500])
    opening, closing = chance.choice([(b"[", b"]"), (b"{a: ", b"}")])
    lines = text.split(b"\n")
    nested = b"base: " + opening * depth + b"1" + closing * depth
    lines.insert(chance.randrange(len(lines)), nested)
    return b"\n".join(lines)


def add_aliases(text: bytes, chance: random.Random) -> bytes:
    name = chance.choice([b"a", b"b"])
    anchored = text.replace(b": ", b": &%s " % name, chance.randrange(1, 4))
    aliases = b"\nbase: {<<: *%s}" % name if chance.random() < 0.5 else b"\nseeds: *%s" % name
    return anchored + aliases * chance.choice([1, 1, 2])


@cache
def tree_of(path: Path) -> Any:
    return yaml.load(path.read_bytes(), Loader=LOADER)


def changed_tree(path: Path, chance: random.Random) -> bytes:
    """Put wrong values, keys or orders into what stays YAML."""
    tree = copy.deepcopy(tree_of(path))
    for _ in range(chance.choice([1, 1, 2, 5])):
        change_tree(tree, chance, KEYS, VALUES)
    unicode = chance.random() < 0.5
    return yaml.dump(tree, Dumper=DUMPER, allow_unicode=unicode).encode()


# On the text, and so mostly no YAML any more.
DAMAGES: Weighted = [
    *ON_TEXT,
    (change_indentation, 12),
    (replace_value, 96),
    (add_key, 48),
    (nest_deeply, 4),
    (add_aliases, 8),
]


def grid_file(index: int) -> bytes:
    """File number `index`; the same in every process."""
    chance = random.Random(SEED + index)
    if index < len(WHOLE):
        return WHOLE[index]
    # A block has more to damage than rows have, and there are fewer of them.
    path = chance.choice(SEARCHES if index % 3 == 0 else GRIDS)
    if chance.random() < 0.5:
        return changed_tree(path, chance)
    return damaged(path.read_bytes(), DAMAGES, chance)


def test_a_damaged_file_gives_a_grid_or_a_grid_error(tmp_path, figures):
    path = tmp_path / "grid.yaml"
    ended: Counter[str] = Counter()
    with bounded_memory():
        for index in range(INPUTS):
            rewrite(path, grid_file(index))
            with bounded(f"file {index}"):
                try:
                    grid = load_grid(path, Overrides(demo=index % 2 == 1), figures)
                except GridError as error:
                    ended["refused"] += 1
                    message = str(error)
                    assert message.startswith(f"{path}: "), index
                    assert is_fit_to_print(message), index
                except Exception as error:
                    pytest.fail(f"file {index}: {type(error).__name__}: {error}")
                else:
                    ended["planned"] += 1
                    assert isinstance(grid, Grid)
                    assert grid.cells, index
    assert ended.total() == INPUTS
    assert min(ended["refused"], ended["planned"]) > INPUTS // 20, ended
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_gives_a_plan_or_status_2(tmp_path, capsys):
    path = tmp_path / "grid.yaml"
    for index in range(0, INPUTS, max(INPUTS // THROUGH_MAIN, 1)):
        rewrite(path, grid_file(index))
        status = runner.main([str(path), "--plan", "--runs", str(tmp_path / "runs")])
        out, err = capsys.readouterr()
        assert status in (0, 2), index
        assert bool(out) == (status == 0), index
        assert bool(err) == (status == 2), index
        assert "Traceback" not in out + err, index
        assert "\x1b" not in out + err, index
