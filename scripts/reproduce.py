"""Train and evaluate everything, then build the website: `python scripts/reproduce.py`."""

from para.commands.reproduce import main

if __name__ == "__main__":
    main()
