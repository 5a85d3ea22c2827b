"""Loads the model in a folder and prints what a user of it would look at."""

import json
import os
import sys

import numpy
import safetensors.numpy
import tokenizers

folder = sys.argv[1]
with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
    config = json.load(file)
tensors = safetensors.numpy.load_file(os.path.join(folder, "model.safetensors"))
tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
encoded = tokenizer.encode("Downloading the weights, resumed!")
table = tensors["embeddings.word_embeddings.weight"]
print(
    json.dumps(
        {
            "tensors": len(tensors),
            "vocabulary": [config["vocab_size"], tokenizer.get_vocab_size(), table.shape[0]],
            "hidden": [config["hidden_size"], table.shape[1]],
            "tokens": encoded.tokens,
            "spread": float(numpy.std(table)),
            "embedded": list(table[encoded.ids].shape),
        }
    )
)
