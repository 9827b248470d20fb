"""A drawn figure in parts that flow with a page's text: each panel an SVG of its own, and the legend's keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from matplotlib.figure import Figure
from matplotlib.transforms import BboxBase

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_GROUP, _DEFS = f"{{{_SVG}}}g", f"{{{_SVG}}}defs"
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


@dataclass(frozen=True)
class Parts:
    """What a page shows of a figure, as SVG to be written into the page."""

    panels: list[str]
    keys: list[tuple[str, str]]  # of the legend: swatch and label


def parts(figure: Figure, svg: bytes, told: Mapping[str, str] | None = None) -> Parts:
    """The parts of `figure`, drawn as `svg`: a panel for each of its subfigures, or all of it in one.

    `told`: what to say of an artist, by its gid. It becomes a link to the place of that name in the page.
    """
    root = ElementTree.fromstring(svg)
    whole = root.find(_GROUP)
    assert whole is not None
    defined = _taken_definitions(root)
    legends = _children(whole, "legend")
    panels = _children(whole, "subfigure")
    for group in list(whole.iter(_GROUP)):
        _name(group, told or {})

    def standalone(groups: list[Element], box: BboxBase) -> str:
        top = figure.bbox.height - box.y1  # SVG counts from above
        view = f"{box.x0:.1f} {top:.1f} {box.width:.1f} {box.height:.1f}"
        element = Element(f"{{{_SVG}}}svg", viewBox=view, width=f"{box.width:.0f}pt", height=f"{box.height:.0f}pt")
        used = re.findall(r"(?:#)([mp][0-9a-f]{10})\b", "".join(map(_text, groups)))
        element.extend([defined[name] for name in dict.fromkeys(used)])
        element.extend(groups)
        return _text(element)

    keys = []
    for group, legend in zip(legends, figure.legends, strict=True):
        whole.remove(group)
        drawn = list(group)[::2]  # a handle, its label, the next handle, ...
        for handle, artist, label in zip(drawn, legend.legend_handles, legend.get_texts(), strict=True):
            assert artist is not None
            keys.append((standalone([handle], artist.get_window_extent().padded(1)), label.get_text()))
    if not panels:
        return Parts([standalone(list(whole), figure.bbox)], keys)
    boxes = [panel.bbox for panel in figure.subfigs]
    return Parts([standalone([panel], box) for panel, box in zip(panels, boxes, strict=True)], keys)


def _children(whole: Element, kind: str) -> list[Element]:
    return [group for group in whole if (group.get("id") or "").startswith(kind)]


def _taken_definitions(root: Element) -> dict[str, Element]:
    """Markers and clip paths by name, taken out of `root`, so that each part can have those that it uses."""
    found = {}
    for parent in list(root.iter()):
        for definitions in parent.findall(_DEFS):
            parent.remove(definitions)
            for element in definitions:
                if name := element.get("id"):
                    definition = Element(_DEFS)
                    definition.append(element)
                    found[name] = definition
    return found


def _name(group: Element, told: Mapping[str, str]) -> None:
    """Make what is `told` a link with a title; other names mean nothing in a page."""
    name = group.attrib.pop("id", "")
    if name in told:
        group.tag = f"{{{_SVG}}}a"
        group.set("href", f"#{name}")
        title = Element(f"{{{_SVG}}}title")
        title.text = told[name]
        group.insert(0, title)


def _text(element: Element) -> str:
    text = ElementTree.tostring(element, encoding="unicode")
    return re.sub(r">\s+<", "><", text).strip()
