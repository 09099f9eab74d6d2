"""Terminals of a size, for programs that look at theirs."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios


def opened(columns=80, lines=24):
    """Both ends of a terminal: ours, and the program's."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    return ours, theirs


def start(command, theirs, **environment):
    """Starts a program on a terminal that shows colours, in a session of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                            env={**inherited, "TERM": "xterm-256color", **environment})


def written(command, columns=80, **environment):
    """What a program writes on a terminal until it ends, and its exit code."""
    ours, theirs = opened(columns)
    child = start(command, theirs, **environment)
    os.close(theirs)
    said = b""
    # The end of a terminal is an error (EIO) on Linux.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    return said.decode().replace("\r\n", "\n"), child.wait(20)
