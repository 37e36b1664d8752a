"""Where trials run: Ray on this machine, on loopback only, or a cluster that the user names."""

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import ray

Item = TypeVar("Item")
Shared = TypeVar("Shared")
Result = TypeVar("Result")

# Switches that the workers of a user's cluster need as well.
PASSED_ON = ("THP_MEM_ALLOC_ENABLE", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


class ClusterError(ConnectionError):
    """Ray does not start here, or does not answer where the user said it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one trial reserves and where trials run: nothing that its result is made of."""

    cpus: float
    gpus: float | None = None  # None: a whole one each where the cluster has any
    packed: bool = False  # on a GPU as many as its memory holds, by measuring; then gpus is None
    address: str | None = None  # of a running Ray cluster; None starts one on this machine
    at_once: int | None = None  # at most so many trials beside one another
    checkpoint_epochs: int = 1  # a checkpoint after every so many epochs; 0: none
    retries: int = 2  # O: of a killed process, a lost node or a fault that may not come again
    micro_batch: int | None = None  # utterances that pass through the model at once; None: a batch
    recompute: bool = False  # the layers' activations in the backward pass, rather than keep them
    deterministic: bool = False  # on a GPU, only kernels that give the same twice
    keep_models: Literal["none", "best", "all"] = "none"  # whose trained weights are kept


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
            runtime_env={"env_vars": _passed_on(here)} if resources.address else None,
        )
    except Exception as error:  # of a slow start Ray raises no narrower one
        ray.shutdown()
        where, remedy = "on this machine", "with less else at work"
        if resources.address:
            where = f"at {resources.address}"
            remedy = "where its head is up and under its token (RAY_AUTH_MODE=token), if it has one"
        raise ClusterError(
            f"Ray must start or answer {where}, found: {' '.join(str(error).split())}; nothing is "
            f"lost: start again, {remedy}, or see `runner.py doctor`"
        ) from error
    try:
        yield gpus_per_trial(resources, ray.cluster_resources())
    finally:
        # What Tune leaves in cycles refers to actors and objects. Collected after the shutdown, it
        # asks Ray for them once more, and Ray ends this process on the spot.
        gc.collect()
        ray.shutdown()


def each(
    work: Callable[[Item, Shared], Result],
    items: Sequence[Item],
    shared: Shared,
    share: tuple[float, float],
    *,
    fresh: bool = False,
) -> list[Result]:
    """What a function makes of each item, in Ray's workers, as many at once as there is room for.

    Args:
        shared: Handed to every call, once to a node.
        share: CPUs and GPUs of one call.
        fresh: Whether each call has a process of its own, which ends with it.
    """
    cpus, gpus = share
    limits = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
    remote = ray.remote(**limits, max_calls=1 if fresh else 0)(work)
    held = ray.put(shared)
    return list(ray.get([remote.remote(item, held) for item in items]))


def _passed_on(here: str) -> dict[str, str]:
    """What the workers of a cluster that was started without us are given."""
    switches = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"PYTHONPATH": here, **switches}


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
