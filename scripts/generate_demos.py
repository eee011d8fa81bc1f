"""Make a set of demonstrations: `python scripts/generate_demos.py dataset=objpos`."""

from para.commands.generate_demos import main

if __name__ == "__main__":
    main()
