"""Loading weights: safely, completely, or with an error that says what to do.

A file may hold timm's key names or the original authors' (torchvision ResNets, Meta's ConvNeXt,
DINOv2 and DINOv3): timm's own `checkpoint_filter_fn` of each architecture translates them, and
resizes position embeddings. Pickled code is never executed.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from para.errors import CheckpointError

_WRAPPERS = ("state_dict", "model", "teacher", "module")
_PREFIXES = ("module.", "backbone.", "encoder.")
_CLASSIFIERS = ("fc.", "head.", "classifier.", "head_dist.")


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read the tensors of a safetensors or torch file, with wrapping dicts and prefixes removed.

    Raises:
        CheckpointError: The file is missing, damaged, holds no tensors, or holds pickled objects.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"No weight file at {path}. Give the path of a .safetensors or .pth file, or use "
            "backbone.weights=pretrained or backbone.weights=random."
        )
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} contains pickled Python objects or is not a torch file, so loading it could "
            "run foreign code: refused. In the environment that made it, save only the tensors: "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors'). "
            f"(torch says: {str(error).splitlines()[0]})"
        ) from error
    except Exception as error:  # each library has its own exceptions for a damaged file
        raise CheckpointError(
            f"{path} cannot be read as {path.suffix or 'a torch'} weights (truncated?): {error}"
        ) from error

    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not named tensors.")
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{path} holds no tensors; its keys are {sorted(content)[:5]}.")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into `module`; every key and shape must match.

    Raises:
        CheckpointError: Names the missing, unexpected and mismatched keys. Nothing is loaded then.
    """
    own = module.state_dict()
    shapes = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "of another shape": shapes,
    }
    if any(problems.values()):
        lines = [
            f"  {len(keys)} {what}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
            for what, keys in problems.items()
            if keys
        ]
        raise CheckpointError(
            f"{source} was made by another architecture than {type(module).__name__} as it is "
            "configured here; use the configuration that it was made with:\n" + "\n".join(lines)
        )
    module.load_state_dict(dict(state))


def load_backbone_file(model: nn.Module, path: Path | str) -> None:
    """Load a weight file into a timm `model` without classifier.

    Raises:
        CheckpointError: See `read_weights` and `load_strict`.
    """
    state = read_weights(path)
    expected = model.state_dict()
    if "storage_tokens" in state and not any("q_bias" in key for key in expected):
        # DINOv3's query/key/value biases are zero; timm's model leaves them out
        state = {key: value for key, value in state.items() if not key.endswith("qkv.bias")}
    translate = getattr(importlib.import_module(type(model).__module__), "checkpoint_filter_fn", 0)
    if translate:
        state = translate(state, model)
    state = {
        key: value
        for key, value in state.items()
        if key in expected or not key.startswith(_CLASSIFIERS)
    }
    load_strict(model, state, str(path))


def load_backbone_hub(timm_name: str, **model_arguments: object) -> nn.Module:
    """Return the timm model with its published weights, from the hub or its cache.

    Raises:
        CheckpointError: There are none, or they cannot be had here; names the ways out.
    """
    import timm

    try:
        return timm.create_model(timm_name, pretrained=True, **model_arguments)
    except Exception as error:  # offline, refused, gated, not published: each raises its own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(
            f"The published weights of {timm_name} cannot be had ({reason}). Three ways out:\n"
            f"  1. a file: backbone.weights=PATH (.safetensors or .pth, timm's or the authors' "
            "key names)\n"
            f"  2. from scratch: backbone.weights=random\n"
            f"  3. fetch them into the hub's cache on a machine with internet, then copy the "
            "cache (HF_HOME, by default ~/.cache/huggingface):\n"
            f"       python -c \"import timm; timm.create_model('{timm_name}', pretrained=True)\""
        ) from error
