"""Writes a small data set of parquet, JSON lines and gzip files in nested folders, and prints what it holds."""

import gzip
import json
import os
import random
import sys

import pyarrow
import pyarrow.parquet

chance = random.Random(11)
folder = sys.argv[1]
seen = {"rows": 0, "sum": 0}


def path(name):
    full = os.path.join(folder, name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def rows(count):
    numbers = [chance.getrandbits(31) for _ in range(count)]
    seen["rows"] += count
    seen["sum"] += sum(numbers)
    return [{"id": number, "text": chance.randbytes(16).hex()} for number in numbers]


for number, count in enumerate((50, 120_000, 0)):
    table = pyarrow.table(
        {"id": pyarrow.array([], pyarrow.int64()), "text": pyarrow.array([], pyarrow.string())}
        if count == 0
        else {key: [row[key] for row in rows] for rows in [rows(count)] for key in ("id", "text")}
    )
    pyarrow.parquet.write_table(table, path(f"data/train/en/part-{number:05}.parquet"))
with open(path("data/test/de/rows.jsonl"), "w", encoding="utf-8") as file:
    file.writelines(json.dumps(row) + "\n" for row in rows(300))
with gzip.GzipFile(path("data/test/de/more rows.jsonl.gz"), "w", mtime=0) as file:
    file.writelines(json.dumps(row).encode() + b"\n" for row in rows(40))
with open(path("README.md"), "w", encoding="utf-8") as file:
    file.write("---\nlicense: cc0-1.0\n---\n# Letters\n")
open(path("data/.keep"), "w").close()
print(json.dumps(seen))
