"""Every key of scripts/serve.py."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, ClassVar

from para.common import CommonConfig
from para.fields import choice, number, require
from para.safety import SafetyConfig
from para.types import Inference


@dataclass
class ServeConfig(CommonConfig):
    """scripts/serve.py"""

    script: ClassVar[str] = "serve"

    policy: str = "para_lr"
    """Folder of a policy, wherever it lies, or name of one that comes with the code."""
    host: str = "127.0.0.1"
    """Address to listen on; other than this machine's own needs a token."""
    port: int = number(8000, least=0, most=65535)
    """Port to listen on; 0 takes a free one."""
    token_file: str | None = None
    """File with the token that clients must send, as openpi's clients do (api_key=...)."""
    certificate: str | None = None
    """PEM file of the certificate chain: the server speaks TLS (wss://)."""
    private_key: str | None = None
    """PEM file of its private key."""
    max_message_mb: float = number(8.0, above=0, most=1024)
    """Largest message that is read [MiB]."""
    max_clients: int = number(64, least=1, most=10_000)
    """Clients at once; further ones are sent away (503)."""
    batch: int = number(8, least=1, most=4096)
    """Waiting requests that are predicted together, at most."""
    execute: int = number(4, least=1, most=1000)
    """Waypoints that clients execute before they ask again: refusals are about these."""
    subcell: bool = True
    """Refine the argmax by a local soft-argmax, for pixels and for heights."""
    precision: str = choice("fp32", ("fp32", "bf16"))
    """Of inference: fp32 | bf16 (autocast)."""
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    @property
    def inference(self) -> Inference:
        """How the policy is run."""
        return Inference(self.execute, self.subcell, self.precision)

    def rules(self, key: str, run: Any) -> None:
        """Files are there, TLS is whole, and nobody is served whom one does not know."""
        for name in ("token_file", "certificate", "private_key"):
            path = getattr(self, name)
            require(path is None or os.path.isfile(path), f"{name}={path} is no file.")
        require(
            (self.certificate is None) == (self.private_key is None),
            "TLS needs both certificate=FILE and private_key=FILE.",
        )
        require(
            self.token_file is not None or _is_own(self.host),
            f"host={self.host} lets other machines in: add token_file=FILE, a file with a long "
            "random word that clients must send (python -c 'import secrets; "
            "print(secrets.token_urlsafe(32))' > FILE).",
        )


def _is_own(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
