"""Export a policy: `python scripts/export.py policy=para_lr format=onnx`."""

from para.commands.export import main

if __name__ == "__main__":
    main()
