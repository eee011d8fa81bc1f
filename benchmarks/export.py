"""Does an exported policy do what the policy does? `python benchmarks/export.py [episodes=N]`.

The shipped policy as ONNX: waypoints of 100 observations of episodes (development starts of `lr`)
against PyTorch's; milliseconds per observation of both on 1 and 2 threads, by the clock and of the
processor (the latter holds on a busy machine too, for 1 thread); and with int8 weights and
activations (static, calibrated on observations of other episodes) how far waypoints move, and how
many episodes succeed. Writes <results_dir>/benchmarks/export.json.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from envs.base import Environment, build_task
from envs.splits import test_conditions
from para.cli import load_config, plainly
from para.evaluation.config import EvalConfig
from para.evaluation.rollout import Predicts, rollout
from para.export.config import ExportConfig
from para.export.model import INPUTS, OnnxPolicy, arrays, export
from para.files import atomic_write_json
from para.pretrained import policy_folder
from para.runs.policy_file import load_policy
from para.statistics import Rate
from para.system import provenance
from para.types import ActionChunk, Inference, Observation

OBSERVATIONS, CALIBRATION, ROUNDS = 100, 64, 40


class Recording:
    """A policy that keeps what it is asked, for `rollout`."""

    def __init__(self, policy: Predicts):
        self.policy, self.seen = policy, []

    def predict(
        self, observations: Sequence[Observation], inference: Inference
    ) -> list[ActionChunk]:
        """See `Policy.predict`."""
        self.seen += observations
        return self.policy.predict(observations, inference)


class _Calibration:
    """Observations as ONNX Runtime's quantisation reads them."""

    def __init__(self, seen: Sequence[Observation]):
        self._rest = iter(seen)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """One observation, or None after the last."""
        seen = next(self._rest, None)
        return seen and dict(zip(INPUTS, arrays([seen]), strict=True))


def quantised(model: Path, seen: Sequence[Observation]) -> Path:
    """The model with int8 convolutions, calibrated on observations."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, out = model.with_suffix(".prepared.onnx"), model.with_suffix(".int8.onnx")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(out),
        _Calibration(seen),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return out


def moves(policy: Predicts, other: Predicts, seen: Sequence[Observation]) -> dict[str, float]:
    """How far the other's waypoints are from the policy's [mm]."""
    pairs = zip(policy.predict(seen, Inference()), other.predict(seen, Inference()), strict=True)
    found = np.concatenate(
        [np.linalg.norm(ours.positions - theirs.positions, axis=1) for ours, theirs in pairs]
    )
    return {
        "waypoints": int(found.size),
        "missed": int(np.isnan(found).sum()),
        "median_mm": float(1000 * np.nanmedian(found)),
        "p95_mm": float(1000 * np.nanquantile(found, 0.95)),
        "largest_mm": float(1000 * np.nanmax(found)),
    }


def milliseconds(policy: Predicts, seen: Sequence[Observation]) -> dict[str, float]:
    """Median time of one observation at a time, by the clock and of the processor."""
    clocks = {"clock": time.perf_counter, "processor": time.process_time}
    times: dict[str, list[float]] = {name: [] for name in clocks}
    for k in range(ROUNDS + 3):
        begin = {name: now() for name, now in clocks.items()}
        policy.predict([seen[k % len(seen)]], Inference())
        for name, now in clocks.items():
            times[name].append(1000 * (now() - begin[name]))
    return {name: round(statistics.median(values[3:]), 2) for name, values in times.items()}


def succeeded(policy: Predicts, envs: Sequence[Environment], starts: Sequence[Any]) -> Rate:
    """Of episodes on the starts, as many at once as there are environments."""
    chunks = [starts[i : i + len(envs)] for i in range(0, len(starts), len(envs))]
    done = [one for chunk in chunks for one in rollout(policy, envs, chunk, Inference())]
    return Rate.of([one["success"] for one in done])


def main() -> None:
    """Export, compare, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(EvalConfig, ["policy=para_lr", *sys.argv[1:]])
    torch.set_num_threads(1)
    policy, _ = load_policy(policy_folder(str(cfg.policy)))
    task, count = build_task(cfg.task), cfg.episodes or 40
    starts = test_conditions(cfg.split, "ood", task, cfg.layout, count, cfg.env, "dev")
    training = test_conditions(cfg.split, "sanity", task, cfg.layout, 24, cfg.env, "dev")
    envs = [task.environment(cfg.robot, cfg.layout, cfg.env) for _ in range(cfg.batch)]
    watched, calibration = Recording(policy), Recording(policy)
    successes = {"PyTorch": succeeded(watched, envs, starts)}
    succeeded(calibration, envs, training)
    seen = watched.seen[:OBSERVATIONS]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "policy.onnx"
        export(load_config(ExportConfig, [f"policy={cfg.policy}", f"out={out}"]))
        int8 = quantised(out, calibration.seen[:CALIBRATION])
        models = {"ONNX": OnnxPolicy(out), "ONNX int8": OnnxPolicy(int8)}
        megabytes = {"ONNX": out.stat().st_size / 1e6, "ONNX int8": int8.stat().st_size / 1e6}
        successes |= {name: succeeded(model, envs, starts) for name, model in models.items()}
        timings = {}
        for threads in (1, 2):
            torch.set_num_threads(threads)
            timed = {"PyTorch": policy, "ONNX": OnnxPolicy(out, threads)}
            timed["ONNX int8"] = OnnxPolicy(int8, threads)
            timings[threads] = {name: milliseconds(one, seen) for name, one in timed.items()}
    result = {
        **provenance("benchmarks/export.py", sys.argv[1:]),
        "load": [round(value, 2) for value in os.getloadavg()],
        "onnxruntime": onnxruntime.__version__,
        "observations": len(seen),
        "moved": {name: moves(policy, model, seen) for name, model in models.items()},
        "success": {name: str(rate) for name, rate in successes.items()},
        "megabytes": {name: round(size, 2) for name, size in megabytes.items()},
        "milliseconds_by_threads": timings,
    }
    logging.info("%s", {key: result[key] for key in ("moved", "success", "megabytes")})
    atomic_write_json(f"{cfg.results_dir}/benchmarks/export.json", result)


if __name__ == "__main__":
    plainly(main)
