"""A client of the policy server, as a robot's program uses one.

openpi's own (`pip install openpi-client`) does as well; this one needs no NumPy below 2, speaks TLS
with a certificate of one's own, and makes the message.
"""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from para.errors import ParaError, one_line
from para.serving import messages
from para.types import Observation


class ServerError(ParaError):
    """The server cannot be reached, or answers with an error."""


class PolicyClient:
    """A connection to a policy server.

    Args:
        address: ws://HOST:PORT, or wss:// with TLS.
        token: Where the server wants one.
        authority: PEM file of the certificate to trust, where no known authority has signed it.
        timeout: For connecting and for each answer [s].

    Raises:
        ServerError: Nobody answers there, or not to this token.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        authority: str | None = None,
        timeout: float = 10.0,
    ):
        self._timeout = timeout
        headers = {"Authorization": f"Api-Key {token}"} if token else None
        tls = ssl.create_default_context(cafile=authority) if authority else None
        self._open = ExitStack()
        try:
            self._connection = self._open.enter_context(
                connect(
                    address,
                    additional_headers=headers,
                    ssl=tls,
                    compression=None,
                    max_size=None,
                    open_timeout=timeout,
                )
            )
            self.metadata: dict[str, Any] = self._receive()
        except (OSError, InvalidHandshake) as error:
            raise ServerError(f"{address}: {one_line(error)}.") from error

    def infer(
        self,
        observation: Observation,
        rotation: np.ndarray | None = None,
        age: float = 0.0,
        heatmaps: bool = False,
    ) -> dict[str, Any]:
        """The server's answer: actions (T, 4 or 7), seconds (T,), refused, confidence (T,), ...

        Args:
            observation: Its image may have any size; the camera is that of the image.
            rotation: (3,) how the hand is turned [rad], for policies that turn it.
            age: Of the image [s].
            heatmaps: Ask for them too, (T, h, w).

        Raises:
            ServerError: The server says what is wrong, or has gone away.
        """
        turn = [] if rotation is None else rotation
        message = {
            messages.IMAGE: observation.image,
            messages.INTRINSICS: np.asarray(observation.camera.intrinsics),
            messages.EXTRINSICS: np.asarray(observation.camera.T_world_camera),
            messages.STATE: np.array([*observation.ee_position, *turn, observation.gripper]),
            messages.PROMPT: observation.instruction,
            messages.AGE: age,
            messages.HEATMAPS: heatmaps,
        }
        try:
            self._connection.send(messages.pack(message))
        except ConnectionClosed as error:
            raise ServerError(f"The server has gone away ({one_line(error)}).") from error
        return self._receive()

    def close(self) -> None:
        """Say goodbye."""
        self._open.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv(timeout=self._timeout)
        except TimeoutError as error:
            raise ServerError(f"No answer within {self._timeout:g} s.") from error
        except ConnectionClosed as error:
            raise ServerError(f"The server has gone away ({one_line(error)}).") from error
        if isinstance(answer, str):
            raise ServerError(answer)
        return messages.unpack(answer)
