#!/usr/bin/env python3
"""Writes the handcrafted files of tests/fuzz/corpus: valid-NAME (taken, and what mutations start from), bad-NAME (must
be refused) and any-NAME (only the limits count). The other files there were found by fuzzing and are left alone."""
import gzip
import hashlib
import json
import pathlib
import sqlite3
import struct
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
LARGEST = 20_000


def put(kind, name, content):
    content = content.encode() if isinstance(content, str) else content
    assert len(content) < LARGEST, (kind, name, len(content))
    folder = CORPUS / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---- what every format made of JSON has to cope with

def bad_json(kind):
    put(kind, "bad-empty", "")
    put(kind, "bad-zero-byte", '{"a":1}\0{"b":2}')
    put(kind, "bad-byte-order-mark-only", b"\xef\xbb\xbf")
    put(kind, "bad-utf-16", '{"a":1}'.encode("utf-16"))
    put(kind, "bad-lists-900-deep", "[" * 900)
    put(kind, "bad-lists-900-deep-closed", "[" * 900 + "]" * 900)
    put(kind, "bad-objects-400-deep", '{"a":' * 400 + "1" + "}" * 400)
    put(kind, "bad-invalid-utf-8", b'{"a":"\xc0\xaf\xed\xa0\x80"}')
    put(kind, "bad-number-out-of-range", '{"a":1e999}')
    put(kind, "bad-number-not-json", '{"a":NaN,"b":Infinity,"c":0x10}')
    put(kind, "bad-cut-off", '{"a":"b')
    put(kind, "bad-half-a-surrogate-pair", '{"a":"\\ud800"}')
    put(kind, "bad-comment", '{/* a */"a":1}')
    put(kind, "bad-trailing-comma", '{"a":1,}')
    put(kind, "bad-two-values", '{"a":1}{"b":2}')
    put(kind, "bad-root-is-a-list", "[1,2]")


# ---- safetensors

def safetensors():
    def packed(header, data=b"", length=None):
        header = header.encode() if isinstance(header, str) else header
        return struct.pack("<Q", len(header) if length is None else length) + header + data

    def tensor(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    five = {"a": tensor("F32", [2, 3], 0, 24), "b": tensor("I64", [0, 7], 24, 24), "c": tensor("U8", [5], 24, 29),
            "d": tensor("BF16", [], 29, 31), "e.weight": tensor("F16", [4, 4], 31, 63)}
    put("safetensors", "valid-five-tensors", packed(compact(five), bytes(63)))
    five["__metadata__"] = {"format": "pt", "note": "ä"}
    five["f"] = tensor("F4", [2, 3], 63, 66)
    put("safetensors", "valid-metadata-and-half-bytes", packed(compact(five), bytes(66)))
    put("safetensors", "valid-package", (ROOT / "tests/golden/safetensors_sample.safetensors").read_bytes())
    put("safetensors", "bad-deep", packed('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":' + "[" * 9000))
    put("safetensors", "bad-length-2-to-the-64", packed("{}", length=2**64 - 1))
    put("safetensors", "bad-65-dimensions", packed('{"a":{"dtype":"U8","shape":[' + ",".join("1" * 65) +
                                                 '],"data_offsets":[0,1]}}', b"x"))
    put("safetensors", "bad-product-wraps-to-zero", packed(
        '{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'))


# ---- tokenizer.json

def tokenizer_json():
    printable = [b for b in range(256) if 0x21 <= b <= 0x7E or (b >= 0xA1 and b != 0xAD)]
    rest = [b for b in range(256) if b not in printable]
    character = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}
    vocabulary = {character[b]: b for b in range(256)}
    for token in ["he", "ll", "hell", "hello", "Ġw", "aa", "Ã©"]:
        vocabulary[token] = len(vocabulary)

    def added(index, text, special, **more):
        return {"id": index, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": special} | more

    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": vocabulary, "merges": ["h e", "l l", "he ll", "hell o", "Ġ w", "a a", "Ã ©"]}
    document = {"version": "1.0", "truncation": None, "padding": None,
                "added_tokens": [added(263, "<|im_start|>", True), added(264, "<|im_end|>", True),
                                 added(265, "<tool>", False, lstrip=True, rstrip=True)],
                "normalizer": None,
                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                                        byte_level]},
                "post_processor": {"type": "TemplateProcessing", "single": [
                    {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]},
                "decoder": {"type": "ByteLevel"}, "model": model}
    put("tokenizer_json", "valid-all-parts", compact(document))
    plain = document | {"added_tokens": [], "pre_tokenizer": byte_level, "post_processor": None}
    plain["model"] = model | {"ignore_merges": True, "merges": [m.split(" ") for m in model["merges"]]}
    put("tokenizer_json", "valid-plain", compact(plain))
    small = plain | {"model": model | {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], "unk_token": "b"}}
    put("tokenizer_json", "valid-three-tokens", compact(small))

    def bad(name, **model_changes):
        put("tokenizer_json", "bad-" + name, compact(small | {"model": small["model"] | model_changes}))

    bad("id-beyond-the-largest-gap", vocab={"a": 0, "b": 2147483647, "ab": 1})
    bad("id-of-64-bits", vocab={"a": 0, "b": 18446744073709551615, "ab": 1})
    bad("negative-id", vocab={"a": 0, "b": -1, "ab": 1})
    bad("real-id", vocab={"a": 0, "b": 1.0, "ab": 2})
    bad("two-tokens-of-one-id", vocab={"a": 0, "b": 0, "ab": 1})
    bad("merge-of-no-token", merges=["a c"])
    bad("merge-of-three", merges=["a b ab"])
    put("tokenizer_json", "bad-added-token-of-5000-bytes",
        compact(small | {"added_tokens": [added(3, "x" * 5_000, True)]}))
    put("tokenizer_json", "bad-a-key-twice", compact(small).replace('{"a":0,', '{"a":0,"a":2,'))
    bad_json("tokenizer_json")


