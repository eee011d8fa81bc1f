"""A policy behind a websocket that speaks openpi's protocol.

On connect the server sends its metadata; then each binary message is an observation and its answer
an action chunk (`para.serving.messages`). A text message is an error, in one sentence; the
connection stays. `GET /healthz` answers 200. Clients that send a token do so as openpi's do, in the
header `Authorization: Api-Key TOKEN`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import torch
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from para.data.format import FRAME_SECONDS
from para.drift import DriftWatch, places
from para.errors import ConfigError, ParaError, one_line
from para.policies.base import Policy
from para.pretrained import policy_folder
from para.runs.policy_file import load_policy, policy_config, read_policy_meta
from para.safety import Judged, Watch, judge, unfit_image
from para.serving.batching import Batcher
from para.serving.config import ServeConfig
from para.serving.messages import KEYS, MessageError, Request, pack, read_request, unpack
from para.system import set_threads

_logger = logging.getLogger(__name__)

SEND_SECONDS = 20.0
"""A client that does not read an answer for so long is cut off."""
PING_SECONDS = 20.0
"""How often a connection is tried, and how long it may take to answer."""
GRACE_SECONDS = 10.0
"""What is being predicted when the server stops is still answered for so long."""


class PolicyServer:
    """One policy, many clients.

    Args:
        cfg: Where and how it is served.

    Raises:
        CheckpointError: There is no such policy, or it is damaged.
        ConfigError: It predicts no actions, or fewer waypoints than are executed; or the token or
            the certificate cannot be read.
    """

    def __init__(self, cfg: ServeConfig):
        self.cfg = cfg
        self._token = _token(cfg)
        self._tls = _tls(cfg)
        folder = policy_folder(cfg.policy)
        trained = policy_config(folder, read_policy_meta(folder))
        if not trained.model.acts:
            raise ConfigError(f"{folder} only prepares other policies: it predicts no actions.")
        if cfg.execute > trained.model.horizon:
            raise ConfigError(
                f"execute={cfg.execute}, but {folder} predicts {trained.model.horizon} waypoints."
            )
        self._policy: Policy = load_policy(folder)[0]
        self._policy.to("cuda" if torch.cuda.is_available() else "cpu")
        set_threads(cfg.workers)
        self._turns = trained.model.predicts_rotation
        self._seconds = trained.model.waypoint_stride * FRAME_SECONDS
        turn = ["roll", "pitch", "yaw"] if self._turns else []
        self.metadata: dict[str, Any] = {
            "policy": trained.model.name,
            "task": trained.task.name,
            "observation": list(KEYS),
            "image_size": self._policy.image_size,
            "actions": ["x", "y", "z", *turn, "gripper"],
            "frame": "world: metres, z up, the table is z = 0; gripper 1 = open",
            "horizon": trained.model.horizon,
            "execute": cfg.execute,
            "waypoint_seconds": self._seconds,
            "max_message": int(cfg.max_message_mb * 2**20),
        }
        self._batcher: Batcher | None = None
        self._server: Server | None = None
        self._busy = 0

    @property
    def address(self) -> str:
        """Where clients find it."""
        if self._server is None:
            raise ConfigError("The server has not been started.")
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        return f"{'wss' if self._tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: The port is taken.
        """
        inference = self.cfg.inference
        self._batcher = Batcher(
            lambda observations: self._policy.predict(observations, inference), self.cfg.batch
        )
        self._batcher.start()
        try:
            self._server = await serve(
                self._converse,
                self.cfg.host,
                self.cfg.port,
                process_request=self._admit,
                ssl=self._tls,
                compression=None,  # arrays hardly shrink, and a small message could become huge
                max_size=int(self.cfg.max_message_mb * 2**20),
                max_queue=1,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                server_header=None,
                logger=_quiet_logger(),
            )
        except BaseException:
            await self._batcher.stop()
            raise

    async def stop(self) -> None:
        """Take no new clients, answer what is being predicted, close."""
        if self._server is None or self._batcher is None:
            return
        self._server.close(close_connections=False)
        end = time.monotonic() + GRACE_SECONDS
        while self._busy and time.monotonic() < end:
            await asyncio.sleep(0.01)
        await asyncio.gather(*(c.close(1001, "the server stops") for c in self._server.connections))
        await self._batcher.stop()

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if self._token is not None:
            said = request.headers.get("Authorization", "")
            if not hmac.compare_digest(said.encode(), f"Api-Key {self._token}".encode()):
                return connection.respond(HTTPStatus.UNAUTHORIZED, "This server wants a token.\n")
        if len(self._server.connections) >= self.cfg.max_clients:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many clients.\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        watch, moves, before = Watch(), DriftWatch(), None
        try:
            await connection.send(pack(self.metadata))
            async for message in connection:
                begin = time.perf_counter()
                self._busy += 1
                try:
                    answer = await self._answer(message, watch, moves, before)
                    await asyncio.wait_for(connection.send(answer), SEND_SECONDS)
                finally:
                    self._busy -= 1
                before = time.perf_counter() - begin
        except ConnectionClosed:
            pass
        except TimeoutError:
            connection.transport.abort()
        except Exception:
            _logger.exception("A request failed.")
            await connection.close(1011, "internal error")

    async def _answer(
        self, message: str | bytes, watch: Watch, moves: DriftWatch, before: float | None
    ) -> bytes | str:
        try:
            if isinstance(message, str):
                raise MessageError("Messages are binary: msgpack, as openpi's clients send it.")
            asked = read_request(unpack(message), self._policy.image_size, self._turns)
            begin = time.perf_counter()
            reason = self._unfit(asked, watch)
            chunk = await self._batcher.ask(asked.observation)
        except ParaError as error:
            return one_line(error, 1000)
        seen, execute = asked.observation, self.cfg.execute
        # an image that shows nothing must not become what later ones are compared with
        drift = None if reason else moves.drift(seen, places(seen, chunk, execute))
        judged = judge(
            *(self.cfg.safety, seen, chunk, execute, self._seconds),
            *(asked.rotation, reason, drift),
        )
        if said := f"Refused: {judged.refused}" if judged.refused else judged.warning:
            _logger.warning("%s", said)
        timing = {"infer_ms": 1000 * (time.perf_counter() - begin)}
        timing |= {} if before is None else {"prev_total_ms": 1000 * before}
        return pack(_answer_of(judged, asked) | {"server_timing": timing})

    def _unfit(self, asked: Request, watch: Watch) -> str:
        """Why nothing can follow from this image; empty where something can."""
        stale = watch.stale(asked.observation)
        old = asked.age > self.cfg.safety.max_age
        late = f"the image is stale: {asked.age:.2f} s old, more than {self.cfg.safety.max_age:g}."
        return unfit_image(asked.observation.image) or stale or (late if old else "")


