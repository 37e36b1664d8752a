import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray

from ablation.cluster import ClusterError, Resources, cluster, gpus_per_trial

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("gpus", "there", "expected"),
    [
        (None, {"CPU": 2.0}, 0.0),
        (None, {"CPU": 8.0, "GPU": 4.0}, 1.0),
        (0.5, {"CPU": 8.0, "GPU": 1.0}, 0.5),
        (0.0, {"CPU": 8.0, "GPU": 1.0}, 0.0),
    ],
)
def test_a_trial_takes_a_whole_gpu_where_there_is_one_unless_told_otherwise(gpus, there, expected):
    assert gpus_per_trial(Resources(cpus=1, gpus=gpus), there) == expected


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (Resources(cpus=3), r"asked for 3 CPUs of 2 \(--cpus-per-trial\)"),
        (Resources(cpus=1, gpus=0.5), r"asked for 0.5 GPUs of 0 \(--gpus-per-trial\)"),
    ],
)
def test_a_trial_that_ray_would_wait_for_forever_is_refused(resources, message):
    with pytest.raises(ValueError, match=message):
        gpus_per_trial(resources, {"CPU": 2.0})


@pytest.mark.parametrize(
    ("address", "where", "remedy"),
    [
        (None, "on this machine", "with less else at work"),
        (
            "10.0.0.1:6379",
            "at 10.0.0.1:6379",
            r"where its head is up and under its token \(RAY_AUTH_MODE=token\), if it has one",
        ),
    ],
)
def test_a_ray_that_does_not_start_is_no_traceback(monkeypatch, address, where, remedy):
    def init(**settings):
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", init)
    found = "The current node timed out during startup."
    rule = f"{where}, found: {found}; nothing is lost: start again, {remedy}, or see"
    with (
        pytest.raises(ClusterError, match=rule),
        cluster(Resources(cpus=1, address=address)),
    ):
        pass
    assert issubclass(ClusterError, OSError)  # which the runner answers with exit status 2


THP = "THP_MEM_ALLOC_ENABLE"


def test_the_workers_of_a_users_cluster_are_given_the_switches_that_torch_reads(monkeypatch):
    asked = {}
    monkeypatch.setattr(ray, "init", lambda **settings: asked.update(settings))
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setenv(THP, "0")  # as the user has it
    with cluster(Resources(cpus=1, address="10.0.0.1:6379")):
        variables = asked["runtime_env"]["env_vars"]
    assert variables[THP] == "0"
    assert variables["MALLOC_MMAP_THRESHOLD_"] == "33554432"
    assert variables["MALLOC_TRIM_THRESHOLD_"] == "268435456"
    assert Path(variables["PYTHONPATH"]).samefile(ROOT)


@pytest.mark.parametrize(("users", "seen"), [(None, "1"), ("0", "0")])
def test_large_pages_are_on_unless_the_user_has_said_otherwise(users, seen):
    others = {name: value for name, value in os.environ.items() if name != THP}
    environment = others if users is None else others | {THP: users}
    code = f"import os, ablation; print(os.environ['{THP}'])"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip() == seen


def faults_of_twenty_steps() -> int:
    """Pages that the kernel hands out while 20 MB are taken and freed again and again."""

    def step() -> None:
        for part in [np.ones(2**17) for _ in range(20)]:
            assert part[-1] == 1

    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="the switches are glibc's")
def test_a_worker_on_this_machine_keeps_its_memory_between_steps():
    with cluster(Resources(cpus=1)):
        count = ray.get(ray.remote(num_cpus=0)(faults_of_twenty_steps).remote())
    assert count < 20 * 5120 / 10  # 20 MB are 5 120 pages


def test_a_worker_on_this_machine_takes_its_large_tensors_in_large_pages():
    with cluster(Resources(cpus=1)):
        look = ray.remote(num_cpus=0)(lambda: os.environ.get(THP))
        assert ray.get(look.remote()) == os.environ[THP]
