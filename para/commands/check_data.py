"""Check demos before training on them: `python scripts/check_data.py`, `para-check-data`."""

import sys

from para.cli import para_main, say
from para.data.check_config import CheckDataConfig


@para_main(CheckDataConfig, examples=["data=data/own/monday", "data=data/own/monday demos=50"])
def main(cfg: CheckDataConfig) -> None:
    """Project poses into images, show them, and name what is usually wrong, with how to mend it.

    Exchanged axes, degrees, millimetres, handedness, BGR, images turned over or resized without
    their K, poses that lag, labels outside, a table that is not at z = 0. Status 1 if any is found.
    """
    from para.figures.check_sheet import check_data

    checked = check_data(cfg)
    say(checked.report())
    if checked.findings:
        sys.exit(1)


if __name__ == "__main__":
    main()
