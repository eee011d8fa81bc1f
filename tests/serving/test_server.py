"""The policy server: right answers for polite clients, one sentence for the others, no end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from para.camera import Camera
from para.cli import load_config
from para.errors import CheckpointError, ConfigError
from para.fields import check
from para.places import ROOT
from para.runs.policy_file import load_policy
from para.serving import messages
from para.serving.client import PolicyClient, ServerError
from para.serving.config import ServeConfig
from para.serving.server import PolicyServer, serving
from para.types import Inference, Observation
from tests.runs_fixture import save_untrained
from tests.serving.served import SMALL, request


def observation(seed: int = 0) -> Observation:
    asked = request(seed)
    height, width = asked[messages.IMAGE].shape[:2]
    camera = Camera(asked[messages.INTRINSICS], asked[messages.EXTRINSICS], width, height)
    state = asked[messages.STATE]
    return Observation(asked[messages.IMAGE], camera, state[:3], state[3], "put the bowl")


def still_answers(server: PolicyServer) -> None:
    with PolicyClient(server.address) as client:
        assert client.infer(observation())["actions"].shape == (12, 4)


def test_it_answers_what_the_policy_predicts(server, small_policy):
    policy, _ = load_policy(small_policy)
    seen = observation()
    image, camera = messages.fitted(seen.image, seen.camera, 32)
    fit = Observation(image, camera, seen.ee_position, seen.gripper, seen.instruction)
    (plan,) = policy.predict([fit], Inference())
    with PolicyClient(server.address) as client:
        assert client.metadata["image_size"] == 32
        assert client.metadata["actions"] == ["x", "y", "z", "gripper"]
        answer = client.infer(seen, heatmaps=True)
        again = client.infer(seen)
    assert answer["refused"] == ""
    np.testing.assert_allclose(answer["actions"][:, :3], plan.positions, atol=1e-6)
    assert np.array_equal(answer["actions"][:, 3], plan.gripper)
    np.testing.assert_allclose(answer["heatmaps"], plan.heatmaps, atol=1e-6)
    assert answer["confidence"].shape == (12,)
    assert "heatmaps" not in again
    assert again["server_timing"]["prev_total_ms"] > again["server_timing"]["infer_ms"] * 0.1 > 0


def test_health_and_other_paths(server):
    address = server.address.replace("ws://", "http://")
    with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:
        assert (answer.status, answer.read()) == (200, b"OK\n")
    with pytest.raises(urllib.error.HTTPError):  # no websocket handshake
        urllib.request.urlopen(address, timeout=10)


def test_many_clients_share_batches(server):
    def ask(seed: int) -> np.ndarray:
        with PolicyClient(server.address, timeout=60) as client:
            return client.infer(observation(seed % 3))["actions"]

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(72)))
    for seed in range(3):
        for one in answers[seed::3]:
            np.testing.assert_allclose(one, answers[seed], atol=1e-4)
    assert max(server._batcher.sizes) > 1


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ("hello", "binary"),
        (b"", "No msgpack"),
        (messages.pack(request())[:100], "No msgpack"),
        (messages.pack({"prompt": "x"}), "observation/image"),
        (b"\x80\x04\x95." * 20, "No msgpack|map"),
        (np.random.default_rng(5).bytes(2000), "msgpack|map|parts|extension"),
    ],
    ids=["text", "nothing", "cut", "no image", "pickles", "noise"],
)
def test_what_is_no_observation_gets_a_sentence_and_the_connection_stays(server, data, part):
    with connect(server.address, compression=None) as raw:
        messages.unpack(raw.recv(timeout=10))
        raw.send(data)
        sentence = raw.recv(timeout=10)
        assert isinstance(sentence, str)
        assert any(word in sentence for word in part.split("|")), sentence
        assert "\n" not in sentence
        raw.send(messages.pack(request()))
        assert isinstance(raw.recv(timeout=10), bytes)


def test_what_is_too_large_ends_the_connection_only(server):
    with connect(server.address, compression=None) as raw:
        raw.recv(timeout=10)
        raw.send(b"\0" * (server.metadata["max_message"] + 1))
        with pytest.raises(ConnectionClosed) as caught:
            raw.recv(timeout=10)
        assert caught.value.rcvd.code == 1009
    still_answers(server)


def test_clients_that_die_or_dawdle_hold_nobody_up(server):
    host, port = server.address.removeprefix("ws://").split(":")
    with ExitStack() as dying:
        for k in range(10):
            raw = dying.enter_context(connect(server.address, compression=None))
            raw.recv(timeout=10)
            raw.send(messages.pack(request(k)))
            if k % 2:
                raw.socket.shutdown(socket.SHUT_RDWR)
    slow = [socket.create_connection((host, int(port))) for _ in range(10)]
    for each in slow:
        each.sendall(b"GET / HTTP/1.1\r\nHost:")  # and no more
    begin = time.monotonic()
    for _ in range(5):
        still_answers(server)
    assert time.monotonic() - begin < 60
    for each in slow:
        each.close()
    still_answers(server)


def test_an_image_that_shows_nothing_is_refused_and_the_hand_stays(server):
    seen = observation()
    dark = Observation(np.zeros_like(seen.image), seen.camera, seen.ee_position, 0.2)
    with PolicyClient(server.address) as client:
        answer = client.infer(dark)
        assert "black" in answer["refused"]
        here = np.array([*seen.ee_position, 0.0])
        assert np.array_equal(answer["actions"], np.tile(here, (12, 1)))
        assert "0.80 s old" in client.infer(seen, age=0.8)["refused"]
        assert client.infer(seen)["refused"] == ""
        moved = Observation(seen.image, seen.camera, seen.ee_position + 0.05, 1.0)
        assert "not a pixel" in client.infer(moved)["refused"]


def test_a_camera_that_is_knocked_is_refused(server):
    seen = observation()
    aside = Observation(np.roll(seen.image, 3, 1), seen.camera, seen.ee_position, seen.gripper)
    with PolicyClient(server.address) as client:
        assert client.infer(seen)["warning"] == ""
        answer = client.infer(aside)
        assert "camera has moved" in answer["refused"]
        assert answer["warning"] == answer["refused"]
        again = client.infer(seen)
        assert (again["refused"], again["warning"]) == ("", "")


def test_a_token_and_a_crowd(small_policy, tmp_path):
    path = tmp_path / "token.txt"
    path.write_text("a-long-random-word-of-32-letters\n")
    arguments = [f"policy={small_policy}", "port=0", f"token_file={path}", "max_clients=1"]
    with serving(load_config(ServeConfig, [*arguments, "workers=1"])) as server:
        for token in (None, "wrong", "ä"):
            with pytest.raises((ServerError, UnicodeError), match=r"401|encode"):
                PolicyClient(server.address, token)
        with PolicyClient(server.address, path.read_text().strip()) as client:
            assert client.infer(observation())["actions"].shape == (12, 4)
            with pytest.raises(ServerError, match="503"):
                PolicyClient(server.address, path.read_text().strip())


def test_tls_with_a_certificate_of_ones_own(small_policy, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
         "-out", str(certificate)], check=True, capture_output=True,
    )  # fmt: skip
    files = [f"certificate={certificate}", f"private_key={key}"]
    arguments = [f"policy={small_policy}", "port=0", "workers=1", *files]
    with serving(load_config(ServeConfig, arguments)) as server:
        assert server.address.startswith("wss://")
        with PolicyClient(server.address, authority=str(certificate)) as client:
            assert client.infer(observation())["actions"].shape == (12, 4)
        with pytest.raises(ServerError, match="certificate verify failed"):
            PolicyClient(server.address)
    cfg = load_config(ServeConfig, [*arguments[:-2], f"certificate={key}", f"private_key={key}"])
    with pytest.raises(ConfigError, match="no pair of PEM files"):
        PolicyServer(cfg)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["host=0.0.0.0"], "token_file"),
        (["host=example.org"], "token_file"),
        (["token_file=nowhere"], "is no file"),
        (["certificate=pyproject.toml"], "both certificate"),
        (["safety.low=[1,1,1]"], "below safety.high"),
        (["safety.high=[1,1]"], "three numbers"),
        (["port=70000"], "at most 65535"),
    ],
)
def test_what_cannot_be_served_is_said_before(arguments, part, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError) as caught:
        check(load_config(ServeConfig, arguments))
    assert part in str(caught.value)


def test_foreign_policies_and_weak_tokens_are_refused(small_policy, tmp_path):
    for policy, part in (("nothing", "no folder"), (tmp_path, "policy.json")):
        with pytest.raises(CheckpointError, match=part):
            PolicyServer(load_config(ServeConfig, [f"policy={policy}"]))
    with pytest.raises(ConfigError, match="12 waypoints"):
        PolicyServer(load_config(ServeConfig, [f"policy={small_policy}", "execute=13"]))
    (tmp_path / "token").write_text("abc")
    with pytest.raises(ConfigError, match="at least 16"):
        PolicyServer(load_config(ServeConfig, [f"token_file={tmp_path / 'token'}"]))


def test_a_policy_that_turns_the_hand_asks_for_its_rotation(tmp_path):
    save_untrained(tmp_path / "turns", [*SMALL, "model.head.rotation_bins=8"])
    arguments = [f"policy={tmp_path / 'turns'}", "port=0", "workers=1"]
    with (
        serving(load_config(ServeConfig, arguments)) as server,
        PolicyClient(server.address) as client,
    ):
        assert client.metadata["actions"] == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
        with pytest.raises(ServerError, match="yaw"):
            client.infer(observation())
        dark = observation()
        dark.image[:] = 0
        answer = client.infer(dark, rotation=np.array([0.0, 0.1, 0.2]))
        assert np.array_equal(answer["actions"][3], [0.0, 0.1, 0.2, 0.0, 0.1, 0.2, 1.0])


def test_it_stops_when_told_and_answers_first(small_policy):
    server_end = threading.Event()
    with serving(load_config(ServeConfig, [f"policy={small_policy}", "port=0"])) as server:
        predict, policy = server._policy.predict, server._policy

        def slowly(*arguments):
            server_end.set()
            time.sleep(0.5)
            return predict(*arguments)

        policy.predict = slowly
        client = PolicyClient(server.address)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.infer, observation())
            assert server_end.wait(10)
            address = server.address
    assert answer.result()["actions"].shape == (12, 4)
    with pytest.raises(ServerError, match="gone away"):
        client.infer(observation())
    with pytest.raises(ServerError):
        PolicyClient(address, timeout=2)


@pytest.mark.slow
def test_the_command_serves_until_it_is_told_to_stop(small_policy):
    command = [sys.executable, "scripts/serve.py", f"policy={small_policy}", "port=0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        address = line.split(" at ")[1].split()[0]
        with PolicyClient(address, timeout=30) as client:
            assert client.infer(observation())["actions"].shape == (12, 4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        assert process.stderr.read().endswith("Stopped.\n")
    finally:
        process.kill()
        process.stderr.close()
