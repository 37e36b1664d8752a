"""Losses and predictions that are no longer numbers end a training, and are named."""

from collections.abc import Sequence

from torch import Tensor

from core.corpora.utterance import Utterance


class TrainingError(RuntimeError):
    """Training can't go on: a loss or a prediction is no longer a number."""


def refuse_nonfinite_losses(
    history: Tensor,
    terms: Sequence[str],
    utterances: Sequence[tuple[Utterance, ...]],
    epoch: int,
) -> None:
    """Raise unless every loss of an epoch is a finite number.

    Args:
        history: (steps, terms) float.
        terms: The names of the columns; the weighted sum is "total".
        utterances: Of each step.
    Raises:
        TrainingError: names the first step that broke, its terms and its utterances.
    """
    broken = ~history.isfinite()
    if not broken.any():
        return
    step = int(broken.any(1).nonzero()[0])
    # The sum is broken whenever a term is: name the terms, and the sum only where it alone is.
    named = [term for term, bad in zip(terms, broken[step].tolist(), strict=True) if bad]
    named = [term for term in named if term != "total"] or named
    batch = ", ".join(utterance.name for utterance in utterances[step])
    raise TrainingError(
        f"every loss must be a finite number; epoch {epoch}, step {step + 1}: "
        f"{', '.join(f'{term} is {history[step, terms.index(term)]:g}' for term in named)} "
        f"on utterances {batch}"
    )


def refuse_nonfinite_logits(logits: Tensor, utterances: Sequence[Utterance], epoch: int) -> None:
    """Raise unless every logit, (B, C), is a finite number.

    The last step of training can break the weights after the last loss was seen to be whole.

    Raises:
        TrainingError: names the utterances.
    """
    finite = logits.isfinite().all(1).tolist()
    if not all(finite):
        broken = [item.name for item, whole in zip(utterances, finite, strict=True) if not whole]
        raise TrainingError(
            f"every prediction must be a finite number; after epoch {epoch}, "
            f"not so on utterances {', '.join(broken)}"
        )
