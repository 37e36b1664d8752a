"""The columns that may stand beside: parts of files, sessions, folds and genders."""

import pytest

from tests.core.corpora.manifests import HEADER, ROWS, names, problems, read

NOT_SECONDS = "must be a finite number of seconds, 0 or more, found"


def test_parts_of_a_file_may_overlap_and_are_told_apart_by_every_digit(folder):
    rows = "a.wav,angry,s1,0,1\na.wav,sad,s2,0.5,1.0000001\na.wav,sad,s2,.5,1.00000011\n"
    assert names(read(folder, "path,label,speaker,start_s,end_s\n" + rows)) == [
        "a#0-1",
        "a#0.5-1.0000001",
        "a#0.5-1.00000011",
    ]


@pytest.mark.parametrize("values", [("", ""), None], ids=["empty", "no column"])
def test_the_session_is_the_speaker_where_none_is_given(folder, values):
    if values is None:
        parsed = read(folder, HEADER + ROWS)
    else:
        parsed = read(folder, "path,label,speaker,session\na.wav,angry,s1,\nb.wav,sad,s2,\n")
    assert [u.session for u in parsed.utterances] == ["s1", "s2"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            "a.wav,angry,s1,-1,2\nb.wav,sad,s2,nan,inf\nc.wav,sad,s2,1_0,0x1\n"
            'e.flac,sad,s2,"1,5",1e999\nsub/d.WAV,sad,s2,one,٣\n',
            [
                f"line 2: start_s {NOT_SECONDS} '-1'",
                f"line 3: start_s {NOT_SECONDS} 'nan'",
                f"line 3: end_s {NOT_SECONDS} 'inf'",
                f"line 4: start_s {NOT_SECONDS} '1_0'",
                f"line 4: end_s {NOT_SECONDS} '0x1'",
                f"line 5: start_s {NOT_SECONDS} '1,5'",
                f"line 5: end_s {NOT_SECONDS} '1e999'",
                f"line 6: start_s {NOT_SECONDS} 'one'",
                f"line 6: end_s {NOT_SECONDS} '٣'",
            ],
        ),
        (
            "a.wav,angry,s1,2,2\nb.wav,sad,s2,2.5,1\nc.wav,sad,s2,,0\ne.flac,sad,s2,3,\n",
            [
                "line 2: end_s must be greater than start_s, which is 2, found 2",
                "line 3: end_s must be greater than start_s, which is 2.5, found 1",
                "line 4: end_s must be greater than start_s, which is 0, found 0",
            ],
        ),
        (
            "a.wav,angry,s1,1,2\nb.wav,sad,s2,,\na.wav,sad,s2,1.0,2\nb.wav,sad,s2,0,\n"
            "c.wav,sad,s2,,3\nc.wav,sad,s2,0,3\n",
            [
                "line 4: path and span must be those of one row, found them on line 2 too: "
                "'a.wav#1-2'",
                "line 5: path and span must be those of one row, found them on line 3 too: "
                "'b.wav#0-'",
                "line 7: path and span must be those of one row, found them on line 6 too: "
                "'c.wav#0-3'",
            ],
        ),
    ],
)
def test_every_defect_of_a_span_is_named_by_its_line(folder, rows, expected):
    assert problems(folder, f"path,label,speaker,start_s,end_s\n{rows}") == expected


def test_a_file_that_is_named_like_a_part_of_another_is_refused(folder):
    (folder / "a.wav#1-2").touch()
    rows = "a.wav,angry,s1,1,2\na.wav#1-2,sad,s2,,\n"
    assert problems(folder, f"path,label,speaker,start_s,end_s\n{rows}") == [
        "line 3: path and span must be those of one row, found them on line 2 too: 'a.wav#1-2'"
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            "a.wav,angry,s1,1,,\nb.wav,sad,s2,,,\nc.wav,sad,s2,2,,\n",
            [
                "line 3: fold must be filled in every row or in none, "
                "found '1' on line 2 and nothing on line 3"
            ],
        ),
        (
            "a.wav,angry,s1,,,\nb.wav,sad,s2,,,\nc.wav,sad,s2,,x,\n",
            [
                "line 2: session must be filled in every row or in none, "
                "found 'x' on line 4 and nothing on lines 2, 3"
            ],
        ),
        (
            "a.wav,angry,s1,1,,\nb.wav,sad,s2,2,,\nc.wav,sad,s1,2,,\ne.flac,sad,s1,2,,\n"
            "sub/d.WAV,sad,s1,3,,\n",
            [
                "line 4: speaker 's1' must have one fold, found '2' and, on line 2, '1'",
                "line 6: speaker 's1' must have one fold, found '3' and, on line 2, '1'",
            ],
        ),
        (
            "a.wav,angry,s1,1,,\nb.wav,sad,s2,1,,\n",
            ["line 2: fold must name two folds or more, found '1' in every row"],
        ),
        (
            "a.wav,angry,s1,,,F\nb.wav,sad,s2,,,\nc.wav,sad,s1,,,M\ne.flac,sad,s1,,,M\n",
            ["line 4: speaker 's1' must have one gender, found 'M' and, on line 2, 'F'"],
        ),
        (
            "a.wav,angry,s1,,,f\nb.wav,sad,s2,,,female\nc.wav,sad,s1,,,\x1b\n",
            [
                "line 2: gender must be F, M or empty, found 'f'",
                "line 3: gender must be F, M or empty, found 'female'",
                r"line 4: gender must be F, M or empty, found '\x1b'",
            ],
        ),
    ],
)
def test_every_defect_of_folds_sessions_and_genders_is_named_by_its_lines(folder, rows, expected):
    content = f"path,label,speaker,fold,session,gender\n{rows}"
    assert problems(folder, content) == expected


def test_many_rows_without_a_fold_are_one_problem(folder):
    rows = "".join(f"a.wav,{'angry' if n else 'sad'},s{n},{n},{n + 1},\n" for n in range(9))
    content = f"path,label,speaker,start_s,end_s,fold\nb.wav,sad,s1,,,1\n{rows}"
    assert problems(folder, content) == [
        "line 3: fold must be filled in every row or in none, "
        "found '1' on line 2 and nothing on lines 3, 4, 5, 6, 7 and 4 more"
    ]


def test_a_speaker_may_lack_a_gender_in_some_rows(folder):
    content = f"{HEADER.strip()},gender\na.wav,angry,s1,\nb.wav,sad,s2,M\nc.wav,sad,s1,F\n"
    assert [u.gender for u in read(folder, content).utterances] == ["", "M", "F"]
