"""What the operating system refuses (a folder, memory, the size of a file), in one sentence.

Such errors can come from anywhere, also from libraries, and are no bugs: scripts and their worker
processes ask here for the sentence to say.
"""

from __future__ import annotations

import errno
import os
import re
import shutil

from para.errors import one_line

_FOLDERS = "Folders are chosen with data_dir=, runs_dir=, results_dir= and outputs_dir=."
_AGAIN = "then run the same command again: what is complete is kept"
_WAYS_OUT = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        f"Choose a place that this user may write and read. {_FOLDERS}",
    ),
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT),
        f"Free some space or choose another folder, {_AGAIN}.",
    ),
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
        f"Check that path. {_FOLDERS}",
    ),
    errno.EFBIG: f"A limit is set on the size of files (ulimit -f): raise it, {_AGAIN}.",
    errno.EMFILE: f"Too many files are open at once (ulimit -n): raise that, {_AGAIN}.",
}
_NO_MEMORY = re.compile(
    r"(can'?t|cannot|could not|unable to|failed to) (allocate|map segment|start new thread)"
    r"|out of memory|DefaultCPUAllocator",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\berrno = (\d+)")
_IN_TEXT = re.compile(r"\[Errno (\d+)\]")


def refusal(error: BaseException) -> str | None:
    """Why the system did not let something happen, and the way out; None for any other error.

    Args:
        error: What was raised, by Python or by a library.
    """
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return (
            f"Not enough memory ({one_line(error) or type(error).__name__}). Ask for less at a "
            "time (workers=1, training.batch_size=..., batch=..., env.image_size=...) or give the "
            f"process more, {_AGAIN}."
        )
    if isinstance(error, shutil.Error):  # a list of (from, to, why)
        _, target, why = error.args[0][0]
        if found := _IN_TEXT.search(str(why)):
            return refusal(OSError(int(found[1]), os.strerror(int(found[1])), str(target)))
        return f"{one_line(target, 300)}: {one_line(why, 300)}."
    if isinstance(error, OSError) and error.errno is not None:
        what = os.strerror(error.errno)
        where = f"{one_line(error.filename, 300)}: " if error.filename is not None else ""
        told = "" if where else f" ({one_line(error.strerror, 200)})" * (error.strerror != what)
        return f"{where}{what}{told}. {_WAYS_OUT.get(error.errno, '')}".rstrip()
    if isinstance(error, RuntimeError) and (found := _NUMBER.search(str(error))):  # HDF5's
        return refusal(OSError(int(found[1]), one_line(error)))
    return None