def _answer_of(judged: Judged, asked: Request) -> dict[str, Any]:
    plan = judged.plan
    turn = [] if plan.rotations is None else [plan.rotations]
    answer: dict[str, Any] = {
        "actions": np.column_stack([plan.positions, *turn, plan.gripper]).astype(np.float64),
        "seconds": judged.seconds,
        "refused": judged.refused,
        "warning": judged.warning,
    }
    if judged.confidence is not None:
        answer["confidence"] = judged.confidence.astype(np.float32)
    if asked.heatmaps and plan.heatmaps is not None:
        answer["heatmaps"] = plan.heatmaps.astype(np.float32)
    return answer


def run_server(cfg: ServeConfig) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    server = PolicyServer(cfg)

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await server.start()
        _logger.info("Serving %s at %s (Ctrl-C stops)", server.metadata["policy"], server.address)
        await stop.wait()
        await server.stop()
        _logger.info("Stopped.")

    asyncio.run(run())


@contextmanager
def serving(cfg: ServeConfig) -> Iterator[PolicyServer]:
    """A server in a thread of this process, for as long as the block lasts.

    Raises:
        ParaError, OSError: See `PolicyServer`.
    """
    server, loop = PolicyServer(cfg), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _token(cfg: ServeConfig) -> str | None:
    if cfg.token_file is None:
        return None
    token = Path(cfg.token_file).read_text(encoding="utf-8", errors="replace").strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"token_file={cfg.token_file} must hold one word of at least 16 letters and digits."
        )
    return token


def _tls(cfg: ServeConfig) -> ssl.SSLContext | None:
    if cfg.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cfg.certificate, cfg.private_key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"certificate={cfg.certificate} and private_key={cfg.private_key} are no pair of PEM "
            f"files ({one_line(error)})."
        ) from error
    return context


def _quiet_logger() -> logging.Logger:
    """What websockets says about every stranger's handshake is not for the server's log."""
    logger = logging.getLogger("para.serving.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger
