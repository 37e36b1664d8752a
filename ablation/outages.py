"""Which of MLflow's errors may pass, so that trying again makes sense."""

from http import HTTPStatus

import requests
import sqlalchemy.exc

from ablation.uris import redacted

# MLflow and what it is built on can't be reached, or ask to be left alone for a while.
_PASSING = (
    ConnectionError,
    TimeoutError,
    requests.RequestException,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.TimeoutError,
)
# MLflow answers 400 to these, and means the connection between itself and its database.
_DATABASE_GONE = ("InterfaceError", "PendingRollbackError", "InvalidatePoolError")


def may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later: no answer, a server's own failure, a locked or
    restarting database. What MLflow has understood and refuses does not pass."""
    if isinstance(error.__cause__ or error.__context__, ValueError):  # a wrong address, say
        return False
    status = _status(error)
    if status is None:
        return isinstance(error, _PASSING)
    if status == HTTPStatus.BAD_REQUEST:
        return any(name in str(error) for name in _DATABASE_GONE)
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    )


def described(error: Exception) -> str:
    """The error on one line, without secrets."""
    return " ".join(redacted(f"{type(error).__name__}: {error}").split())


def _status(error: Exception) -> int | None:
    """The HTTP status that an error stands for; MLflow's errors have one without HTTP too."""
    if ask := getattr(error, "get_http_status_code", None):
        return int(ask())
    if isinstance(error, requests.RequestException) and error.response is not None:
        return error.response.status_code
    return None
