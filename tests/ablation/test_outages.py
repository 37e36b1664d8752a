import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    REQUEST_LIMIT_EXCEEDED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from ablation.outages import described, may_pass


def caused_by(cause, error):
    """As MLflow raises its own error while it handles another's."""
    error.__context__ = cause
    return error


def answered(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} for url: http://127.0.0.1/artifacts", response=response)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("refused"),
        TimeoutError("too slow"),
        requests.ConnectionError("reset"),
        answered(503),
        answered(429),
        MlflowException("database is locked", TEMPORARILY_UNAVAILABLE),
        MlflowException("slow down", REQUEST_LIMIT_EXCEEDED),
        RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "starting up"}),
        caused_by(requests.ConnectionError("refused"), MlflowException("failed", INTERNAL_ERROR)),
        MlflowException("(psycopg2.InterfaceError) connection already closed", BAD_REQUEST),
        sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection")),
    ],
    ids=repr,
)
def test_these_may_pass(error):
    assert may_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        answered(403),
        MlflowException("no such run", RESOURCE_DOES_NOT_EXIST),
        MlflowException("a tag that is too long", INVALID_PARAMETER_VALUE),
        MlflowException("not yours", PERMISSION_DENIED),
        MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed", BAD_REQUEST),
        caused_by(requests.exceptions.InvalidURL("no host"), MlflowException("Invalid url")),
        sqlalchemy.exc.DatabaseError("SELECT 1", {}, Exception("file is not a database")),
        ValueError("result.json must be a finished fold"),
        KeyError("plain"),
        PermissionError("artifacts"),
    ],
    ids=repr,
)
def test_these_do_not_pass(error):
    assert not may_pass(error)


def test_an_error_is_described_on_one_line_without_its_secrets():
    error = ConnectionError("can't reach\n  postgresql://ser:secret@db/mlflow?sslpassword=secret")
    shown = "ConnectionError: can't reach postgresql://***@db/mlflow?sslpassword=***"
    assert described(error) == shown
