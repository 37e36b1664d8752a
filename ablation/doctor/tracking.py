"""Can MLflow's runs be written where they are to go: a server, a SQLite file, a database?"""

import configparser
import json
import os
import sqlite3
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from ablation.doctor.findings import Finding, ok, one_line, problem, warning
from ablation.doctor.machine import folder_finding
from ablation.uris import HIDDEN, redacted

NAME = "tracking"
ANSWER_S = 5.0
DATABASE_S = 60.0  # O: importing the driver from a slow disk takes most of it
LOCKED_S = 2.0  # O: an epoch's metrics are written in milliseconds
CHECKED_BYTES = 200_000_000  # O: a larger file would keep people waiting
MOST_BYTES = 100_000  # of an answer
OWN = "leave --tracking-uri and MLFLOW_TRACKING_URI out: runs/mlflow.db needs no server"
DIALECTS = ("postgresql", "mysql", "mssql")
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
TRUSTED = "MLFLOW_TRACKING_SERVER_CERT_PATH"
CREDENTIALS = Path(".mlflow") / "credentials"
QUERY = "api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


def tracking_finding(uri: str, runs: Path, environment: Mapping[str, str]) -> Finding:
    """Whether MLflow can be written to under this address; nothing is written to it."""
    scheme = uri.partition(":")[0].lower() if "://" in uri else ""
    dialect = scheme.partition("+")[0]
    if scheme in ("http", "https"):
        return _server(uri, environment)
    if dialect == "sqlite":
        return _sqlite(uri, runs)
    if dialect in DIALECTS:
        return _database(uri)
    if scheme in ("", "file"):
        return _folder(uri, environment)
    text = f"{redacted(uri)} can't be looked at from here"
    return warning(NAME, text, f"an address of http(s), sqlite or a database; or {OWN}")


def _server(uri: str, environment: Mapping[str, str]) -> Finding:
    """Ask the server whether it is well, and then something that needs the right to read."""
    shown = redacted(uri)
    start = f"start it (mlflow server), mend its address, or {OWN}"
    trusted = environment.get(TRUSTED)
    if trusted and not Path(trusted).is_file():
        return problem(NAME, f"{TRUSTED} must be a file, found none at {trusted}", "mend it")
    try:
        status, _ = _get(uri, "health", environment)
        if status != 200:
            return problem(NAME, f"{shown} answers /health with status {status}", start)
        status, body = _get(uri, QUERY, environment, authorised=True)
    except configparser.Error:  # its words would quote the file
        text = f"~/{CREDENTIALS} must be a file of MLflow's credentials, found another"
        return problem(NAME, text, "mend it or remove it")
    except URLError as error:
        text = f"{shown} does not answer: {one_line(str(error.reason))}"
        if isinstance(error.reason, ssl.SSLError):
            start = f"{TRUSTED}=FILE with the certificate of its authority"
        return problem(NAME, text, start)
    except OSError as error:
        return problem(NAME, f"{shown} does not answer: {one_line(str(error))}", start)
    except (HTTPException, ValueError):  # their words may hold a part of the password
        text = f"{shown} is no address, or what answers there speaks no HTTP"
        return problem(NAME, text, "in a password, write @ as %40, / as %2F and : as %3A")
    if status in (401, 403):
        text = f"{shown} answers, and refuses these credentials (status {status})"
        remedy = (
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or _TOKEN; or ask its owner"
        )
        return problem(NAME, text, remedy)
    if status == 200 or "RESOURCE_DOES_NOT_EXIST" in body:
        return ok(NAME, f"{shown} answers")
    text = f"{shown} answers, but not as MLflow does: status {status}"
    return problem(NAME, text, f"mend its address (a path may be missing), or {OWN}")


def _get(
    uri: str, path: str, environment: Mapping[str, str], authorised: bool = False
) -> tuple[int, str]:
    """Status and beginning of an answer; credentials go to that server alone."""
    parts = urlsplit(uri)
    _, _, place = parts.netloc.rpartition("@")
    address = urlunsplit((parts.scheme, place, f"{parts.path.rstrip('/')}/", "", ""))
    request = Request(f"{address}{path}")
    if authorised and (authorization := _authorization(uri, environment)):
        request.add_unredirected_header("Authorization", authorization)
    context = ssl.create_default_context(cafile=environment.get(TRUSTED) or None)
    if environment.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urlopen(request, timeout=ANSWER_S, context=context) as answer:
            return answer.status, answer.read(MOST_BYTES).decode(errors="replace")
    except HTTPError as error:
        with error:
            return error.code, error.read(MOST_BYTES).decode(errors="replace")


