"""Make a set of demonstrations: `python scripts/generate_demos.py`, `para-generate-demos`."""

from para.cli import para_main, say
from para.data.generate import GenerateConfig


@para_main(
    GenerateConfig,
    examples=[
        "dataset=objpos",
        "dataset=viewpoints robot=hand workers=4",
        "dataset=objpos layout=independent limit=16 preview=false",
    ],
)
def main(cfg: GenerateConfig) -> None:
    """Let the scripted expert demonstrate the task, one HDF5 file per episode.

    Kill it whenever you like: the same command completes the set. Damaged files are made again.
    """
    from para.data.generate import generate

    say(generate(cfg).report())


if __name__ == "__main__":
    main()
