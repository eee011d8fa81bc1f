"""Export demonstrations: `python scripts/export_demos.py`, `para-export-demos`."""

from para.cli import para_main, say
from para.data.exporting import ExportDemosConfig


@para_main(
    ExportDemosConfig,
    examples=[
        "data=data/bowl_on_plate-panda-together/objpos-128px out=objpos",
        "data=data/bowl_on_plate-panda-together/objpos-128px split=lr out=left",
        "data=data/own/monday images=video camera=front",
    ],
)
def main(cfg: ExportDemosConfig) -> None:
    """Write demos as a LeRobot data set (v3), with intrinsics and extrinsics of every frame.

    With images=png every number comes back unchanged; H.264 (images=video) is smaller.
    """
    from para.data.exporting import export_demos

    say(export_demos(cfg).report())


if __name__ == "__main__":
    main()
