import os

import pytest
import torch

from core.devices import (
    best_device,
    computing,
    device_name,
    is_out_of_memory,
    use_deterministic_kernels,
)
from tests.core.small_speech import small_config
from tests.core.small_trainers import make_batcher, make_trainer


@pytest.fixture
def torch_settings(monkeypatch):
    """What `use_deterministic_kernels` changes for a whole process, put back afterwards."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = benchmark
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_the_gpu_is_taken_where_there_is_one(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert best_device().type == expected


def test_the_cpu_is_called_that():
    assert device_name(torch.device("cpu")) == "cpu"


def test_deterministic_kernels_are_asked_for_by_every_way_torch_has(torch_settings):
    torch.backends.cudnn.benchmark = True
    use_deterministic_kernels()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_on_the_cpu_every_part_of_the_method_has_such_kernels_and_nothing_changes(torch_settings):
    config = small_config(training={"epochs": 1}, mixup={"probability": 1.0})
    free = make_trainer(config)
    wanted = free.train_epoch().losses, free.predict(make_batcher(config, "5"))
    use_deterministic_kernels()
    bound = make_trainer(config)
    assert (bound.train_epoch().losses, bound.predict(make_batcher(config, "5"))) == wanted


def test_a_workspace_that_the_user_set_is_kept(torch_settings, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    use_deterministic_kernels()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_torch_s_own_word_for_too_little_memory_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("The size of tensor a (3) must match"), False),
        (ValueError("out of memory"), False),  # what a message quotes is no allocator's word
    ],
)
def test_only_a_full_memory_is_taken_for_one(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize(
    ("precision", "half", "tf32"),
    [("float32", False, False), ("tf32", False, True), ("bfloat16", True, False)],
)
def test_a_precision_says_what_is_rounded_and_what_a_gpu_may_round(precision, half, tf32):
    with computing(torch.device("cpu"), precision):
        assert torch.is_autocast_enabled("cpu") == half
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if half else torch.float32)
    assert torch.backends.cuda.matmul.allow_tf32 == tf32
    assert torch.backends.cudnn.allow_tf32 == tf32
