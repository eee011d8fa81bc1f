"""Tables in Markdown."""

from __future__ import annotations


def table_row(*cells: str) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"


def table_head(*titles: str) -> list[str]:
    """The lines above the first row."""
    return [table_row(*titles), table_row(*["---"] * len(titles))]
