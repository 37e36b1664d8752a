"""What a YAML file may hold, on which line it stands, and what is said of any other."""

import pytest
import yaml

from ablation import yaml_lines
from ablation.yaml_lines import MAX_BYTES, MAX_DEPTH, MAX_NODES, YamlError, parse, read


@pytest.fixture(params=["SafeLoader", "CSafeLoader"], autouse=True)
def loader(request, monkeypatch):
    """PyYAML comes with libyaml or without."""
    if not hasattr(yaml, request.param):
        pytest.skip("needs a PyYAML built with libyaml")
    monkeypatch.setattr(yaml_lines, "Loader", getattr(yaml, request.param))
    return request.param


def refusal(text: str | bytes) -> str:
    with pytest.raises(YamlError) as caught:
        parse(text.encode() if isinstance(text, str) else text)
    return str(caught.value)


def test_plain_values_are_read():
    text = "a: 1\nb: [x, 2.5, true, ~]\nc:\n  d: 'y'\n"
    assert parse(text.encode()).value == {"a": 1, "b": ["x", 2.5, True, None], "c": {"d": "y"}}


def test_every_value_has_its_line():
    document = parse(b"a: 1\nb:\n  - x\n  - c: 3\n    d: 4\n")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("b", 1, "d"): 5,
    }


def test_what_is_missing_has_the_line_of_what_is_around():
    document = parse(b"a: 1\nb:\n  - x\n  - c: 3\n")
    assert document.line(("b", 1, "e", "f")) == 4
    assert document.line(("z",)) == 1


@pytest.mark.parametrize("text", ["", "# a comment\n", "\ufeff", "---\n", "null"])
def test_an_empty_file_holds_nothing(text):
    assert parse(text.encode()).value is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2024-01-02", "2024-01-02"),
        ("a: 2024-99-99", "2024-99-99"),
        ("a: !!timestamp x", "x"),
        ("a: =", "="),
        ("a: <<", "<<"),
        ("a: !!str 5", "5"),
        ("a: 1e-4", "1e-4"),
        ("a: 1.0e+400", float("inf")),
        ("a: .inf", float("inf")),
        ("a: 0x1F", 31),
    ],
)
def test_odd_scalars_stay_plain(text, value):
    assert parse(text.encode()).value == {"a": value}


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault():
    document = parse(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert document.value == {"a": 1, "b": 2}
    assert document.line(("b",)) == 2


def test_an_alias_repeats_its_anchor():
    assert parse(b"a: &x {b: 1}\nc: *x\nd: *x").value == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1},
    }


def test_merging_keeps_a_mapping_s_own_values_and_lines():
    document = parse(b"x: &x\n  a: 1\n  b: 2\ny:\n  a: 3\n  <<: *x\n")
    assert document.value["y"] == {"a": 3, "b": 2}
    assert document.line(("y", "a")) == 5
    assert document.line(("y", "b")) == 3


def test_of_several_merged_mappings_the_first_wins():
    assert parse(b"a: {<<: [{x: 1}, {x: 2, y: 3}]}").value == {"a": {"x": 1, "y": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' stands twice"),
        ("a: 1\n'a': 2", "line 2: key 'a' stands twice"),
        ("? [a]\n: b", "line 1: a key must be a word"),
        ("a: {<<: 3}", "line 1: '<<' must merge a mapping"),
        ("a: &x [*x]", "line 1: an alias must not contain itself"),
        ("\na: &x {b: [*x]}", "line 2: an alias must not contain itself"),
        ("a:\n\t- b", "line 2: must be indented with spaces, found a tab"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "line 1: must be plain values without tags, found '!!python/object/apply:os.system'",
        ),
        (
            "a: !!python/name:os.system ''",
            "line 1: must be plain values without tags, found '!!python/name:os.system'",
        ),
        ("!!python/none a: 1", "line 1: must be plain values without tags, found '!!python/none'"),
        ("a:\n  !!set {b}", "line 2: must be plain values without tags, found '!!set'"),
        ("a: !!binary aGk=", "line 1: must be plain values without tags, found '!!binary'"),
        ("a: !own x", "line 1: must be plain values without tags, found '!own'"),
        ("a: !!int x", "line 1: 'x' can't be read as !!int"),
        ("a: !!int ''", "line 1: '' can't be read as !!int"),
        ("a: !!float x", "line 1: 'x' can't be read as !!float"),
        ("a: !!bool x", "line 1: 'x' can't be read as !!bool"),
        ("a: 0x_", "line 1: '0x_' can't be read as !!int"),
        (f"a: {'9' * 101}", "line 1: a number must have at most 100 characters, found 101"),
        (f"a: 0x{'f' * 99}", "line 1: a number must have at most 100 characters, found 101"),
        ("a: 1\nb: \x00", "line 2: must be text, found the character U+0000"),
        ("a: 1\n\nb: \x1b[31m", "line 3: must be text, found the character U+001B"),
        (b"a: 1\nb: caf\xe9\n", "line 2: must be UTF-8, found byte 0xe9"),
        (b"\xff\xfea\x00", "line 1: must be UTF-8, found byte 0xff"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text, message):
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1,", 1),
        ("a: b: c", 1),
        ("a: 1\nb: *nowhere", 2),
        ("--- a\n--- b", 2),
        ("a: 1\n- b", 2),
    ],
)
def test_broken_syntax_is_refused_in_the_parser_s_words_on_its_line(text, line):
    assert refusal(text).startswith(f"line {line}: must be YAML, found: ")
    assert "\n" not in refusal(text)


def test_depth_is_bounded():
    fitting = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert str(parse(fitting.encode()).value) == fitting
    assert refusal(f"[{fitting}]") == "line 1: must nest at most 20 levels deep"
    assert refusal("[" * 100_000) == "line 1: must nest at most 20 levels deep"


def test_depth_is_bounded_where_aliases_pile_up():
    lines = ["a0: &a0 [[[1]]]", *(f"a{i}: &a{i} [[[*a{i - 1}]]]" for i in range(1, 2000))]
    assert refusal("\n".join(lines)) == (
        "line 1: must nest at most 20 levels deep, aliases counted in full"
    )


def test_merges_may_not_pile_up_either():
    lines = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: *a{i - 1}}}" for i in range(1, 2000))]
    assert "must nest at most 20 levels deep" in refusal("\n".join(lines))


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert refusal("\n".join(lines)).endswith(
        f"must hold at most {MAX_NODES} values, aliases counted in full"
    )


def test_size_is_bounded(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * MAX_BYTES)
    assert read(path).value is None
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(YamlError, match=r"^must be at most 1000000 bytes, found more$"):
        read(path)


def test_a_file_that_can_t_be_read_says_why(tmp_path):
    with pytest.raises(YamlError, match=r"^must be a readable file, found: no such file or dir"):
        read(tmp_path / "nowhere.yaml")
    with pytest.raises(YamlError, match=r"^must be a readable file, found: is a directory$"):
        read(tmp_path)
    with pytest.raises(YamlError, match=r"^must be a readable file, found: embedded null byte$"):
        read(tmp_path / "a\0b")
