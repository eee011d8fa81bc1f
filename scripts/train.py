"""Train a policy: `python scripts/train.py model=para`."""

from para.commands.train import main

if __name__ == "__main__":
    main()
