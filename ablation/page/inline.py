"""A figure as an <svg> element inside a page: small, without names that could clash, in the page's
own ink and type."""

import html
import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ablation.figures.canvas import BLUE, GREEN, INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOCAL = re.compile(r"\{[^}]*\}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
# What the page sets: colours that would be too dark on its dark side, and the type.
_PAGES_OWN = {
    INK: "currentColor",
    BLUE: "var(--blue)",
    GREEN: "var(--green)",
    "'DejaVu Sans'": "inherit",
}
_NUMERIC = ("d", "x", "y", "width", "height", "points", "transform", "cx", "cy", "r", "style")


def inline_svg(figure: "Figure", name: str, text: str) -> str:
    """The figure as SVG that stands in HTML.

    Args:
        name: What its inner names begin with; no other figure of the page may have it.
        text: What it shows, for those who don't see it.
    """
    from matplotlib import rc_context

    raw = io.BytesIO()
    with rc_context({"svg.hashsalt": "ser", "svg.fonttype": "none"}):
        figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(raw.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):  # its style would be the whole page's
                parent.remove(child)
    named = {reference for node in root.iter() for reference in _references(node)}
    for node in root.iter():
        node.tag = _local(node.tag)
        node.attrib = _attributes(node, name, named)
        node.text = (node.text or "").strip() or None
        node.tail = None
    root.attrib = {
        "class": "picture",
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": text,
    }
    return ElementTree.tostring(root, encoding="unicode")


def figure_html(svg: str, caption: str) -> str:
    """A picture with the words under it."""
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _attributes(node: ElementTree.Element, name: str, named: set[str]) -> dict[str, str]:
    kept = {}
    for key, value in node.attrib.items():
        plain = _local(key)
        if plain in ("version", "space") or (plain == "id" and value not in named):
            continue
        if plain == "id":
            value = f"{name}-{value}"
        elif plain in ("href", "clip-path", "style"):
            value = _REFERENCE.sub(lambda found: _renamed(found, name), value)
        if plain in _NUMERIC:
            value = _NUMBER.sub(
                lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value
            )
        if plain == "style":
            for own, pages in _PAGES_OWN.items():
                value = value.replace(own, pages)
        kept[plain] = value
    return kept


def _renamed(found: re.Match[str], name: str) -> str:
    inner, whole = found.groups()
    return f"url(#{name}-{inner})" if inner else f"#{name}-{whole}"


def _references(node: ElementTree.Element) -> list[str]:
    found = []
    for key, value in node.attrib.items():
        if _local(key) in ("href", "clip-path", "style"):
            found += [inner or whole for inner, whole in _REFERENCE.findall(value)]
    return found


def _local(name: str) -> str:
    return _LOCAL.sub("", name)