# ---- config.json

def config_json():
    for file in sorted(ROOT.glob("tests/golden/families/*/config.json")):
        put("config_json", f"valid-{file.parent.name}", file.read_bytes())
    base = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 8,
            "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 6, "vocab_size": 5,
            "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
    put("config_json", "valid-small", compact(base))
    for name, change in {
        "layers-beyond-the-limit": {"num_hidden_layers": 2**31}, "layers-of-64-bits": {"num_hidden_layers": 2**64 - 1},
        "negative-heads": {"num_attention_heads": -4}, "zero-heads": {"num_attention_heads": 0},
        "zero-kv-heads": {"num_key_value_heads": 0}, "real-layers": {"num_hidden_layers": 2.0},
        "text-layers": {"num_hidden_layers": "2"}, "hidden-of-64-bits": {"hidden_size": 2**63},
        "token-beyond-the-vocabulary": {"eos_token_id": [2, 5]}, "theta-zero": {"rope_theta": 0},
        "theta-text": {"rope_theta": "inf"}, "two-classes": {"architectures": ["LlamaForCausalLM"] * 2},
        "odd-head-dim": {"head_dim": 3}, "class-of-another-type": {"model_type": "qwen2"},
    }.items():
        put("config_json", "bad-" + name, compact(base | change))
    put("config_json", "bad-a-key-twice", compact(base).replace("{", '{"num_hidden_layers":3,', 1))
    bad_json("config_json")


# ---- jsonl

def jsonl():
    lines = [{"id": "1", "prompt": "What is 2+2?", "answer": "4"},
             {"id": "2", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
              "answer": ["a", "b"], "split": "test", "metadata": {"k": [1, 2.5, None, {"x": "ä"}]}},
             {"id": "3", "prompt": "\u263a\n", "answer": "x", "split": "calibration"}]
    text = "\n".join(compact(line) for line in lines) + "\n"
    put("jsonl", "valid-three-items", text)
    put("jsonl", "valid-crlf-and-blank-lines", text.replace("\n", "\r\n\r\n"))
    put("jsonl", "bad-id-twice", text + compact(lines[0]))
    put("jsonl", "bad-field-twice", '{"id":"1","id":"2","prompt":"p","answer":"a"}')
    put("jsonl", "bad-metadata-500-deep", '{"id":"1","prompt":"p","answer":"a","metadata":{"a":' + "[" * 500 +
        "]" * 500 + "}}")
    put("jsonl", "bad-role", '{"id":"1","messages":[{"role":"root","content":"c"}],"answer":"a"}')
    put("jsonl", "any-byte-order-mark", b"\xef\xbb\xbf" + text.encode())
    put("jsonl", "bad-packed", gzip.compress(text.encode(), mtime=0))
    bad_json("jsonl")


# ---- YAML

def yaml():
    for name in ["config", "experiment/demo", "benchmark/niah", "strategy/nll_guided", "mixer/linear_attention",
                 "mixer/sliding_window"]:
        file = ROOT / "configs" / (name + ".yaml")
        if file.exists():
            put("yaml", "valid-" + name.replace("/", "-"), file.read_bytes())
    put("yaml", "valid-every-kind", "# @package _global_\na: &a {b: [1, -2, 0x1f, 1_000, 1e3, .inf, .nan, ~, true, 'x', "
        "\"\\u263a\\n\"]}\nc: *a\nd:\n  <<: *a\n  e: |\n    text\n    more\n  f: >-\n    folded\n    text\n"
        "g: !!str 12\nh: ${a.b}\ni: ???\nj: ''\nk: 2001-01-01\nl: 1:30\n? m\n: n\n")
    put("yaml", "valid-overrides", "seed=3\n+a.b=[1,2,{c:d}]\n++x='it''s'\n~y\nbudgets=0.25,0.5\n"
        "n=range(1,5)\ns=choice(a,b)\nstrategy@src:pkg=\"q\"\nf=str(1)\nt=\\$\\{a\\}\n")
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for before, name in zip("abcdefgh", "bcdefghi"):
        bomb += f"{name}: &{name} [" + ",".join([f"*{before}"] * 9) + "]\n"
    put("yaml", "bad-billion-laughs", bomb)
    put("yaml", "bad-long-text-by-alias", "a: &a " + "x" * 8000 + "\nb: [" + "*a," * 3000 + "]\n")
    put("yaml", "bad-anchors-nested-in-copies", "".join(f"{' ' * i}a{i}: &n{i}\n" for i in range(60)) + " " * 60 + "x: [" +
        "1," * 7000 + "]\n")
    put("yaml", "bad-alias-to-its-parent", "a: &a [*a]\n")
    put("yaml", "bad-lists-1000-deep", "[" * 1000)
    put("yaml", "bad-objects-500-deep", "{a: " * 500)
    put("yaml", "bad-question-marks", "? " * 1000)
    put("yaml", "bad-dashes", "- " * 1000)
    put("yaml", "bad-zero-byte", "a: \0b\n")
    put("yaml", "bad-invalid-utf-8", b"a: \xc0\xaf\n")
    put("yaml", "bad-utf-16", "a: 1\n".encode("utf-16"))
    put("yaml", "bad-key-twice", "a: 1\na: 2\n")
    put("yaml", "bad-two-documents", "a: 1\n---\nb: 2\n")
    put("yaml", "bad-tag", "a: !!python/object:os.system x\n")
    put("yaml", "bad-integer-beyond-64-bits", "a: 99999999999999999999\n")
    put("yaml", "bad-key-is-a-list", "[a, b]: 1\n")
    put("yaml", "bad-merge-of-a-list-of-scalars", "a:\n  <<: [1, 2]\n")
    put("yaml", "bad-tab-indent", "a:\n\tb: 1\n")
    put("yaml", "any-empty", "")
    put("yaml", "any-crlf", "a: 1\r\nb:\r\n  - c\r\n")
    put("yaml", "any-byte-order-mark", b"\xef\xbb\xbfa: 1\n")


# ---- plans

