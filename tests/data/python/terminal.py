"""Runs a program in a terminal of 80 by 24 and plays a user: arguments are steps and, after `--`, the program.

Steps: `see TEXT` waits until it is on the screen, `type KEYS` types, `signal NAME` sends. Prints as JSON what came, how the
program ended, and whether the terminal is as it was.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

split = sys.argv.index("--")
steps, program = sys.argv[1:split], sys.argv[split + 1 :]
screen, terminal = pty.openpty()
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(terminal)
deadline = time.monotonic() + 60
came = b""
# Moves the cursor, clears the screen, anything else of the kind, or a character.
PART = re.compile(r"\x1b\[(\d+);(\d+)H|(\x1b\[2J)|\x1b\[[0-9;?]*[a-zA-Z]|(.)", re.DOTALL)


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def drawn():
    """The screen as a person sees it: only what changes is sent, cell by cell."""
    cells = [[" "] * 80 for _ in range(24)]
    row = column = 0
    for part in PART.finditer(came.decode(errors="replace")):
        to_row, to_column, clear, character = part.groups()
        if to_row:
            row, column = int(to_row) - 1, int(to_column) - 1
        elif clear:
            cells = [[" "] * 80 for _ in range(24)]
        elif character and character >= " " and row < 24 and column < 80:
            cells[row][column] = character
            column += 1
    return "\n".join("".join(line).rstrip() for line in cells)


def read(patience):
    global came
    if select.select([screen], [], [], patience)[0]:
        came += os.read(screen, 65536)
        return True
    return False


child = subprocess.Popen(program, stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=own_terminal)
for step in steps:
    verb, _, rest = step.partition(" ")
    if verb == "see":
        while rest not in drawn():
            if time.monotonic() > deadline or child.poll() is not None:
                child.kill()
                sys.exit(f"{rest!r} never came; there is\n{drawn()}\nof {came!r}")
            read(0.05)
    elif verb == "type":
        os.write(screen, rest.encode().decode("unicode_escape").encode())
    elif verb == "signal":
        child.send_signal(getattr(signal, rest))
while child.poll() is None:
    if time.monotonic() > deadline:
        child.kill()
        sys.exit(f"it does not end; there is\n{drawn()}")
    read(0.05)
while read(0.05):
    pass
after = termios.tcgetattr(terminal)
print(json.dumps({"code": child.returncode, "came": came.decode(errors="replace"), "restored": before == after}))
