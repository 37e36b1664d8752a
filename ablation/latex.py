r"""A table for a paper: booktabs, to be \input; whatever a user's file says is escaped.

Every character that pdflatex does not know by itself is written in commands, or as its code point:
a name in any script compiles.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from ablation.columns import Column
from ablation.tables import DEMO

PACKAGES = ("booktabs", "graphicx")
WIDE = 14  # O: columns that a page across two columns still shows at a readable size
_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",  # the straight one needs another font encoding than the usual
    "[": "{[}",  # no option of a line's end
    "]": "{]}",
    "*": r"$^{*}$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "·": r"$\cdot$",
    "✓": r"$\surd$",
    "’": "'",
    "…": r"\dots{}",
    "→": r"$\to$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "å": r"\aa{}",
    "Å": r"\AA{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def latex(
    columns: Sequence[Column],
    *,
    title: str,
    notes: Iterable[str],
    demo: bool,
    label: str,
    heading: str = "",
) -> str:
    """The table as a float with its notes below.

    Args:
        columns: At least one.
        title: The study's, its caption.
        notes: Below it, in small print.
        demo: Whether speech and encoders are the demo's; the caption then says so first.
        label: The study's name, for references.
        heading: Of a further table of the study: what it shows, first in its caption.
    """
    plain = re.sub(r"^Table \d+: ", "", title)  # LaTeX counts by itself
    plain = plain[:1].upper() + plain[1:]
    parts = _parts(columns)
    caption = " ".join([*[DEMO] * demo, *[f"{heading}."] * bool(heading), plain])
    key = f"{label}-{heading.lower()}" if heading else label
    body = [
        f"% Needs \\usepackage{{{','.join(PACKAGES)}}}; then \\input this file.",
        r"\begin{table*}",
        r"  \centering" + (r"\small" if len(parts) == 1 else r"\footnotesize"),
        rf"  \caption{{{escape(caption)}}}",
        rf"  \label{{tab:{re.sub('[^a-z0-9-]', '-', key)}}}",
        r"  \setlength{\tabcolsep}{3pt}",
        *(line for part in parts for line in _fitted(part)),
        r"  \par\smallskip",
        r"  \begin{minipage}{\linewidth}\footnotesize\raggedright",
        *(f"    {escape(note)}\\par" for note in notes),
        r"  \end{minipage}",
        r"\end{table*}",
    ]
    return "\n".join(body) + "\n"


def escape(text: str) -> str:
    """Text as LaTeX prints it literally, on one line."""
    plain = unicodedata.normalize("NFC", " ".join(text.split()))
    parts = re.split("(?<=-)(?=-)", plain)  # an empty group keeps two hyphens from being a dash
    return "{}".join("".join(map(_character, part)) for part in parts)


def _character(character: str) -> str:
    if character in _COMMANDS:
        return _COMMANDS[character]
    if character.isascii():
        return character if character.isprintable() else ""
    apart = unicodedata.normalize("NFD", character)
    if len(apart) == 2 and apart[0].isascii() and apart[0].isalpha() and apart[1] in _ACCENTS:
        return f"\\{_ACCENTS[apart[1]]}{{{apart[0]}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"


def _parts(columns: Sequence[Column]) -> list[list[Column]]:
    """A wide table in two: what it says, then its details beside the names of the rows."""
    plain = [column for column in columns if not column.detail]
    details = [column for column in columns if column.detail]
    if len(columns) <= WIDE or not details:
        return [list(columns)]
    names = [column for column in plain[:2] if column.header in ("row", "corpus")]
    return [plain, [*names, *details]]


def _fitted(columns: Sequence[Column]) -> list[str]:
    """No wider than the page."""
    return [
        r"  \par\medskip",
        r"  \sbox0{%",
        *_tabular(columns),
        r"  }%",
        r"  \ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
    ]


def _tabular(columns: Sequence[Column]) -> list[str]:
    letters = {"left": "l", "center": "c", "right": "r"}
    lines = [
        rf"  \begin{{tabular}}{{@{{}}{''.join(letters[column.align] for column in columns)}@{{}}}}",
        r"    \toprule",
        *_groups(columns),
        f"    {' & '.join(_header(column) for column in columns)} \\\\",
        r"    \midrule",
    ]
    cells = list(zip(*(column.cells for column in columns), strict=True))
    corpora = next((column.cells for column in columns if column.header == "corpus"), ())
    breaks = {index for index, (one, other) in enumerate(pairwise(corpora)) if one != other}
    for index, row in enumerate(cells):
        lines.append(f"    {' & '.join(map(escape, row))} \\\\")
        # Only where the rows of a corpus stand together.
        if index in breaks and len(breaks) < len(set(corpora)):
            lines.append(r"    \midrule")
    return [*lines, r"    \bottomrule", r"  \end{tabular}%"]


def _groups(columns: Sequence[Column]) -> list[str]:
    """The line above the headers, and the rules that hold a group together."""
    if not any(column.group for column in columns):
        return []
    cells, rules, start = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [f"    {' & '.join(cells)} \\\\", f"    {''.join(rules)}"]


def _header(column: Column) -> str:
    lines = [escape(line) for line in column.header.split("\n")]
    return lines[0] if len(lines) == 1 else r"\shortstack{" + r" \\ ".join(lines) + "}"
