"""Holds a lock file as huggingface_hub does, from the line `held` until it reads one."""

import sys

from huggingface_hub.utils import WeakFileLock

with WeakFileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
