"""Export demonstrations: `python scripts/export_demos.py target=lerobot data=FOLDER`."""

from para.commands.export_demos import main

if __name__ == "__main__":
    main()
