"""Import demonstrations: `python scripts/import_demos.py source=folder path=FOLDER`."""

from para.commands.import_demos import main

if __name__ == "__main__":
    main()
