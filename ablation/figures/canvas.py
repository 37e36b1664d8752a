"""What all pictures share: a column's width, colours, type sizes, and files that repeat exactly.

matplotlib is imported where a picture is drawn, since it takes its time.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_INCHES = 85 / 25.4  # P: a column of its two-column page
SUFFIXES = (".png", ".svg")
DOTS_PER_INCH = 200
SMALL, NORMAL = 7.0, 8.0  # points; nothing is smaller, so that print at a column's width is read

# Lines and letters. A page with a dark background replaces this very colour by its own, so cells
# that bring their own background must use another black.
INK = "#1a1a1b"
MUTED = "#8a8a8a"  # grids and the less important, on white and on black alike
# Okabe and Ito (2008): told apart under every common colour blindness. Their black is the ink, and
# a grey stands for their yellow, which is faint on white.
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PINK, SKY = "#cc79a7", "#56b4e9"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PINK, SKY, MUTED, INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # so that no colour carries meaning alone
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))
# P Fig. 2: Blue=Angry, Orange=Happy, Green=Sad, Red=Neutral. The others are O.
CLASS_COLOURS = {
    "angry": BLUE,
    "happy": ORANGE,
    "sad": GREEN,
    "neutral": VERMILION,
    "calm": SKY,
    "fearful": PINK,
    "disgust": MUTED,
    "surprised": INK,
}
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "text.parse_math": False,  # a row may be called $
}


@contextmanager
def drawing(height_inches: float) -> "Iterator[Figure]":
    """A figure of a column's width, laid out once the block ends; later saves are quick."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Rows may be called in any script: a letter that the font lacks is drawn as a box.
    warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
    with rc_context(_STYLE):
        figure = Figure(figsize=(COLUMN_INCHES, height_inches), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.execute(figure)  # makes the ticks, which take their colours from the style
        # None, not "none": with an engine of whatever kind each save draws the figure twice.
        figure.set_layout_engine(None)


def class_looks(classes: Sequence[str]) -> list[tuple[str, str]]:
    """A colour and a marker for each class, the paper's where it names one."""
    free = [colour for colour in COLOURS if colour not in map(CLASS_COLOURS.get, classes)]
    looks = []
    for index, name in enumerate(classes):
        colour = CLASS_COLOURS.get(name) or (free.pop(0) if free else COLOURS[index % 8])
        looks.append((colour, MARKERS[index % len(MARKERS)]))
    return looks


def shortened(text: str, most: int) -> str:
    """A name cut to so many characters, for it must leave room for the picture."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as .png or .svg; equal figures give equal files.

    Raises:
        ValueError: the name ends in neither.
    """
    from matplotlib import rc_context

    if path.suffix not in SUFFIXES:
        raise ValueError(f"a picture must end in {' or '.join(SUFFIXES)}, got {path.name!r}")
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    with rc_context({"svg.hashsalt": "ser", "svg.fonttype": "path"}):
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata=metadata)
