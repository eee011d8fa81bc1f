"""Evaluate trained policies: `python scripts/eval.py split=lr`."""

from para.commands.eval import main

if __name__ == "__main__":
    main()
