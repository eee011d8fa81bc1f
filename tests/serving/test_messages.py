"""Messages: what openpi's client writes is read, anything else is refused in one sentence."""

from __future__ import annotations

import pickle

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from para.serving.messages import (
    EXTRINSICS,
    IMAGE,
    INTRINSICS,
    STATE,
    MessageError,
    fitted,
    pack,
    read_request,
    unpack,
)
from tests.models.model_fixtures import default_camera
from tests.serving.served import request


def array(dtype: object = "<f8", shape: object = (2,), data: object = b"\0" * 16) -> bytes:
    names = {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}
    return msgpack.packb({"x": names})


def test_what_is_packed_comes_back():
    message = request() | {"scalar": np.float32(0.5), "flag": True, "empty": np.zeros((0, 3), "i4")}
    back = unpack(pack(message))
    assert back.keys() == message.keys()
    for key, value in message.items():
        assert np.array_equal(back[key], value), key
        if isinstance(value, np.ndarray):
            assert back[key].dtype == value.dtype
    with pytest.raises(TypeError):
        pack({"x": np.array([object()])})


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "No msgpack message"),
        (pack(request())[:-1], "No msgpack message"),
        (pack(request()) + b"\0", "ExtraData"),
        (pickle.dumps({"x": 1}), "No msgpack message"),
        (b"\xc1", "No msgpack message"),
        (b"\x91" * 5000 + b"\xc0", "No msgpack message"),
        (msgpack.packb([[[]] * 250] * 250), "at most 256 parts"),
        (b"\xdd\xff\xff\xff\xff" + b"\x80" * 100, "No msgpack message"),
        (msgpack.packb(msgpack.ExtType(5, b"abc")), "extension types"),
        (msgpack.packb({1: 2}), "No msgpack message"),
        (array("|O"), "type |O is not read"),
        (array("<c16"), "not read"),
        (array("V8"), "not read"),
        (array("<M8[s]"), "not read"),
        (array("f8,f8"), "not read"),
        (array([["a", "<f8"]]), "not read"),
        (array(7), "not read"),
        (array(shape=(-1,)), "no shape"),
        (array(shape=(2.0,)), "no shape"),
        (array(shape=(True, 2)), "no shape"),
        (array(shape="ab"), "no shape"),
        (array(shape=(1,) * 9), "no shape"),
        (array(shape=(3,)), "has 24 bytes; 16 came"),
        (array(shape=(2**40, 2**40)), "16 came"),
        (array(data="text"), "no came"),
        (msgpack.packb({b"__npgeneric__": True, b"dtype": "|O", b"data": 1}), "not read"),
        (msgpack.packb({b"__npgeneric__": True, b"dtype": "<f8", b"data": "1"}), "not read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused(data, part):
    with pytest.raises(MessageError) as caught:
        unpack(data)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 12000), st.binary(min_size=1, max_size=4))
def test_damaged_messages_never_do_anything_else(place, noise):
    whole = pack(request(height=16, width=16))
    place %= len(whole)
    damaged = whole[:place] + noise + whole[place + len(noise) :]
    try:
        asked = read_request(unpack(damaged), 32, turns=False)
    except MessageError:
        return
    assert asked.observation.image.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({IMAGE: None}, "got nothing"),
        ({IMAGE: np.zeros((48, 64), np.uint8)}, "(48, 64)"),
        ({IMAGE: np.zeros((48, 64, 3), np.float32)}, "float32"),
        ({IMAGE: np.zeros((3, 48, 64), np.uint8)}, "(3, 48, 64)"),
        ({IMAGE: np.zeros((4, 64, 3), np.uint8)}, "16 to 8192 px"),
        ({INTRINSICS: np.zeros((3, 3))}, "singular"),
        ({INTRINSICS: np.full((3, 3), np.nan)}, "NaN"),
        ({INTRINSICS: [1, 2, 3]}, "got list"),
        ({EXTRINSICS: 2 * np.eye(4)}, "not a rotation matrix"),
        ({STATE: np.zeros(7)}, "(x, y, z, gripper)"),
        ({"prompt": 3}, "prompt"),
        ({"observation/image_age": -1}, "seconds"),
    ],
)
def test_a_wrong_key_is_named(changes, part):
    message = request(**changes)
    with pytest.raises(MessageError, match=r"observation/|prompt") as caught:
        read_request(message, 32, turns=False)
    assert part in str(caught.value)
    with pytest.raises(MessageError, match="is a map"):
        read_request([message], 32, turns=False)


def test_image_and_camera_are_fitted_together():
    """What a pixel shows stays on its ray."""
    camera = default_camera(96)
    image = np.zeros((96, 128, 3), np.uint8)
    intrinsics = camera.intrinsics.copy()
    intrinsics[0, 2] = 64
    image[30:36, 70:76] = 255  # a block whose centre is at (73, 33)
    wide = type(camera)(intrinsics, camera.T_world_camera, 128, 96)
    small, fit = fitted(image, wide, 48)
    assert small.shape == (48, 48, 3)
    rows, columns = np.nonzero(small[..., 0] > 127)
    centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    one = wide.unproject_to_height(np.array([73.0, 33.0]), np.array(0.0))
    other = fit.unproject_to_height(centre, np.array(0.0))
    assert np.linalg.norm(one - other) < 1e-9
