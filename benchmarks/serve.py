"""A soak of the policy server: `python benchmarks/serve.py [workers=THREADS]`.

REQUESTS requests of CLIENTS clients at once to `scripts/serve.py policy=para_lr`, in a process of
its own. Every fiftieth is bad: cut short, random, text, an array of objects, larger than allowed;
or its client dies without goodbye. Counts answers, and the server's memory after a warm-up (the
first tenth) and at the end. Writes <results_dir>/benchmarks/serve.json.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

import msgpack
import numpy as np
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from para.camera import Camera
from para.cli import load_config, plainly
from para.files import atomic_write_json
from para.places import ROOT
from para.serving import messages
from para.serving.config import ServeConfig
from para.system import provenance

REQUESTS, CLIENTS, EVERY = 10_000, 50, 50
TIMEOUT = 120.0


def observation(seed: int, size: int = 160) -> dict[str, object]:
    """Noise, seen from the default view."""
    camera = Camera.look_at((0.96, 0, 1.15), (0, 0, 0), 45, size, size)
    return {
        messages.IMAGE: np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8),
        messages.INTRINSICS: camera.intrinsics,
        messages.EXTRINSICS: camera.T_world_camera,
        messages.STATE: np.array([0.0, 0.0, 0.2, 1.0]),
    }


def bad(turn: int, most: int) -> bytes | str:
    """A message that is none, of the kind that is due."""
    whole = messages.pack(observation(turn))
    objects = {b"__ndarray__": True, b"data": b"\x80\x04.", b"dtype": "|O", b"shape": [1]}
    kinds = (
        whole[: len(whole) // 2],
        np.random.default_rng(turn).bytes(5000),
        "an observation",
        msgpack.packb({messages.IMAGE: objects}),
        bytes(most + 1),
    )
    return kinds[turn % len(kinds)]


def soak(address: str, pid: int, requests: int, clients: int) -> dict[str, object]:
    """Send `requests` requests; what came back, and the server's memory.

    Args:
        address: Of the server.
        pid: Of its process.
        requests: Of all clients together.
        clients: At once.
    """
    numbers, server, memory = count(), psutil.Process(pid), {}
    resident = {requests // 10: "warm", requests // 2: "half"}

    def client(seed: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        good = messages.pack(observation(seed))
        while True:
            with connect(address, compression=None, max_size=None, open_timeout=TIMEOUT) as raw:
                most = messages.unpack(raw.recv(TIMEOUT))["max_message"]
                while True:
                    number = next(numbers)
                    if number >= requests:
                        return seen
                    if number in resident:
                        memory[resident[number]] = server.memory_info().rss
                    is_bad = number % EVERY == EVERY - 1
                    turn = number // EVERY
                    try:
                        raw.send(bad(turn, most) if is_bad else good)
                        if is_bad and turn % 6 == 5:
                            with suppress(OSError):  # the server may have hung up first
                                raw.socket.shutdown(socket.SHUT_RDWR)
                            seen["died"] += 1
                            break
                        answer = raw.recv(TIMEOUT)
                    except ConnectionClosed as error:
                        code = error.rcvd.code if error.rcvd else "none"
                        seen[f"closed with {code}"] += 1
                        break
                    if isinstance(answer, str):
                        seen["a sentence"] += 1
                    else:
                        finite = np.isfinite(messages.unpack(answer)["actions"]).all()
                        seen["actions" if finite else "no numbers"] += 1

    with ThreadPoolExecutor(clients) as pool:
        total = sum(pool.map(client, range(clients)), Counter())
    memory["end"] = server.memory_info().rss
    return {
        "requests": requests,
        "clients": clients,
        "answers": dict(sorted(total.items())),
        "rss_mb": {name: round(value / 2**20, 1) for name, value in memory.items()},
        "open_files": server.num_fds(),
    }


def main() -> None:
    """Start the server, soak it, stop it, write what was seen."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cfg = load_config(ServeConfig, sys.argv[1:])
    threads = f"workers={cfg.workers or 1}"
    command = [sys.executable, "scripts/serve.py", "policy=para_lr", "port=0", threads]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stderr.readline().split(" at ")[1].split()[0]
        with ThreadPoolExecutor(1) as reader:
            said = reader.submit(process.stderr.read)  # a full pipe would stop it
            try:
                found = soak(address, process.pid, REQUESTS, CLIENTS)
            finally:
                process.terminate()  # else the reader waits for ever
            found["exit_status"] = process.wait(60)
            found["tracebacks"] = said.result().count("Traceback")
    finally:
        process.kill()
    logging.info("%s", found)
    result = {**provenance("benchmarks/serve.py", sys.argv[1:]), **found}
    atomic_write_json(f"{cfg.results_dir}/benchmarks/serve.json", result)


if __name__ == "__main__":
    plainly(main)
