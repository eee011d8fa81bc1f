"""Serve a policy to robots: `python scripts/serve.py`, `para-serve`."""

from para.cli import para_main
from para.serving.config import ServeConfig


@para_main(
    ServeConfig,
    examples=[
        "policy=para_lr",
        "policy=para_lr port=0 safety.min_confidence=0.4",
        "host=0.0.0.0 token_file=token.txt certificate=chain.pem private_key=key.pem",
    ],
)
def main(cfg: ServeConfig) -> None:
    """Serve a trained policy over a websocket, in openpi's protocol, until Ctrl-C (docs/robot.md).

    Image, camera matrices and state in; waypoints, confidence and a reason to refuse out.
    """
    from para.extras import require_packages

    require_packages("robot", "msgpack", "websockets")
    from para.serving.server import run_server

    run_server(cfg)


if __name__ == "__main__":
    main()
