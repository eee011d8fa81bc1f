"""A page as a tree, with nothing but the standard library, to read its numbers back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_SELF_CLOSING = {"rect", "path", "circle"}


@dataclass
class Node:
    """An element, its attributes and what is in it."""

    tag: str
    attributes: dict[str, str]
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, white space collapsed."""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return " ".join(" ".join(parts).split())

    @property
    def classes(self) -> list[str]:
        """Words of the class attribute."""
        return (self.attributes.get("class") or "").split()

    def walk(self) -> Iterator[Node]:
        """This element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def find(self, tag: str | None = None, **attributes: str | None) -> list[Node]:
        """Elements by tag and attributes (`data_model="para"`; None: any value)."""
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [
            node
            for node in self.walk()
            if tag in (None, node.tag)
            and all(
                name in node.attributes and value in (None, node.attributes[name])
                for name, value in wanted.items()
            )
        ]

    def inside(self, class_name: str) -> bool:
        """Is this element, or one around it, of a class?"""
        return class_name in self.classes or bool(self.parent and self.parent.inside(class_name))


class _Builder(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = self.at = Node("", {})

    def handle_starttag(self, tag, attrs):
        node = Node(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.children.append(node)
        if tag not in _VOID and tag not in _SELF_CLOSING:
            self.at = node

    def handle_startendtag(self, tag, attrs):
        self.at.children.append(Node(tag, {n: v or "" for n, v in attrs}, self.at))

    def handle_endtag(self, tag):
        if tag in _VOID or tag in _SELF_CLOSING:
            return
        assert self.at.tag == tag, f"</{tag}> closes <{self.at.tag}>"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.children.append(data)


def parse(html: str) -> Node:
    """The tree of a page; AssertionError if an element is closed by another's end tag."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder.at is builder.root, f"<{builder.at.tag}> is never closed"
    return builder.root
