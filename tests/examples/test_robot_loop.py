"""The example drives the simulated robot through a real server, over a socket."""

from __future__ import annotations

import runpy

from para.cli import load_config
from para.places import ROOT
from para.serving.config import ServeConfig
from para.serving.server import serving


def test_one_episode_succeeds_through_the_server(capsys):
    loop = runpy.run_path(str(ROOT / "examples" / "robot_loop.py"))
    assert len((ROOT / "examples" / "robot_loop.py").read_text().splitlines()) < 90
    with serving(load_config(ServeConfig, ["policy=para_lr", "port=0", "workers=1"])) as server:
        loop["main"](server.address, "1")
        assert capsys.readouterr().out == "1 of 1 episodes succeeded.\n"
        dark = loop["Robot"](server.metadata["image_size"])
        dark.look = lambda: (dark.wait(0.06), observed(dark))[1]
        dark.begin(dark.env.condition)
        with loop["PolicyClient"](server.address) as client:
            assert not loop["episode"](dark, client)
        assert "holds still: the image is black" in capsys.readouterr().out


def observed(robot):
    """What is seen with the lens covered; the time of the episode passes quickly."""
    robot.env.steps += 100
    seen = robot.env.observe()
    seen.image[:] = 0
    return seen
