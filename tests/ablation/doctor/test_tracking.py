"""A tracking server, a database or a cluster that is down, refuses, or is something else."""

import socket
import sqlite3
import threading
from base64 import b64encode
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ablation.doctor.cluster import cluster_finding
from ablation.doctor.database_probe import fault_of
from ablation.doctor.findings import ok, problem
from ablation.doctor.tracking import tracking_finding

UNKNOWN = '{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
API = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


class Server(HTTPServer):
    """Answers as it is told, and remembers who asked for what."""

    answers: dict[str, tuple[int, str]]
    asked: list[tuple[str, str | None]]

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        status, body = self.server.answers.get(self.path, (404, "<html>nothing here</html>"))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def servers():
    """As many servers on loopback as a test starts."""
    started: list[tuple[Server, threading.Thread]] = []

    def start(**answers: tuple[int, str]) -> Server:
        server = Server(("127.0.0.1", 0), Handler)
        server.asked = []
        server.answers = {"/health": answers.get("health", (200, "OK"))}
        server.answers[API] = answers.get("api", (200, "{}"))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    """What is found at an address, in a home without credentials."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def of(uri: str, **environment: str):
        return tracking_finding(uri, tmp_path / "runs", {"HOME": str(tmp_path), **environment})

    return of


@pytest.fixture
def closed_port():
    """A port on which nothing listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("answer", [(200, "{}"), (404, UNKNOWN)])
def test_a_server_that_is_up_is_fine(servers, tracking, answer):
    server = servers(api=answer)
    assert tracking(f"http://{server.place}") == ok("tracking", f"http://{server.place} answers")
    assert server.asked == [("/health", None), (API, None)]


def test_a_server_below_a_path_is_asked_there(servers, tracking):
    server = servers()
    server.answers |= {f"/mlflow{path}": answer for path, answer in server.answers.items()}
    assert tracking(f"http://{server.place}/mlflow/").state == "ok"
    assert server.asked[0] == ("/mlflow/health", None)


def test_a_server_that_is_down_is_a_problem(tracking, closed_port):
    finding = tracking(f"http://127.0.0.1:{closed_port}")
    assert finding.state == "problem"
    assert finding.text.startswith(f"http://127.0.0.1:{closed_port} does not answer: ")
    assert finding.text.endswith("Connection refused")
    assert finding.remedy.startswith("start it (mlflow server), mend its address, or leave ")


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ({"health": (503, "busy")}, "answers /health with status 503"),
        ({"api": (404, "<html>")}, "answers, but not as MLflow does: status 404"),
        ({"api": (500, "oops")}, "answers, but not as MLflow does: status 500"),
        ({"api": (401, "who?")}, "answers, and refuses these credentials (status 401)"),
        ({"api": (403, "no")}, "answers, and refuses these credentials (status 403)"),
    ],
)
def test_another_answer_is_a_problem(servers, tracking, answers, text):
    server = servers(**answers)
    finding = tracking(f"http://anna:s3cr%40et@{server.place}")
    assert (finding.state, finding.text) == ("problem", f"http://***@{server.place} {text}")
    assert "s3cr" not in finding.text + finding.remedy


def basic(words: str) -> str:
    return f"Basic {b64encode(words.encode()).decode()}"


@pytest.mark.parametrize(
    ("user", "environment", "header"),
    [
        ("anna:s3cr%40et@", {}, basic("anna:s3cr@et")),
        (
            "",
            {"MLFLOW_TRACKING_USERNAME": "bert", "MLFLOW_TRACKING_PASSWORD": "p"},
            basic("bert:p"),
        ),
        ("", {"MLFLOW_TRACKING_TOKEN": "t0ken"}, "Bearer t0ken"),
        ("", {"MLFLOW_TRACKING_USERNAME": "bert"}, None),
    ],
)
def test_credentials_are_those_that_mlflow_would_send(servers, tracking, user, environment, header):
    server = servers()
    assert tracking(f"http://{user}{server.place}", **environment).state == "ok"
    assert server.asked == [("/health", None), (API, header)]


