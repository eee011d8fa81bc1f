"""Calibrate a camera: `python scripts/calibrate.py`, `para-calibrate`."""

from para.cli import para_main, say
from para.data.calibrating import CalibrateConfig


@para_main(
    CalibrateConfig,
    examples=[
        "source=board path=calibration board.columns=7 board.rows=5 board.square=0.03",
        "source=marker path=recordings/monday marker.offset=[0.06,0,-0.05] cameras=lens.json",
        "source=points path=clicked cameras=lens.json",
    ],
)
def main(cfg: CalibrateConfig) -> None:
    """Find K and T_world_camera, from a board or a marker in the hand or from pixels of the tool.

    Writes a calibration file (cameras.json) with errors in px and mm and a covariance.
    """
    from para.data.calibrating import calibrate, report

    say(report(*calibrate(cfg)))


if __name__ == "__main__":
    main()