def plan_json():
    def plan(granularity, cells, palette, with_id):
        value = {"format": 1, "granularity": granularity, "palette": palette, "cells": cells,
                 "layout": {"layers": 4, "query_heads": 4, "kv_heads": 2}}
        if with_id:
            text = json.dumps(value, sort_keys=True, separators=(",", ":"))
            value["id"] = hashlib.sha256(text.encode()).hexdigest()
        return value

    full, sliding = {"kind": "full"}, {"kind": "sliding_window", "window": 16, "sinks": 4}
    put("plan_json", "valid-layers", compact(plan("layer", [[0], [1], [0], [1]], [full, sliding], False)))
    put("plan_json", "valid-kv-heads", compact(plan("kv_head", [[0, 1], [1, 1], [0, 0], [1, 0]], [full, sliding], False)))
    put("plan_json", "valid-query-heads", compact(plan("query_head", [[0, 1, 0, 1]] * 4, [
        full, sliding | {"decode_rule": "full"}], False)))
    linear = {"kind": "linear_attention", "linear": "gla"}
    put("plan_json", "valid-linear", compact(plan("layer", [[0], [1], [0], [1]], [full, linear], False)))
    put("plan_json", "valid-three-mixers", compact(plan("query_head", [[0, 1, 2, 3]] * 4, [
        full, sliding, linear, linear | {"linear": "gated_deltanet"}], False)))
    base = plan("layer", [[0], [1], [0], [1]], [full, sliding], False)
    for name, change in {
        "cell-beyond-the-palette": {"cells": [[0], [2], [0], [1]]}, "negative-cell": {"cells": [[0], [-1], [0], [1]]},
        "cell-of-64-bits": {"cells": [[0], [2**64 - 1], [0], [1]]}, "real-cell": {"cells": [[0], [1.0], [0], [1]]},
        "five-layers": {"cells": [[0]] * 5}, "empty-palette": {"palette": []}, "palette-of-300": {"palette": [full] * 300},
        "window-zero": {"palette": [full, sliding | {"window": 0}]},
        "window-of-64-bits": {"palette": [full, sliding | {"window": 2**64 - 1}]},
        "negative-sinks": {"palette": [full, sliding | {"sinks": -1}]}, "format-2": {"format": 2},
        "unknown-mixer": {"palette": [full, {"kind": "mamba"}]}, "wrong-id": {"id": "0" * 64},
        "linear-of-no-kind": {"palette": [full, {"kind": "linear_attention"}]},
        "linear-of-another-kind": {"palette": [full, linear | {"linear": "retnet"}]},
        "linear-is-a-list": {"palette": [full, linear | {"linear": ["gla"]}]},
        "linear-decodes-in-full": {"palette": [full, linear | {"decode_rule": "full"}]},
        "palette-of-scalars": {"palette": [1, 2]}, "cells-is-text": {"cells": "0101"},
    }.items():
        put("plan_json", "bad-" + name, compact(base | change))
    bad_json("plan_json")


# ---- descriptions of linear branches

def branches_json():
    config = {"kind": "gla", "expand_kv_heads": True, "rope": True, "scale_query": True, "output_norm": True,
              "output_gate": True, "start_gate": 0.99, "start_decay": 0.99, "layer_decay": False, "gate_rank": 16,
              "gate_divisor": 16.0, "conv_width": 4, "max_beta": 1.0, "seed": 0, "fusion": "none", "start_gain": 1.0}
    base = {"format": "strata-branches-1", "parent": "parent", "dtype": "F32", "layers": [0, 2], "config": config,
            "content": "0" * 64}
    put("branches_json", "valid-two-layers", compact(base))
    put("branches_json", "valid-options", compact(base | {"layers": [3], "config": config | {
        "kind": "gated_deltanet", "expand_kv_heads": False, "max_beta": 2, "seed": 2**64 - 1, "fusion": "norm"}}))
    put("branches_json", "valid-more-fields", compact(base | {"note": {"steps": [1, 2, None]}}))
    for name, change in {
        "format-2": {"format": "strata-branches-2"}, "another-parent": {"parent": "p"}, "parent-is-a-list": {"parent": [1]},
        "half-precision": {"dtype": "BF16"}, "layers-fall": {"layers": [2, 0]}, "layer-twice": {"layers": [1, 1]},
        "no-layers": {"layers": []}, "layer-4": {"layers": [0, 4]}, "negative-layer": {"layers": [-1]},
        "real-layer": {"layers": [0.0]}, "layer-of-64-bits": {"layers": [2**64 - 1]}, "config-is-text": {"config": "gla"},
        "rank-zero": {"config": config | {"gate_rank": 0}}, "rank-of-64-bits": {"config": config | {"gate_rank": 2**63}},
        "another-kind": {"config": config | {"kind": "mamba"}}, "kind-is-a-list": {"config": config | {"kind": ["gla"]}},
        "gate-of-1": {"config": config | {"start_gate": 1}}, "unknown-option": {"config": config | {"x": 1}},
        "missing-option": {"config": {"kind": "gla"}}, "content-is-a-number": {"content": 1},
    }.items():
        put("branches_json", "bad-" + name, compact(base | change))
    bad_json("branches_json")


