"""Every key of scripts/export.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from para.common import CommonConfig
from para.fields import choice, require

ENDINGS = {"onnx": "onnx", "torch_export": "pt2"}


@dataclass
class ExportConfig(CommonConfig):
    """scripts/export.py"""

    script: ClassVar[str] = "export"

    policy: str = "para_lr"
    """Folder of a policy, wherever it lies, or name of one that comes with the code."""
    format: str = choice("onnx", list(ENDINGS))
    """onnx | torch_export (a .pt2 file for torch.export.load)."""
    out: str | None = None
    """File to write; null: <outputs_dir>/<policy>.onnx or .pt2."""
    instruction: str | None = None
    """What the exported policy is told, where it was trained on several instructions."""
    subcell: bool = True
    """Refine the argmax by a local soft-argmax, for pixels and for heights."""
    half: bool = False
    """Store large weights as 16-bit floats: half the file, computed in 32 bits (ONNX only)."""

    @property
    def path(self) -> Path:
        """Where the file goes."""
        name = Path(self.policy).expanduser().resolve().name
        return Path(self.out or f"{self.outputs_dir}/{name}.{ENDINGS[self.format]}")

    def rules(self, key: str, run: Any) -> None:
        """The file's name says what it is."""
        require(
            self.out is None or self.path.suffix == f".{ENDINGS[self.format]}",
            f"out={self.out} must end in .{ENDINGS[self.format]} with format={self.format}.",
        )
        require(
            not self.half or self.format == "onnx",
            f"half=true makes a smaller ONNX file; there is none of format={self.format}.",
        )
