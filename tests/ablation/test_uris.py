import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablation.uris import redacted

MARK = "zQ7kX"  # in the middle of every secret, and nowhere else
PRINTABLE = "".join(sorted(set(string.printable) - set(string.whitespace)))
AROUND = st.text(PRINTABLE + " \n\t", max_size=30).filter(lambda text: MARK not in text)
SCHEMES = st.sampled_from(["http", "https", "postgresql", "mysql+pymysql", "mssql+pyodbc"])
NAMES = st.text(string.ascii_letters + string.digits + "._-%", max_size=8)
HOSTS = st.sampled_from(["db", "127.0.0.1:5432", "[::1]:5000", "mlflow.example.org"])


def secrets(alphabet=PRINTABLE):
    part = st.text(alphabet, max_size=8)
    return st.tuples(part, part).map(MARK.join)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ser:secret@db:5432/mlflow", "postgresql://***@db:5432/mlflow"),
        ("https://token@mlflow.org/a?b=c", "https://***@mlflow.org/a?b=c"),
        ("redis://:secret@db/0", "redis://***@db/0"),
        ("'postgresql://u:a/b?c#d:e@f@db/x' fails", "'postgresql://***@db/x' fails"),
        ("mysql+pymysql://u:my secret@db/x fails", "mysql+pymysql://***@db/x fails"),
        ("postgresql:/u:secret@db/x", "***@db/x"),
        ("u:secret@db", "***@db"),
        ("postgresql://db/x?user=u&password=a#b&sslmode=require", None),
        ("http://h/?token=abc and ?access_token=abc", "http://h/?token=*** and ?access_token=***"),
        ("?sslpassword=1&API_KEY=2&n=3", "?sslpassword=***&API_KEY=***&n=3"),
        ("host=db password='two words' user=u", "host=db password=*** user=u"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Ds", "mssql+pyodbc:///?odbc_connect=***"),
        ("one://a:b@c two://d:e@f", "one://***@c two://***@f"),
    ],
)
def test_a_secret_is_replaced_and_the_rest_stays(text, shown):
    assert redacted(text) == (shown or "postgresql://db/x?user=u&password=***&sslmode=require")


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/runs/mlflow.db is locked",
        "file:///tmp/a@b",
        "http://localhost:5000 is down; ask admin@example.org",
        "http://localhost:5000: refused; ask admin@example.org",
        "http://[::1]:5000 refused",
        "(Background on this error at: https://sqlalche.me/e/20/e3q8)",
        "UPDATE runs SET status=? WHERE runs.run_uuid = ?\n[parameters: ('a@b',)]",
        "passwords and tokens are hidden",
        "",
    ],
)
def test_text_without_a_secret_stays_as_it_is(text):
    assert redacted(text) == text


@settings(max_examples=200, deadline=None)
@given(AROUND, SCHEMES, NAMES, secrets(), HOSTS, AROUND)
def test_no_password_survives(before, scheme, user, password, host, after):
    shown = redacted(f"{before}{scheme}://{user}:{password}@{host}{after}")
    assert MARK not in shown


@settings(max_examples=200, deadline=None)
@given(AROUND, SCHEMES, secrets().filter(lambda text: not text.startswith("/")), HOSTS, AROUND)
def test_no_token_survives(before, scheme, token, host, after):
    assert MARK not in redacted(f"{before}{scheme}://{token}@{host}{after}")


@settings(max_examples=200, deadline=None)
@given(AROUND, SCHEMES, NAMES, secrets(PRINTABLE.replace("@", "") + "  "), HOSTS, AROUND)
def test_no_password_with_blanks_in_it_survives(before, scheme, user, password, host, after):
    assert MARK not in redacted(f"{before}{scheme}://{user}:p{password}@{host}{after}")


@settings(max_examples=200, deadline=None)
@given(
    AROUND,
    SCHEMES,
    HOSTS,
    st.sampled_from(["password", "token", "access_token", "sslpassword", "PWD", "client-secret"]),
    secrets(PRINTABLE.replace("&", "")),
    AROUND,
)
def test_no_secret_parameter_survives(before, scheme, host, name, secret, after):
    assert MARK not in redacted(f"{before}{scheme}://{host}/db?x=1&{name}={secret}&y=2{after}")


@settings(max_examples=200, deadline=None)
@given(SCHEMES, NAMES, secrets(), HOSTS)
def test_scheme_and_host_stay(scheme, user, password, host):
    assert redacted(f"{scheme}://{user}:{password}@{host}/db") == f"{scheme}://***@{host}/db"


@settings(max_examples=200, deadline=None)
@given(st.text(PRINTABLE + " \n", max_size=80))
def test_what_is_hidden_once_stays_as_it_is(text):
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "piece", ["a://b:c ", "a://", "@", "//@ ", "password=", "password='", "a", "a://b:c@", ":"]
)
def test_a_megabyte_of_hostile_text_is_read_through(piece):
    text = piece * (1_000_000 // len(piece))
    shown = redacted(f"{text}\none://a:b@c")  # in quadratic time this would take hours
    assert shown.endswith("\none://***@c")
