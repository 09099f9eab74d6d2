"""Terminals of a size, for programs that look at theirs."""

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
