"""Which figures the tests draw."""

from __future__ import annotations

from para.figures.registry import assets

_MANY = ("_success_map", "_polar_overview", "_sweep")
_FOR_ALL = {"lr_success_map", "vp_default_to_all_success_map", "vp_lr_polar_overview", "lens_sweep"}
FIGURES = [
    name
    for name, asset in assets().items()
    if asset.kind == "figure" and (name in _FOR_ALL or not name.endswith(_MANY))
]
"""What is drawn: of pictures that there are of every split or sweep, one of each kind."""
