"""Where trials run: Ray on this machine, on loopback only, or a cluster that the user names."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray


class ClusterError(ConnectionError):
    """Ray does not start here, or does not answer where the user said it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one trial reserves and where trials run: nothing that its result is made of."""

    cpus: float
    gpus: float | None = None  # None: a whole one each where the cluster has any
    address: str | None = None  # of a running Ray cluster; None starts one on this machine
    at_once: int | None = None  # at most so many trials beside one another
    checkpoint_epochs: int = 1  # a checkpoint after every so many epochs; 0: none
    retries: int = 2  # O: of a killed process, a lost node or a fault that may not come again
    micro_batch: int | None = None  # utterances that pass through the model at once; None: a batch
    recompute: bool = False  # the layers' activations in the backward pass, rather than keep them
    deterministic: bool = False  # on a GPU, only kernels that give the same twice


@contextmanager
def cluster(resources: Resources) -> Iterator[float]:
    """Start Ray on this machine, on loopback only, or join the cluster that the user names.

    Yields the GPUs that each trial reserves.
    """
    here = str(Path(__file__).resolve().parent.parent)
    if resources.address is None:
        # Workers inherit it; a runtime environment would start an agent of its own.
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([here, *filter(None, before)]))
    try:
        ray.init(
            address=resources.address or "local",
            include_dashboard=None if resources.address else False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": here}} if resources.address else None,
        )
    except Exception as error:  # of a slow start Ray raises no narrower one
        ray.shutdown()
        where = f"at {resources.address}" if resources.address else "on this machine"
        raise ClusterError(
            f"Ray must start or answer {where}, found: {' '.join(str(error).split())}; nothing is "
            "lost: start again, with less else at work, or see `runner.py doctor`"
        ) from error
    try:
        yield gpus_per_trial(resources, ray.cluster_resources())
    finally:
        ray.shutdown()


def gpus_per_trial(resources: Resources, there: Mapping[str, float]) -> float:
    """Refuse what Ray would wait for forever: a trial larger than the whole cluster."""
    gpus = float(there.get("GPU", 0) > 0) if resources.gpus is None else resources.gpus
    for kind, wanted in (("CPU", resources.cpus), ("GPU", gpus)):
        if wanted > there.get(kind, 0):
            raise ValueError(
                f"a trial must fit on the machine, asked for {wanted:g} {kind}s of "
                f"{there.get(kind, 0):g} (--{kind.lower()}s-per-trial)"
            )
    return gpus