def test_mlflow_s_own_file_of_credentials_is_read(servers, tracking, tmp_path):
    (tmp_path / ".mlflow").mkdir()
    path = tmp_path / ".mlflow" / "credentials"
    path.write_text("[mlflow]\nmlflow_tracking_username = c\nmlflow_tracking_password = 1%2\n")
    server = servers()
    assert tracking(f"http://{server.place}").state == "ok"
    assert server.asked[1] == (API, basic("c:1%2"))
    path.write_text("s3cret without a section")
    finding = tracking(f"http://{server.place}")
    assert finding.text == (
        "~/.mlflow/credentials must be a file of MLflow's credentials, found another"
    )


def test_credentials_go_to_no_other_server(servers, tracking):
    other = servers()
    server = servers(api=(302, f"http://{other.place}{API}"))
    assert tracking(f"http://anna:s3cret@{server.place}").state == "ok"
    assert other.asked == [(API, None)]


@pytest.mark.parametrize(
    "uri", ["http://anna:s3/cret@host", "http://[::1", "http://127.0.0.1:port/", "http://a b/"]
)
def test_an_address_that_can_t_be_understood_shows_no_part_of_a_password(tracking, uri):
    finding = tracking(uri)
    assert finding.state == "problem"
    assert "is no address, or what answers there speaks no HTTP" in finding.text
    assert "s3" not in finding.text
    assert "cret" not in finding.text


