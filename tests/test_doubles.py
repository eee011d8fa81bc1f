"""64-bit floats are made in one place, on the CPU: Apple's accelerators have none."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from para.backbones.codec import PcaCodec
from para.places import ROOT


def test_no_tensor_becomes_double_elsewhere():
    found = Counter()
    for path in (p for name in ("para", "baselines", "envs") for p in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and (
                node.attr == "double" or ast.unparse(node) in ("torch.float64", "torch.double")
            ):
                found[path.relative_to(ROOT).as_posix()] += 1
    # decode.py: an arange that is made on the CPU; augmentation.py: a picture, made on the CPU;
    # export: ONNX Runtime has doubles on every device
    assert found == {
        "para/doubles.py": 2,
        "para/heads/decode.py": 1,
        "para/export/model.py": 10,
        "para/figures/augmentation.py": 5,
    }


def test_the_codec_is_fitted_on_the_cpu_wherever_its_frames_are():
    """With tensors that have a device and no values, so that no such device is needed."""
    seen = []
    with FakeTensorMode(), torch.device("cuda"):
        codec = PcaCodec(4)

        def cov(blocks: torch.Tensor) -> torch.Tensor:
            seen.append((blocks.device.type, blocks.dtype))
            return blocks @ blocks.T  # without torch.cov's look at the values

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "cov", cov)
            codec.fit(torch.zeros(2, 3, 16, 16))
    assert seen == [("cpu", torch.float64)]