def _authorization(uri: str, environment: Mapping[str, str]) -> str:
    """The header that MLflow would send: of the address, the environment or its own file."""
    parts = urlsplit(uri)
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    filed = configparser.ConfigParser(interpolation=None)
    filed.read(Path(environment.get("HOME") or "/") / CREDENTIALS, encoding="utf-8")
    user, password = (
        environment.get(name, "") or filed.get("mlflow", name.lower(), fallback="")
        for name in names
    )
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or "")
    if user and password:
        return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else ""


def _sqlite(uri: str, runs: Path) -> Finding:
    """A file that is there must be MLflow's and writable; one that is not must be possible."""
    path = Path(uri.partition("://")[2].partition("?")[0].removeprefix("/"))
    if path.name in ("", ":memory:"):
        text = f"{redacted(uri)} is kept in memory and ends with the run"
        return warning(NAME, text, OWN)
    if not os.path.lexists(path):
        found = folder_finding(NAME, path.parent, "--runs DIR, or another --tracking-uri")
        return found if found.state != "ok" else ok(NAME, f"{path} will be made")
    move = f"move it away: the next run fills a new one from {runs / 'folds'}"
    rights = "give yourself the right to write it and its folder, or --runs DIR"
    if not os.access(path, os.W_OK):  # SQLite would take even its lock on what it can only read
        return problem(NAME, f"{path} can't be written by this user", rights)
    try:
        strange = _strange(path)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            text = f"{path} is locked: another process writes to it for longer than {LOCKED_S:g} s"
            return warning(NAME, text, "wait for that process, or end it")
        return problem(NAME, f"{path} can't be opened: {error}", rights)
    except sqlite3.DatabaseError as error:
        return problem(NAME, f"{path} is damaged: {one_line(str(error))}", move)
    if strange:
        return problem(NAME, f"{path} {strange}", move)
    folder = folder_finding(NAME, path.parent, rights)
    return ok(NAME, f"{path} can be written") if folder.state == "ok" else folder


def _strange(path: Path) -> str:
    """What is not as it must be in a SQLite file; asks for its lock and gives it back."""
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    with closing(
        sqlite3.connect(address, uri=True, timeout=LOCKED_S, isolation_level=None)
    ) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
        connection.execute("begin immediate")
        connection.execute("rollback")
        if tables and "experiments" not in tables:
            return f"is a database of something else: {one_line(', '.join(sorted(tables)), 80)}"
        if path.stat().st_size <= CHECKED_BYTES:
            (verdict,) = connection.execute("pragma quick_check(1)").fetchone()
            if verdict != "ok":
                return f"is damaged: {one_line(verdict)}"
    return ""


def _database(uri: str) -> Finding:
    """Connect as MLflow would, in a process of its own."""
    shown = redacted(uri)
    here = str(Path(__file__).resolve().parent.parent)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "ablation.doctor.database_probe"],
            input=uri,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DATABASE_S,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"{shown} does not answer within {DATABASE_S:g} s"
        return problem(NAME, text, f"mend its address or start it, or {OWN}")
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        text = f"{shown} could not be tried: {_hushed(one_line(last), uri)}"
        return problem(NAME, text, "install the packages that are named above")
    answer = json.loads(ended.stdout.strip().rpartition("\n")[2])
    if not answer["fault"]:
        return ok(NAME, f"{shown} answers")
    text = f"{shown}: {_hushed(one_line(answer['fault']), uri)}"
    if missing := answer["missing"]:
        return problem(NAME, text, f"pip install '{PACKAGES.get(missing, missing)}'")
    return problem(NAME, text, f"mend its address or its rights, or start it; or {OWN}")


def _hushed(text: str, uri: str) -> str:
    """A driver's words without the password, however it wrote it."""
    try:
        password = urlsplit(uri).password or ""
    except ValueError:
        return HIDDEN
    for secret in sorted({password, unquote(password)} - {""}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _folder(uri: str, environment: Mapping[str, str]) -> Finding:
    """MLflow 3.17 refuses plain folders unless it is told to take them."""
    if ":" in uri.removeprefix("file:"):
        text = f"{redacted(uri)} must begin with its kind, as http:// or sqlite:/// do"
        return problem(NAME, text, f"mend its address, or {OWN}")
    text = f"{redacted(uri)} is a folder of files"
    if environment.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
        return ok(NAME, f"{text}, which MLFLOW_ALLOW_FILE_STORE allows")
    remedy = f"sqlite:///FILE as --tracking-uri, or {OWN}"
    return problem(NAME, f"{text}, which MLflow refuses", remedy)
