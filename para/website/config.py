"""Every key of scripts/make_website.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from para.common import CommonConfig
from para.fields import choice, folder, number


def asset_names() -> list[str]:
    """Names of all figures and sets of videos."""
    from para.figures.registry import assets  # slow, and seldom needed

    return list(assets())


@dataclass
class MakeWebsiteConfig(CommonConfig):
    """scripts/make_website.py"""

    script: ClassVar[str] = "make_website"

    out: str | None = folder(None)
    """Folder of the site, replaced when the new one is complete; null: website in outputs_dir."""
    only: list[str] | None = choice(None, asset_names)
    """Names of figures and videos to make; null: all. The page says what is not there."""
    demo: str | None = folder(None)
    """Folder of the demo of the page (`python -m para.website.make_demo`); null: the one that comes
    with the code; none: no demo."""
    serve: bool = False
    """Serve the site on this machine until Ctrl-C."""
    port: int = number(8000, least=0, most=65535)
    """Where to serve it; a free port is taken if this one is in use."""