# ---- replies of judges

def judge_reply():
    def message(content, **more):
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}], **more}

    for name, content in {
        "yes": message("Yes.", model="judge-1"), "no": message("no"), "swaa": message("They agree. CORRECT"),
        "thinking": message("<think>no</think>yes"), "unfinished": message("<think>yes"), "null": message(None),
        "no-ascii": message("Ja \u2013 \U0001f600"), "usage": message("yes", usage={"total_tokens": 5}, id="x"),
    }.items():
        put("judge_reply", "valid-" + name, compact(content))
    for name, content in {
        "error": {"error": {"message": "overloaded"}}, "error-is-text": {"error": "overloaded"}, "error-is-a-list": {"error": [1]},
        "no-choices": {}, "empty-choices": {"choices": []}, "choices-are-text": {"choices": "yes"}, "choice-is-null": {"choices": [None]},
        "no-message": {"choices": [{}]}, "message-is-a-list": {"choices": [{"message": ["yes"]}]},
        "content-is-a-number": message(1), "content-is-parts": message([{"type": "text", "text": "yes"}]),
    }.items():
        put("judge_reply", "bad-" + name, compact(content))
    put("judge_reply", "bad-html", "<html>yes</html>")
    bad_json("judge_reply")


# ---- databases

def database():
    tables = ["models", "tokenizers", "plans", "samples", "data_sets", "data_samples", "selections", "experiments", "runs",
              "executions", "responses"]

    def made(name, statements, page_size=1024):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a"
            connection = sqlite3.connect(path, isolation_level=None)
            for statement in [f"PRAGMA page_size = {page_size}", "PRAGMA application_id = 1937011316", "PRAGMA user_version = 1",
                              *statements]:
                connection.execute(statement)
            connection.close()
            put("database", name, path.read_bytes())

    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n"
    made("bad-no-tables", ["CREATE TABLE other (x)"])
    made("bad-pages-of-512-bytes", ["CREATE TABLE other (x)"], page_size=512)
    made("bad-endless-views", [f"CREATE VIEW {table} AS {endless}" for table in tables])
    made("bad-computed-columns-of-gigabytes", [
        f"CREATE TABLE {table} (id TEXT, x TEXT AS (hex(zeroblob(100000000))))" for table in tables] +
        [f"INSERT INTO {table} (id) VALUES ('a')" for table in tables])
    made("bad-trigger", [f"CREATE TABLE {table} (id TEXT)" for table in tables] +
         ["CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM models; END"])
    made("bad-costly-check", [f"CREATE TABLE {table} (id TEXT CHECK (length(hex(zeroblob(100000000))) > 0))"
                              for table in tables])
    made("bad-costly-index", [f"CREATE TABLE {table} (id TEXT)" for table in tables] +
         ["CREATE INDEX i ON models (length(hex(zeroblob(100000000))))", "INSERT INTO models VALUES ('a')"])
    made("bad-ids-are-numbers", [f"CREATE TABLE {table} (id)" for table in tables] +
         [f"INSERT INTO {table} VALUES (1), (NULL), (x'00'), (1.5)" for table in tables])
    magic = b"SQLite format 3\0"
    put("database", "bad-empty", b"")
    put("database", "bad-magic-only", magic)
    put("database", "bad-header-of-zeros", magic + bytes(84))
    put("database", "bad-text", "CREATE TABLE runs (id TEXT);\n" * 40)


for make in [safetensors, tokenizer_json, config_json, jsonl, yaml, plan_json, branches_json, judge_reply, database]:
    make()
total = sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file())
print(f"{sum(file.is_file() for file in CORPUS.rglob('*'))} files, {total} bytes")
