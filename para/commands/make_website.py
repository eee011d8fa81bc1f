"""Build the results website: `python scripts/make_website.py`, `para-make-website`."""

import sys

from para.cli import para_main, say
from para.website.config import MakeWebsiteConfig


@para_main(
    MakeWebsiteConfig,
    examples=[
        "serve=true",
        "out=public robot=hand",
        "results_dir=results only=[per_theta_chart,lr_success_map]",
    ],
)
def main(cfg: MakeWebsiteConfig) -> None:
    """Turn result files, training runs and demos into figures, videos and a page about them.

    The committed campaign fills the page; what was measured here has a table beside it, and a page
    of its own.
    Whatever is up to date is not made again. Exits with status 1 if a file had to be left out.
    """
    from para.website.make import make_website
    from para.website.serve import server

    site = make_website(cfg)
    say(f"Website: {site.out / 'index.html'}")
    for item in site.left_out:
        say(f"Left out: {item.folder}/{item.name}: {item.reason}")
    for asset in site.failed:
        say(f"Not made: {asset.name}: {asset.message}")
    if cfg.serve:
        with server(site.out, cfg.port) as running:
            say(f"Serving on http://127.0.0.1:{running.server_port}/ until Ctrl-C")
            try:
                running.serve_forever()
            except KeyboardInterrupt:
                say("")
    if site.left_out or site.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
