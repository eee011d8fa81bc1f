"""Say what this machine can do for PARA: `python scripts/doctor.py`, `para-doctor`."""

from para.cli import para_main, say
from para.common import CommonConfig


@para_main(CommonConfig, examples=["", "profile=paper", "data_dir=data runs_dir=runs"])
def main(cfg: CommonConfig) -> None:
    """Report versions, usable cores, GPU, rendering backends with fps, cached weights, disk."""
    from para.doctor import examine

    report, healthy = examine(cfg)
    say(report)
    raise SystemExit(0 if healthy else 1)


if __name__ == "__main__":
    main()
