"""Reads every row of the data set in a folder and prints what it holds."""

import glob
import gzip
import json
import os
import sys

import pyarrow.parquet

folder = sys.argv[1]
seen = {"rows": 0, "sum": 0}


def found(pattern):
    return sorted(glob.glob(os.path.join(folder, "**", pattern), recursive=True))


def count(rows):
    for row in rows:
        seen["rows"] += 1
        seen["sum"] += row["id"]
        assert len(row["text"]) == 32


for name in found("*.parquet"):
    count(pyarrow.parquet.ParquetFile(name).read().to_pylist())
for name in found("*.jsonl"):
    with open(name, encoding="utf-8") as file:
        count(map(json.loads, file))
for name in found("*.jsonl.gz"):
    with gzip.open(name, "rt", encoding="utf-8") as file:
        count(map(json.loads, file))
print(json.dumps(seen))
