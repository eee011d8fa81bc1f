"""openpi's own client, unchanged, drives the server; its pins (NumPy below 2) ask for a venv."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from para.serving.server import PolicyServer

CLIENT = ("openpi-client==0.1.2", "typing_extensions")
"""Its metadata forgets the second, which it imports."""
PROGRAM = """
import sys
import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

host, port = sys.argv[1].removeprefix("ws://").split(":")
policy = WebsocketClientPolicy(host, int(port))
execute = policy.get_server_metadata()["execute"]
f = 96 / (2 * np.tan(np.radians(22.5)))
down = np.diag([1.0, -1.0, -1.0, 1.0])
down[:3, 3] = 0.0, 0.0, 1.5
observation = {
    "observation/image": np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8),
    "observation/intrinsics": np.array([[f, 0, 64], [0, f, 48], [0, 0, 1.0]]),
    "observation/extrinsics": down,
    "observation/state": np.array([0.0, 0.0, 0.2, 1.0], np.float32),
    "prompt": "put the bowl on the plate",
}
answer = policy.infer(observation)
assert answer["actions"].shape == (12, 4) and np.isfinite(answer["actions"]).all(), answer
assert answer["server_timing"]["infer_ms"] > 0
broker = ActionChunkBroker(WebsocketClientPolicy(host, int(port)), action_horizon=execute)
for k in range(execute):
    action = broker.infer(observation)["actions"]
    assert action.shape == (4,) and np.allclose(action, answer["actions"][k], atol=1e-5), k
try:
    policy.infer({"prompt": "nothing else"})
except RuntimeError as error:
    assert "observation/image" in str(error), error
else:
    raise AssertionError("an error must be raised")
assert policy.infer(observation)["refused"] == ""
print(np.__version__)
"""


@pytest.fixture(scope="module")
def their_python(tmp_path_factory) -> Path:
    """A Python with openpi's client and what it pins."""
    folder = tmp_path_factory.mktemp("openpi")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *CLIENT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"{CLIENT[0]} cannot be installed here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_their_client_drives_our_server(their_python, server: PolicyServer):
    command = [their_python, "-c", PROGRAM, server.address]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=clean)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(".")[0]) < 2
    assert not sys.modules.get("openpi_client")
