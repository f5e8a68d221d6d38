#!/usr/bin/env python3
"""Writes a model of random weights: for measuring memory and speed at sizes that nobody needs to download.

    make_random_model.py CONFIG_JSON TOKENIZER_DIR OUTPUT_DIR [--seed N]

CONFIG_JSON is a Hugging Face config.json of model_type llama, mistral, qwen2 or qwen3 (dense); TOKENIZER_DIR any folder
with a tokenizer.json whose tokens the vocabulary has room for. Weights are bfloat16 normals (deviation 0.02) out of one
block of 4 million that repeats, norms are 1. What such a model says means nothing; what it costs is the real one's.
"""

import argparse
import array
import json
import random
import shutil
import struct
import sys
from pathlib import Path

BLOCK = 1 << 22  # values
FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def tensors(config):
    """(name, shape) of every tensor, in the order of the file."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    width = config.get("head_dim") or hidden // heads
    kind = config["model_type"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        for name, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            yield f"{at}.self_attn.{name}_proj.weight", (rows * width, hidden)
            if kind == "qwen2":
                yield f"{at}.self_attn.{name}_proj.bias", (rows * width,)
        yield f"{at}.self_attn.o_proj.weight", (hidden, heads * width)
        if kind == "qwen3":
            yield f"{at}.self_attn.q_norm.weight", (width,)
            yield f"{at}.self_attn.k_norm.weight", (width,)
        yield f"{at}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{at}.mlp.up_proj.weight", (inner, hidden)
        yield f"{at}.mlp.down_proj.weight", (hidden, inner)
        yield f"{at}.input_layernorm.weight", (hidden,)
        yield f"{at}.post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", (config["vocab_size"], hidden)


def bfloat16(values):
    """Truncated, in the file's byte order."""
    words = array.array("I", array.array("f", values).tobytes())
    halves = array.array("H", (word >> 16 for word in words))
    if sys.byteorder == "big":
        halves.byteswap()
    return halves.tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    config = json.loads(arguments.config.read_text())
    if config.get("model_type") not in ("llama", "mistral", "qwen2", "qwen3"):
        parser.error(f"{arguments.config}: model_type: expected llama, mistral, qwen2 or qwen3, "
                     f"got {config.get('model_type')}")
    arguments.output.mkdir(parents=True)
    (arguments.output / "config.json").write_text(json.dumps({**config, "torch_dtype": "bfloat16"}, indent=1) + "\n")
    for name in FILES:
        if (arguments.tokenizer / name).exists():
            shutil.copy(arguments.tokenizer / name, arguments.output / name)
    stream = random.Random(arguments.seed)
    block = bfloat16(stream.gauss(0, 0.02) for _ in range(BLOCK))
    one = bfloat16([1.0])
    header, end = {}, 0
    for name, shape in tensors(config):
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + 2 * count]}
        end += 2 * count
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(arguments.output / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in header.items():
            left = tensor["data_offsets"][1] - tensor["data_offsets"][0]
            if "norm" in name:
                file.write(one * (left // 2))
                continue
            begin = 2 * stream.randrange(BLOCK)  # no two tensors alike
            while left:
                part = block[begin:begin + left]
                file.write(part)
                left, begin = left - len(part), 0
    print(f"{arguments.output}: {end / 2**30:.2f} GiB in {len(header)} tensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
