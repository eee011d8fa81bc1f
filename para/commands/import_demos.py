"""Import demonstrations: `python scripts/import_demos.py`, `para-import-demos`."""

from para.cli import para_main, say
from para.data.importing import ImportConfig


@para_main(
    ImportConfig,
    examples=[
        "source=folder path=recordings/monday name=monday",
        "source=lerobot path=FOLDER cameras=cameras.json mapping=my_arm.yaml camera=front",
        "source=hdf5 path=demos.hdf5 mapping=robomimic cameras=cameras.json",
        "source=libero path=libero_spatial/SCENE_demo.hdf5",
    ],
)
def main(cfg: ImportConfig) -> None:
    """Make demos of your own recordings: a folder, robomimic's or LIBERO's HDF5, or LeRobot v3.

    They go to <data_dir>/own/<name>; then check them with check_data (docs/robot.md). LIBERO's own
    files, shown again in its simulator (source=libero), become demos of its tasks: docs/libero.md.
    """
    from para.data.importing import import_demos

    say(import_demos(cfg).report())


if __name__ == "__main__":
    main()
