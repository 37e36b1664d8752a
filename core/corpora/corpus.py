"""What is known of a corpus before its audio is seen: one of the catalog, a manifest, a pair."""

from collections.abc import Callable
from dataclasses import dataclass

from core.corpora.check import Expected, class_differences, count, differences
from core.corpora.folds import FoldScheme
from core.corpora.utterance import Parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """All that is known of a corpus before its folder is seen.

    Attributes:
        classes: In the order of the logits.
        parse: Reads it, given one folder for each of `sources`, in their order.
        sources: The corpora of the catalog whose folders it is read from: its own name, both
            sides of a pair, none for a manifest.
        expected: The paper's counts; None where no paper says.
        layout: What the folder must hold.
        remark: What a reader of its table must know.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    parse: Callable[..., Parsed]
    sources: tuple[str, ...]
    schemes: dict[str, FoldScheme]
    default_scheme: str
    expected: Expected | None
    where_to_get: str
    layout: str
    licence: str
    remark: str = ""

    def count_differences(self, parsed: Parsed) -> list[str]:
        """Say where the counts part from the paper's; empty when they agree. Opens no file."""
        if self.expected is None:
            return []
        utterances = parsed.utterances
        found = differences(count(utterances), self.expected)
        return found + class_differences(utterances, self.expected)

    def deviations(self, parsed: Parsed) -> list[str]:
        """Where a corpus parts from the one that the paper means, in plain words."""
        missing = [f"{utterance}: no audio" for utterance in parsed.missing]
        return [*self.count_differences(parsed), *parsed.problems, *missing]
