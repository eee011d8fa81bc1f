"""Every fault that is injected into good demos is found and named, and good demos have none."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_demos import FRAMES, INJECTED, drawn_episode

from para.commands.check_data import main
from para.data.checks import FAULTS, check_demos
from para.data.format import episode_path, write_episode
from para.video import probe_video


@pytest.fixture(scope="module")
def good():
    return [drawn_episode(k) for k in range(3)]


def test_good_demos_have_nothing_wrong(good):
    found, numbers = check_demos(good)
    assert found == []
    assert numbers["agreement"] > 0.6
    assert abs(numbers["lag_s"]) < 0.05


@pytest.mark.parametrize("name", INJECTED)
def test_an_injected_fault_is_found_with_how_to_mend_it(good, name):
    fault, inject, mend = INJECTED[name]
    found, _ = check_demos([inject(episode) for episode in good])
    assert fault in [finding.fault for finding in found], found
    assert mend in next(f.mend for f in found if f.fault == fault)


def test_the_lag_is_estimated(good):
    _, inject, _ = INJECTED["poses 0.2 s late"]
    found, numbers = check_demos([inject(episode) for episode in good])
    assert numbers["lag_s"] == pytest.approx(0.2, abs=0.05)
    assert [finding.fault for finding in found] == ["lag"]


def test_what_stands_still_cannot_be_judged(good):
    still = [drawn_episode(0)]
    still[0].arrays["obs/ee_pose"][:, :3] = [0.0, 0.0, 0.03]
    (finding,), _ = check_demos(still)
    assert finding.fault == "geometry"
    assert f"none of {len(FAULTS)} usual mistakes" in finding.says
    assert np.isfinite(check_demos(still)[1]["agreement"])


def test_the_command_draws_and_says_what_is_wrong(tmp_path, good, capsys):
    upside = INJECTED["image upside down"][1]
    for episode in good[:2]:
        write_episode(episode_path(tmp_path / "set", episode.meta.index), upside(episode))
    with pytest.raises(SystemExit) as caught:
        main([f"data={tmp_path}/set", f"outputs_dir={tmp_path}"])
    said = capsys.readouterr().out
    assert caught.value.code == 1
    assert "WRONG image_flipped: projected poses do not move with the image" in said
    assert "  mend: the images are turned over vertical" in said
    assert (tmp_path / "check_data/set/contact_sheet.png").stat().st_size > 10_000
    assert probe_video(tmp_path / "check_data/set/demo_00000.mp4").frames == FRAMES
    with pytest.raises(SystemExit) as caught:
        main([f"data={tmp_path}", f"outputs_dir={tmp_path}"])
    assert caught.value.code == 2
    assert "has no demos (demo_*.hdf5)" in capsys.readouterr().err
