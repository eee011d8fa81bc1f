"""Export a policy as one file: `python scripts/export.py`, `para-export`."""

from para.cli import para_main, say
from para.export.config import ExportConfig


@para_main(
    ExportConfig,
    examples=["policy=para_lr", "policy=para_lr format=torch_export out=para_lr.pt2"],
)
def main(cfg: ExportConfig) -> None:
    """Write a trained policy, image to waypoints, as ONNX or as PyTorch's exported program.

    Backbone, heads, decoding and unprojection are inside, for any batch size (docs/robot.md).
    """
    from para.export.model import export

    path = export(cfg)
    say(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
