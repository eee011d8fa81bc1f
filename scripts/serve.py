"""Serve a policy to robots: `python scripts/serve.py policy=para_lr`."""

from para.commands.serve import main

if __name__ == "__main__":
    main()
