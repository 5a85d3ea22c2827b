"""Runs calls of huggingface_hub given as JSON and prints what came of each."""

import hashlib
import json
import os
import sys

import huggingface_hub


def files_below(folder):
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            relative = os.path.relpath(path, folder)
            if not relative.startswith(".cache" + os.sep):
                with open(path, "rb") as file:
                    found[relative] = hashlib.sha256(file.read()).hexdigest()
    return found


def plain(value):
    if isinstance(value, str) and os.path.isdir(value):
        return {"path": value, "files": files_below(value)}
    if isinstance(value, (str, int, bool, type(None), dict)):
        return value
    if hasattr(value, "__dict__") and not isinstance(value, (list, tuple)):
        return {key: str(entry) for key, entry in vars(value).items() if not key.startswith("_")}
    return [plain(entry) for entry in value]


def run(step):
    owner = huggingface_hub
    if step["call"].startswith("api."):
        owner = huggingface_hub.HfApi()
    try:
        return {"ok": plain(getattr(owner, step["call"].removeprefix("api."))(**step.get("args", {})))}
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}


print(json.dumps([run(step) for step in json.loads(sys.argv[1])]))
