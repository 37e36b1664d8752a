import pytest
import ray

from ablation.cluster import ClusterError, Resources, cluster, gpus_per_trial


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
    ("address", "where"), [(None, "on this machine"), ("10.0.0.1:6379", "at 10.0.0.1:6379")]
)
def test_a_ray_that_does_not_start_is_no_traceback(monkeypatch, address, where):
    def init(**settings):
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", init)
    rule = f"Ray must start or answer {where}, found: The current node timed out during startup.; "
    with (
        pytest.raises(ClusterError, match=rule),
        cluster(Resources(cpus=1, address=address)),
    ):
        pass
    assert issubclass(ClusterError, OSError)  # which the runner answers with exit status 2
