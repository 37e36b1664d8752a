"""A batch larger than the memory: it passes the model in parts, its loss stays that of the whole.

SupCon compares every frame of a batch with every other, so the loss is no sum over parts and plain
gradient accumulation would train on another objective. Here every part passes twice (Gao et al.
2021, gradient caching): once without a graph, so that the loss and its slope at the model's outputs
can be had from the whole batch; once with one, to carry that slope on into the weights.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from core.batches import Batch
from core.model import Outputs

Forward = Callable[[Batch], Outputs]


def forward(model: Forward, batch: Batch, size: int | None) -> Outputs:
    """Pass a batch through the model, at most so many utterances at once.

    Args:
        size: At least 1; None is the whole batch.
    Returns:
        The outputs of the whole batch, as if it had passed at once.
    """
    if size is None or size >= len(batch.utterances):
        return model(batch)
    return _joined([model(part) for part in batch.split(size)])


def backward(
    model: Forward,
    objective: Callable[[Outputs], Tensor],
    batch: Batch,
    size: int | None,
    generators: Mapping[str, torch.Generator],
) -> None:
    """Add the gradients of a batch's objective to the weights.

    Args:
        objective: The loss of the whole batch from the whole batch's outputs; called once.
        size: At most so many utterances pass at once, at least 1; None is the whole batch.
        generators: Those that dropout draws from; both passes of a part draw alike.
    """
    if size is None or size >= len(batch.utterances):
        objective(model(batch)).backward()
        return
    parts = batch.split(size)
    states, outputs = [], []
    with torch.no_grad():
        for part in parts:
            states.append({name: item.get_state() for name, item in generators.items()})
            outputs.append(model(part))
    leaves = _leaves(_joined(outputs))
    objective(leaves).backward()
    slopes = [None if leaf is None else leaf.grad for leaf in leaves]
    first = 0
    for part, state in zip(parts, states, strict=True):
        for name, generator in generators.items():
            generator.set_state(state[name])
        last = first + len(part.utterances)
        tensors, gradients = [], []
        for tensor, slope in zip(model(part), slopes, strict=True):
            if tensor is not None and slope is not None:  # a term may not read this output
                tensors.append(tensor)
                gradients.append(slope[first:last])
        torch.autograd.backward(tensors, gradients)
        first = last


def _joined(parts: list[Outputs]) -> Outputs:
    """Outputs of all parts as one. Every part is padded like its batch, so all shapes agree."""
    frames = [part.frames for part in parts if part.frames is not None]
    return Outputs(
        logits=torch.cat([part.logits for part in parts]),
        embeddings=torch.cat([part.embeddings for part in parts]),
        frames=torch.cat(frames) if frames else None,
        frame_mask=torch.cat([part.frame_mask for part in parts]),
    )


def _leaves(outputs: Outputs) -> Outputs:
    """The same values, as what a slope is wanted at."""
    return Outputs(
        logits=outputs.logits.requires_grad_(),
        embeddings=outputs.embeddings.requires_grad_(),
        frames=None if outputs.frames is None else outputs.frames.requires_grad_(),
        frame_mask=outputs.frame_mask,
    )
