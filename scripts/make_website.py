"""Build the results website: `python scripts/make_website.py serve=true`."""

from para.commands.make_website import main

if __name__ == "__main__":
    main()
