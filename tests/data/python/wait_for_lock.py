"""Waits for a lock file as huggingface_hub does, then downloads the file that it guards."""

import sys

import filelock
import huggingface_hub
from huggingface_hub.utils import WeakFileLock

lock, repo, name = sys.argv[1:]
try:
    with filelock.FileLock(lock, timeout=0):
        print("free", flush=True)
except filelock.Timeout:
    print("held", flush=True)
with WeakFileLock(lock):
    print("mine", flush=True)
print(huggingface_hub.hf_hub_download(repo, name))
