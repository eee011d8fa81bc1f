"""Say what this machine can do for PARA: `python scripts/doctor.py`."""

from para.commands.doctor import main

if __name__ == "__main__":
    main()
