"""Small figures and videos in the shape of real ones, so that the page can be tested alone."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from para.figures.build import BuiltAsset, Media

FIGURES = {
    "method_diagram": (1100, 380),
    "exp3_leftright_distribution": (500, 360),
    "lr_success_map": (500, 300),
    "per_theta_chart": (520, 360),
    "data_scaling_chart": (520, 340),
}


def make_figure(folder: Path, name: str, width: int, height: int) -> BuiltAsset:
    """A rectangle with its name, light and dark."""
    for suffix, surface, ink in (("", "#f6f8fa", "#1b1f24"), ("-dark", "#171b22", "#e9edf1")):
        (folder / f"{name}{suffix}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
            f'<rect width="100%" height="100%" fill="{surface}"/>'
            f'<text x="50%" y="50%" fill="{ink}" text-anchor="middle">{name}</text></svg>'
        )
    picture = Media(f"{name}.svg", width, height, f"{name} in words", {"dark": f"{name}-dark.svg"})
    return BuiltAsset(name, "figure", "built", f"What {name} shows.", (picture,))


def make_video(folder: Path, name: str, seconds: float, colour: int, size: int = 128) -> Media:
    """A disc that moves, H.264, with the first frame as its poster."""
    rows, columns = np.mgrid[:size, :size]
    fps = 20
    with av.open(str(folder / f"{name}.mp4"), "w", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(round(seconds * fps)):
            x = size * (0.2 + 0.6 * index / (seconds * fps))
            picture = np.full((size, size, 3), 40, np.uint8)
            picture[(columns - x) ** 2 + (rows - size / 2) ** 2 < (size / 8) ** 2, colour] = 230
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            file.mux(stream.encode(frame))
            if index == 0:
                frame.to_image().save(folder / f"{name}.jpg")
        file.mux(stream.encode())
    return Media(f"{name}.mp4", size, size, f"{name} in words", {"poster": f"{name}.jpg"})


def make_assets(folder: Path) -> list[BuiltAsset]:
    """A few of everything: built, not run, failed; pairs of unequal length, grids, heatmaps."""
    folder.mkdir(parents=True, exist_ok=True)
    assets = [make_figure(folder, name, *size) for name, size in FIGURES.items()]
    for test, word in (("sanity", "sanity"), ("ood", "test")):
        pair = []
        for colour, (model, seconds) in enumerate((("para", 3.0), ("regression", 4.5))):
            outcome = "fail" if (model, test) == ("regression", "ood") else "success"
            video = make_video(folder, f"{model}_lr_{word}_ep000_{outcome}", seconds, colour)
            video.data.update(split="lr", model=model, test=test, index=0, outcome=outcome)
            meaning = "never lifted" if outcome == "fail" else "placed"
            video.data.update(meaning=meaning, rule="the first start where the outcomes differ")
            pair.append(video)
        assets.append(BuiltAsset(f"lr_{word}_pair", "video", "built", "A pair.", tuple(pair)))
    for colour, model in enumerate(("para", "regression")):
        name = f"vp_default_to_all_{model}_rollout_grid"
        video = make_video(folder, name, 4.0, colour, 256)
        video.data.update(split="vp_default_to_all", model=model)
        assets.append(BuiltAsset(name, "video", "built", "A grid.", (video,)))
    heat = make_video(folder, "para_lr_heatmap_ep000", 2.0, 2)
    heat.data.update(split="lr", model="para", test="heatmap", index=0)
    assets.append(BuiltAsset("lr_heatmap", "video", "built", "Heatmaps.", (heat,)))
    assets.append(
        BuiltAsset(
            "nf_success_map",
            "figure",
            "not run",
            "",
            message="It was not run. Run: it",
            command="make it",
        )
    )
    return assets
