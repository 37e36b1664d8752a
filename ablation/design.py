"""Which rows of a study are combinations of what: the axes behind rows that a grid generates."""

from collections.abc import Mapping
from dataclasses import dataclass

OFF, ON = 0, 1  # the levels of a component
BARE, FULL = "bare", "full"


@dataclass(frozen=True, slots=True)
class Factor:
    """One thing that rows differ in, and its levels; the first is what others are set against."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Design:
    """The rows that are combinations of levels.

    Attributes:
        factors: In the file's order.
        rows: By name, the place of each factor's level.
        add_one: Whether the components were asked for one by one on top of none.
        leave_one_out: Whether each was asked to be left out of all.
        excluded: How many combinations of the whole product the file drops.
    """

    factors: tuple[Factor, ...]
    rows: Mapping[str, tuple[int, ...]]
    add_one: bool = False
    leave_one_out: bool = False
    excluded: int = 0

    @property
    def is_product(self) -> bool:
        """Whether every combination was asked for, those apart that the file drops."""
        return not (self.add_one or self.leave_one_out)
