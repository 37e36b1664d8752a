"""From a grid file to a table: expansion, scheduling, tracking, aggregation, reports.

Ray and MLflow read these switches when they are imported, whoever imports them first, and torch at
its first large tensor; hence here. Ray's workers on this machine inherit them.
"""

import os

for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in a grid are meant from where it is run
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every listener on 127.0.0.1; no node can join
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the home folder
    "RAY_AIR_NEW_OUTPUT": "0",  # our own progress display
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a trial without a GPU sees the machine as it is
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # 30 ms and 0.5 MB a trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # our own, which stops between two steps
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # a state that nobody restores, for 5 % of the time
    "TUNE_WARN_THRESHOLD_S": "60",
    # torch then takes large tensors in pages of 2 MB: the same bits, a quarter less time on the CPU
    # (measured: a step of Whisper tiny 374 instead of 487 ms).
    "THP_MEM_ALLOC_ENABLE": "1",
    # A step's memory stays with its process: handed back, as glibc would after each step, it has to
    # be filled with zeros again (measured: half a second of a fold of the demo that takes three).
    # Read when a process starts, hence by Ray's workers and not by this one.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the most that glibc itself would come to
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # else it prints every step of creating its database
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a fold, user and password in them
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the recorder tries again, and knows what arrived
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # seconds; 10 000 runs are read in a sixth of that
}.items():
    os.environ.setdefault(_name, _value)
