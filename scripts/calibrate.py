"""Calibrate a camera: `python scripts/calibrate.py source=board path=FOLDER`."""

from para.commands.calibrate import main

if __name__ == "__main__":
    main()
