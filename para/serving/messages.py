"""Messages of openpi's policy protocol: msgpack with arrays, nothing that could run code.

An array is the map {b"__ndarray__": True, b"data": bytes, b"dtype": str, b"shape": list}, a NumPy
scalar {b"__npgeneric__": True, b"data": number, b"dtype": str}, as openpi-client 0.1.2 writes them
(openpi_client/msgpack_numpy.py). Only plain numbers are taken, of the types in `DTYPES`, and only
where the data is as long as type and shape say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from para.camera import Camera, CameraError
from para.data.fitting import fitted
from para.errors import ParaError, one_line
from para.types import Observation

_KINDS = ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
DTYPES = frozenset(np.dtype(kind).str for kind in _KINDS)
"""Types of arrays that are read."""
MOST_DIMENSIONS = 8
MOST_PARTS = 256
"""Maps and lists in a message, and entries of one: an observation has a dozen."""
SIDES = (16, 8192)
"""Least and greatest height and width of an image [px]."""

IMAGE, INTRINSICS, EXTRINSICS = (
    f"observation/{key}" for key in ("image", "intrinsics", "extrinsics")
)
STATE, PROMPT, AGE, HEATMAPS = "observation/state", "prompt", "observation/image_age", "heatmaps"
KEYS = (IMAGE, INTRINSICS, EXTRINSICS, STATE, PROMPT, AGE, HEATMAPS)


class MessageError(ParaError):
    """A message that is no observation; says what an observation is."""


def pack(message: dict[str, Any]) -> bytes:
    """A message as bytes."""
    return msgpack.packb(message, default=_as_map)


def _as_map(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.str in DTYPES:
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    raise TypeError(f"Not sent: {type(value).__name__}.")


def unpack(data: bytes) -> Any:
    """The message in bytes; arrays are read-only views of it.

    Raises:
        MessageError: It is cut short, nested too deep, has too many parts, or holds anything but
            plain numbers, text and arrays of numbers.
    """
    count = 0

    def counted(value: Any) -> Any:
        nonlocal count
        count += 1
        if count > MOST_PARTS:
            raise MessageError(f"A message has at most {MOST_PARTS} parts.")
        return _as_array(value) if isinstance(value, dict) else value

    try:
        return msgpack.unpackb(
            data,
            object_hook=counted,
            list_hook=counted,
            ext_hook=_no_extension,
            max_array_len=MOST_PARTS,
            max_map_len=MOST_PARTS,
        )
    except MessageError:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        name = type(error).__name__
        raise MessageError(
            f"No msgpack message of openpi's protocol ({name}: {one_line(error)})."
        ) from error


def _no_extension(code: int, data: bytes) -> None:
    raise MessageError("Messages hold no msgpack extension types.")


def _as_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _array(value)
    if b"__npgeneric__" in value:
        kind, number = value.get(b"dtype"), value.get(b"data")
        if kind not in DTYPES or not isinstance(number, bool | int | float):
            raise MessageError(f"A scalar of type {one_line(kind)} is not read.")
        return number
    return value


def _array(value: dict[Any, Any]) -> np.ndarray:
    kind, shape, data = (value.get(key) for key in (b"dtype", b"shape", b"data"))
    if not isinstance(kind, str) or kind not in DTYPES:
        raise MessageError(
            f"An array of type {one_line(kind)} is not read; plain numbers are: "
            f"{', '.join(sorted(DTYPES))}."
        )
    if (
        not isinstance(shape, list)
        or len(shape) > MOST_DIMENSIONS
        or not all(type(side) is int and side >= 0 for side in shape)
    ):
        raise MessageError(f"{one_line(shape)} is no shape of an array.")
    size = math.prod(shape) * np.dtype(kind).itemsize
    if not isinstance(data, bytes) or len(data) != size:
        length = len(data) if isinstance(data, bytes) else "no"
        raise MessageError(f"An array {kind} {shape} has {size} bytes; {length} came.")
    return np.frombuffer(data, kind).reshape(shape)


@dataclass(frozen=True)
class Request:
    """What a client asks.

    Attributes:
        observation: Its image has the size that the policy reads.
        rotation: (3,) how the hand is turned [rad]; None where the policy does not turn it.
        age: Of the image when it was sent [s]; 0 where the client does not say.
        heatmaps: It wants them too.
    """

    observation: Observation
    rotation: np.ndarray | None
    age: float
    heatmaps: bool


def read_request(message: Any, image_size: int, turns: bool) -> Request:
    """The request in an unpacked message; image and camera are fitted to the policy together.

    Args:
        message: A map with `KEYS`; the last three may be missing.
        image_size: H = W of what the policy reads [px].
        turns: Does the policy turn the hand?

    Raises:
        MessageError: A key is missing or has another shape; or the camera is none.
    """
    if not isinstance(message, dict):
        raise MessageError(f"An observation is a map with {', '.join(KEYS[:4])}.")
    image = message.get(IMAGE)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
        raise MessageError(f"{IMAGE} must be an RGB image (H, W, 3) uint8, got {_what(image)}.")
    if not all(SIDES[0] <= side <= SIDES[1] for side in image.shape[:2]):
        raise MessageError(f"{IMAGE} must be {SIDES[0]} to {SIDES[1]} px high and wide.")
    intrinsics = _numbers(message, INTRINSICS, (3, 3), "K [px]")
    extrinsics = _numbers(message, EXTRINSICS, (4, 4), "T_world_camera [m]")
    names = "(x, y, z, roll, pitch, yaw, gripper)" if turns else "(x, y, z, gripper)"
    state = _numbers(message, STATE, (7,) if turns else (4,), f"{names} [m, rad, 0 to 1]")
    prompt = message.get(PROMPT, "")
    if not isinstance(prompt, str) or len(prompt) > 1000:
        raise MessageError(f"{PROMPT} must be at most 1000 characters.")
    age = message.get(AGE, 0.0)
    if isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age < math.inf:
        raise MessageError(f"{AGE} must be a number of seconds, got {one_line(age)}.")
    camera = Camera(intrinsics, extrinsics, image.shape[1], image.shape[0])
    try:
        camera.validate()
    except CameraError as error:
        raise MessageError(f"{INTRINSICS}, {EXTRINSICS}: {one_line(error, 300)}") from error
    image, camera = fitted(image, camera, image_size)
    observation = Observation(image, camera, state[:3], float(np.clip(state[-1], 0, 1)), prompt)
    wants = message.get(HEATMAPS) is True
    return Request(observation, state[3:6] if turns else None, float(age), wants)


def _numbers(message: dict[Any, Any], key: str, shape: tuple[int, ...], what: str) -> np.ndarray:
    value = message.get(key)
    if isinstance(value, np.ndarray) and value.shape == shape and np.isfinite(value).all():
        return value.astype(np.float64)
    raise MessageError(f"{key} must be finite {what} of shape {shape}, got {_what(value)}.")


def _what(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}" + (
            "" if np.isfinite(value).all() else " with NaN or infinity"
        )
    return type(value).__name__
