"""The verb `ui`: MLflow's own server on loopback, and its pages of experiments."""

import os
import sys
from argparse import Namespace

UI_VIEW = "workflowType=machine_learning"  # else MLflow opens its pages for language models
DONE = 0


def browse(options: Namespace) -> int:
    """Hand this process over to MLflow's UI; returns only where there is none to start.

    Raises:
        ValueError: there is no database of earlier runs.
    """
    database = options.runs / "mlflow.db"
    if not options.tracking_uri and not database.is_file():
        text = f"{database} must be the database of earlier runs, found none; run a grid first"
        raise ValueError(text)
    if (options.tracking_uri or "").startswith("http"):
        print("that MLflow server has its own UI: open its address in a browser")
        return DONE
    uri = options.tracking_uri or f"sqlite:///{database.resolve()}"
    # Not among the words, which every user of the machine can read: it may hold a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    words = ["mlflow", "ui", "--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"]
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # a dozen idle processes otherwise
    print(
        f"MLflow's UI: http://127.0.0.1:{options.port}/#/experiments?{UI_VIEW} (stop with Ctrl+C)",
        flush=True,
    )
    return os.execv(sys.executable, [sys.executable, "-m", *words])