def test_what_speaks_no_http_is_a_problem(tracking):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 a mail server\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        finding = tracking(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert finding.text.endswith(" is no address, or what answers there speaks no HTTP")


def test_a_certificate_s_file_must_be_there(tracking, tmp_path):
    path = tmp_path / "none.pem"
    finding = tracking("https://127.0.0.1", MLFLOW_TRACKING_SERVER_CERT_PATH=str(path))
    text = f"MLFLOW_TRACKING_SERVER_CERT_PATH must be a file, found none at {path}"
    assert (finding.state, finding.text) == ("problem", text)


@pytest.fixture
def database(tmp_path) -> Path:
    """A SQLite file with a table of MLflow's."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table experiments (name text)")
        connection.executemany("insert into experiments values (?)", [("x" * 500,)] * 100)
        connection.commit()
    return path


def test_mlflow_s_own_database_is_fine_and_left_as_it_was(tracking, database):
    before = database.read_bytes()
    assert tracking(f"sqlite:///{database}") == ok("tracking", f"{database} can be written")
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]


def test_a_database_that_is_not_there_yet_is_fine(tracking, tmp_path):
    path = tmp_path / "a" / "b.db"
    assert tracking(f"sqlite:///{path}") == ok("tracking", f"{path} will be made")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_can_t_be_made_is_a_problem(tracking):
    finding = tracking("sqlite:////dev/null/b.db")
    text = "/dev/null can't be written: Not a directory"
    assert finding == problem("tracking", text, "--runs DIR, or another --tracking-uri")


def test_a_folder_in_a_database_s_place_is_a_problem(tracking, tmp_path):
    finding = tracking(f"sqlite:///{tmp_path}")
    assert finding.state == "problem"
    assert finding.text == f"{tmp_path} can't be opened: unable to open database file"


def test_a_file_that_is_no_database_is_a_problem(tracking, tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_text("hello, " * 1000)
    remedy = f"move it away: the next run fills a new one from {tmp_path / 'runs' / 'folds'}"
    text = f"{path} is damaged: file is not a database"
    assert tracking(f"sqlite:///{path}") == problem("tracking", text, remedy)


def test_a_damaged_database_is_a_problem(tracking, database):
    content = database.read_bytes()
    database.write_bytes(content[:8192] + b"\xff" * 4096 + content[12288:])
    finding = tracking(f"sqlite:///{database}")
    assert finding.state == "problem"
    assert finding.text.startswith(f"{database} is damaged: ")


def test_a_database_of_something_else_is_a_problem(tracking, tmp_path):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table recipes (name text)")
    finding = tracking(f"sqlite:///{path}")
    assert finding.text == f"{path} is a database of something else: recipes"


def test_a_locked_database_is_a_warning(tracking, database, monkeypatch):
    monkeypatch.setattr("ablation.doctor.tracking.LOCKED_S", 0.1)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("begin exclusive")
        finding = tracking(f"sqlite:///{database}")
    assert finding.state == "warning"
    assert finding.text.startswith(f"{database} is locked: another process writes to it for longer")


def test_a_database_that_may_only_be_read_is_a_problem(tracking, database, monkeypatch):
    """The superuser may write any file, so the system's answer is made up."""
    monkeypatch.setattr("os.access", lambda path, how: False)
    finding = tracking(f"sqlite:///{database}")
    assert finding.state == "problem"
    assert finding.text == f"{database} can't be written by this user"


def test_runs_kept_in_memory_are_a_warning(tracking):
    assert tracking("sqlite://").state == "warning"
    assert tracking("sqlite:///:memory:").state == "warning"


@pytest.mark.parametrize("uri", ["mlruns", "/srv/mlruns", "file:///srv/mlruns"])
def test_mlflow_s_plain_folders_are_refused_as_mlflow_does(tracking, uri):
    assert tracking(uri).text == f"{uri} is a folder of files, which MLflow refuses"
    assert tracking(uri, MLFLOW_ALLOW_FILE_STORE="true").state == "ok"


def test_an_address_without_its_kind_is_a_problem(tracking):
    finding = tracking("localhost:5000")
    assert finding.state == "problem"
    assert finding.text.startswith("localhost:5000 must begin with its kind, as http://")


def test_what_can_t_be_looked_at_is_a_warning(tracking):
    assert tracking("databricks://profile").state == "warning"


def test_a_database_s_missing_driver_is_named(tracking, tmp_path, monkeypatch):
    (tmp_path / "pg8000.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'pg8000'\", name='pg8000')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = tracking("postgresql+pg8000://anna:s3cret@127.0.0.1/db")
    assert finding == problem(
        "tracking",
        "postgresql+pg8000://***@127.0.0.1/db: No module named 'pg8000'",
        "pip install 'pg8000'",
    )


DRIVER = """
__version__ = "1.31.2"
paramstyle = "format"
class Error(Exception): pass
InterfaceError = Error
def connect(**words): raise Error(f"{words['host']} does not want {words['password']!r}")
"""


def test_a_driver_s_words_show_no_password(tracking, tmp_path, monkeypatch):
    (tmp_path / "pg8000.py").write_text(DRIVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = tracking("postgresql+pg8000://anna:s3cr%40et@127.0.0.1/db")
    assert finding.state == "problem"
    assert "127.0.0.1 does not want '***'" in finding.text
    assert "s3cr" not in finding.text


def test_a_database_that_answers_has_no_fault(tmp_path):
    assert fault_of(f"sqlite:///{tmp_path / 'a.db'}") == {"fault": "", "missing": ""}


def test_a_database_of_no_known_kind_says_so():
    assert "oracel" in fault_of("oracel://host/db")["fault"]


# --- Ray


def test_a_cluster_that_answers_is_fine():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            assert cluster_finding(address, {}).state == "ok"


def test_a_cluster_that_is_down_is_a_problem(closed_port):
    finding = cluster_finding(f"ray://127.0.0.1:{closed_port}", {})
    assert finding.state == "problem"
    assert finding.text.startswith(f"nothing answers at 127.0.0.1, port {closed_port}: ")


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("head:6379", ("head", 6379)),
        ("ray://head:10002", ("head", 10002)),
        ("ray://head", ("head", 10001)),
        ("[::1]:6379", ("::1", 6379)),
    ],
)
def test_an_address_names_host_and_port(address, asked):
    tried: list[tuple[str, int]] = []

    def answers(host: str, port: int) -> str:
        tried.append((host, port))
        return ""

    assert cluster_finding(address, {}, answers).state == "ok"
    assert tried == [asked]


@pytest.mark.parametrize("address", ["head", "http://head:1", "head:port", "auto:1:2", ""])
def test_another_address_is_a_problem(address):
    finding = cluster_finding(address, {}, lambda host, port: "")
    assert finding.state == "problem"
    assert "must be auto, host:port or ray://host:port" in finding.text


def test_auto_is_the_cluster_that_ray_recorded(tmp_path):
    environment = {"RAY_TMPDIR": str(tmp_path)}
    finding = cluster_finding("auto", environment)
    record = tmp_path / "ray" / "ray_current_cluster"
    assert finding.text == f"auto finds no cluster: none is recorded in {record}"
    record.parent.mkdir()
    record.write_text("10.0.0.7:6379\n")
    found = cluster_finding("auto", environment, lambda host, port: "")
    assert found.text.startswith("10.0.0.7, port 6379 answers")
    named = cluster_finding("auto", environment | {"RAY_ADDRESS": "b:1"}, lambda host, port: "")
    assert named.text.startswith("b, port 1 answers")
