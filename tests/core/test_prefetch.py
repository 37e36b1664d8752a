import threading

import pytest
import torch

import core.trainer
from core.batches import Batch, derived_generator
from core.prefetch import on_device, prefetched
from tests.core.small_speech import CPU, small_config
from tests.core.small_trainers import make_batcher, make_trainer


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def generators():
    return [derived_generator(0, 1, purpose) for purpose in ("order", "mixing")]


def same(left: Batch, right: Batch) -> bool:
    return (
        torch.equal(left.inputs, right.inputs)
        and torch.equal(left.lengths, right.lengths)
        and torch.equal(left.soft_labels, right.soft_labels)
        and left.utterances == right.utterances
    )


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The GPU's path on the CPU: batches stay where they are, and none is pinned."""
    monkeypatch.setattr(Batch, "pin", lambda batch: batch)
    monkeypatch.setattr(Batch, "to", lambda batch, device: batch)
    monkeypatch.setattr(
        core.trainer, "on_device", lambda batches, _: on_device(batches, torch.device("cuda"))
    )


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_items_come_in_their_order_and_no_thread_is_left(count):
    assert list(prefetched(iter(range(count)))) == list(range(count))
    assert not threads()


def test_the_next_item_is_made_while_the_one_before_is_used():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    ahead = prefetched(items())
    assert next(ahead) == 0
    assert made[1].wait(timeout=30)
    assert not made[2].is_set()  # one ahead, not all
    ahead.close()


def test_what_making_an_item_raises_is_raised_in_its_place():
    def items():
        yield 1
        yield 2
        raise ValueError("the third")

    ahead = prefetched(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(ahead)
    assert not threads()


def test_a_reader_that_stops_early_leaves_no_thread():
    ahead = prefetched(iter(range(100)))
    assert next(ahead) == 0
    assert len(threads()) == 1
    ahead.close()
    assert not threads()


def test_a_reader_that_fails_leaves_no_thread(as_on_a_gpu):
    batcher = make_batcher(small_config())
    with (
        pytest.raises(RuntimeError, match="step 1"),
        on_device(batcher.in_order(), torch.device("cuda")) as batches,
    ):
        for _ in batches:
            raise RuntimeError("step 1")
    assert not threads()


def test_the_thread_sums_over_as_many_threads_as_its_reader():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)  # sums over another number of threads round differently
        assert list(prefetched(torch.get_num_threads() for _ in range(2))) == [3, 3]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["none", "eam", "lam"])
def test_batches_and_generators_are_those_of_a_plain_loop(as_on_a_gpu, method):
    config = small_config(mixup={"method": method})
    batcher = make_batcher(config)
    plain, ahead = generators(), generators()
    expected = list(batcher.shuffled(config.mixup, *plain))
    with on_device(batcher.shuffled(config.mixup, *ahead), torch.device("cuda")) as batches:
        found = list(batches)
    assert len(found) == len(expected) > 1
    assert all(map(same, found, expected))
    for left, right in zip(plain, ahead, strict=True):
        assert torch.equal(left.get_state(), right.get_state())


def test_the_cpu_makes_each_batch_when_it_is_asked_for():
    config = small_config()
    order, mixing = generators()
    with on_device(make_batcher(config).shuffled(config.mixup, order, mixing), CPU) as batches:
        next(batches)
        assert not threads()


def test_an_epoch_ends_in_the_same_state_to_the_bit(as_on_a_gpu, monkeypatch):
    states = []
    for _ in range(2):
        trainer = make_trainer(small_config(), held_out="4")
        trainer.train_epoch()
        trainer.train_epoch()
        states.append(trainer.state())
        monkeypatch.setattr(core.trainer, "on_device", on_device)  # the plain loop second
    (progress, tensors), (expected_progress, expected) = states
    assert progress == expected_progress
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert not threads()
