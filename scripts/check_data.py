"""Check demos before training on them: `python scripts/check_data.py data=FOLDER`."""

from para.commands.check_data import main

if __name__ == "__main__":
    main()
