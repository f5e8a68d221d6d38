#!/usr/bin/env python3
"""Writes planted problems: small Llama checkpoints of which it is known what each layer does, with questions for them.

    make_planted.py OUTPUT_DIR [--case NAME] [--seed N]   writes OUTPUT_DIR/NAME for every case, or for one

Each folder is a model directory (config.json, model.safetensors in float32, tokenizer.json), questions.jsonl (a
calibration and a test split, for benchmark=jsonl with chat_template=none) and planted.json: what was planted, the NLL
and the scores that follow from it by arithmetic alone, and the best selections, found by trying every set of units.
docs/planted_problem.md explains the problem. Needs Python alone; the same seed gives the same bytes.

How it works. A prompt is " . . . Abd . Bca … Ab": "Abd" binds the value d to the key b of family A, "Ab" asks for it, and
the answer is " d". Embeddings are one-hot blocks: K (key), Q (query) and P (value) of each family, OUT, HM (a wrong
value). A planted head reads a family: its queries are the Q block, its keys the K block, its values the P block, and it
writes the value into OUT or, for a chain, into the Q block of the next family. Every question lies outside the window,
so that a windowed head finds nothing and rests on BOS. All other heads are random and small. A coordinate that is
C = 32 in every token keeps RMSNorm from mixing the others; rotary embedding leaves the slots alone that content is in.

Choices that the numbers rest on. rope_theta is the largest that strata reads; rotary pairs 16 to 29, which hold content,
then turn by less than 0.01 rad in 8,192 tokens. BOS has attention logit 17, not half of a match's 40: at half gates a
chain's second query is half as long, and would tie with BOS at 20, its third lose to it. Values of random heads do not
see the constant coordinate, 32 times which would move OUT by tenths, and are small enough that a random layer's score
stays below 0.001 nat (seeds 0 to 4). Tokens that are no answer get the logit -32, as the vocabulary has hundreds.
"""

import argparse
import array
import itertools
import json
import math
import os
import random
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from import_tiktoken import added_token, byte_characters, with_bos

LAYERS, QUERY_HEADS, KV_HEADS, HIDDEN, HEAD_DIM, INTERMEDIATE = 8, 4, 2, 128, 64, 8
GROUP = QUERY_HEADS // KV_HEADS
CONSTANT = 32.0                    # C, the coordinate that all tokens share
SYMBOLS = "abcdefghijkl"
ROPE_THETA, FIRST_SLOT = 1e12, 16  # rotary pair 16 turns by 1e-6 rad a token
KEY, QUERY, SINK = math.sqrt(HEAD_DIM), 40.0, 17.0  # a match has attention logit 40, BOS has 17, all else 0
READOUT = 10.0                     # logit of an answer whose OUT is 1
PROMPT, WINDOW, SINKS = 96, 16, 4  # tokens
QUESTIONS = 12                     # of each split, at least: every case has whole rounds of what it asks
BOS, FILLER = "<s>", " ."


@dataclass
class Head:
    layer: int
    kv_head: int
    reads: str          # the family whose queries it answers
    writes: str = "OUT"  # or the family whose query its value becomes
    gain: float = 1.0
    wrong: bool = False  # writes another value than the one asked for


@dataclass
class Case:
    heads: list
    asked: str           # the families that consecutive questions ask for
    layers: int = 2      # K at layer granularity
    kv_heads: int = 2    # K at KV-head granularity
    crowd: float = 0.0   # attention logit that a question has with all keys of its family, the asked one's atop


CASES = {
    "add": Case([Head(2, 1, "A"), Head(5, 0, "B")], "AB"),
    "and": Case([Head(2, 1, "A", "B"), Head(5, 0, "B")], "A"),
    "or": Case([Head(2, 1, "A"), Head(4, 0, "A"), Head(5, 0, "B", gain=0.8)], "AAB"),
    "harm": Case([Head(1, 0, "A", gain=0.6, wrong=True), Head(2, 1, "A"), Head(5, 0, "B")], "AB"),
    "and3": Case([Head(1, 0, "A", "B"), Head(4, 1, "B", "C"), Head(6, 0, "C")], "A", layers=3, kv_heads=3),
    # As add. Softmax tells a match from its crowd; linear attention, which adds values up, cannot.
    "crowd": Case([Head(2, 1, "A"), Head(5, 0, "B")], "AB", crowd=400.0),
    # Layer 4 is worth more than layer 2, none of its heads more than layer 2's.
    "kv_twin": Case([Head(2, 1, "A"), Head(4, 0, "B"), Head(4, 1, "C")], "AABBC", layers=1),
}


# ---- what follows by arithmetic

def follow(case, family, kept):
    """OUT, by how far its value is from the right one, where only the heads `kept` see the question."""
    asked, out = {family}, {}
    for head in sorted(case.heads, key=lambda head: head.layer):
        if head in kept and head.reads in asked:
            if head.writes == "OUT":
                out[head.wrong] = out.get(head.wrong, 0.0) + head.gain
            else:
                asked.add(head.writes)
    return out


def mean_nll(case, kept):
    def nll(family):
        out = follow(case, family, kept)
        logits = [READOUT * out.get(False, 0.0), READOUT * out.get(True, 0.0)] + [0.0] * (len(SYMBOLS) - 2)
        return math.log(sum(math.exp(logit - logits[0]) for logit in logits))
    return sum(map(nll, case.asked)) / len(case.asked)


def selection(case, granularity):
    """The best sets of K units and every unit's score: the fall of the NLL when it is kept among dropped units (restore),
    and its rise when it is dropped among kept ones (ablate). Units are numbered as in strata's masks."""
    units = LAYERS * (KV_HEADS if granularity == "kv_head" else 1)
    k = case.kv_heads if granularity == "kv_head" else case.layers

    def nll(kept):
        return mean_nll(case, [head for head in case.heads
                               if (head.layer * KV_HEADS + head.kv_head if granularity == "kv_head" else head.layer) in kept])
    sets = {kept: nll(kept) for kept in itertools.combinations(range(units), k)}
    best = min(sets.values())
    everything = set(range(units))
    return {"granularity": granularity, "units": k, "nll": best,
            "best": [kept for kept, value in sets.items() if value < best + 1e-9],
            "restore": [nll(()) - nll({unit}) for unit in range(units)],
            "ablate": [nll(everything - {unit}) - nll(everything) for unit in range(units)]}


# ---- weights

class Layout:
    """Which coordinates of the residual stream and which tokens a case has."""

    def __init__(self, case):
        self.families = sorted({head.reads for head in case.heads})
        blocks = [kind + family for family in self.families for kind in "KQP"] + ["OUT"]
        blocks += ["HM"] if any(head.wrong for head in case.heads) else []
        self.block = {name: at * len(SYMBOLS) for at, name in enumerate(blocks)}
        self.bos = len(blocks) * len(SYMBOLS)
        self.constant = self.bos + 1
        assert self.constant < HIDDEN
        # Token text -> coordinates that are 1. Byte-pair encoding joins from the left: " A", " Ab", " Abd".
        self.tokens = {FILLER: []} | {" " + symbol: [] for symbol in SYMBOLS}
        for family in self.families:
            self.tokens[" " + family] = []
            for key, symbol in enumerate(SYMBOLS):
                self.tokens[f" {family}{symbol}"] = [self.at("Q" + family, key)]
                for value, bound in enumerate(SYMBOLS):
                    coordinates = [self.at("K" + family, key), self.at("P" + family, value)]
                    if "HM" in self.block:
                        coordinates.append(self.at("HM", (value + 1) % len(SYMBOLS)))
                    self.tokens[f" {family}{symbol}{bound}"] = coordinates

    def at(self, block, symbol):
        return self.block[block] + symbol


class Matrix:
    def __init__(self, rows, columns, values=None):
        self.shape = [rows, columns]
        self.values = array.array("f", [0.0]) * (rows * columns) if values is None else values

    @classmethod
    def random(cls, rows, columns, scale, generator):
        return cls(rows, columns, array.array("f", [generator.gauss(0.0, scale) for _ in range(rows * columns)]))

    def __setitem__(self, place, value):
        self.values[place[0] * self.shape[1] + place[1]] = value

    def clear_rows(self, begin, end):
        self.values[begin * self.shape[1]:end * self.shape[1]] = array.array("f", [0.0]) * ((end - begin) * self.shape[1])

    def clear_columns(self, begin, end):
        for row, column in itertools.product(range(self.shape[0]), range(begin, end)):
            self[row, column] = 0.0


def attention(case, layer, layout, generator):
    q = Matrix.random(QUERY_HEADS * HEAD_DIM, HIDDEN, 0.05, generator)
    k = Matrix.random(KV_HEADS * HEAD_DIM, HIDDEN, 0.05, generator)
    v = Matrix.random(KV_HEADS * HEAD_DIM, HIDDEN, 3e-4, generator)
    v.clear_columns(layout.constant, layout.constant + 1)
    # The norm of a linear branch makes what random heads read, or planted ones of noise, as large as what is asked for.
    quiet = 1e-8 if case.crowd else 1.0
    o = Matrix.random(HIDDEN, QUERY_HEADS * HEAD_DIM, quiet / math.sqrt(QUERY_HEADS * HEAD_DIM), generator)
    for head in case.heads:
        if head.layer == layer:
            plant(head, case.crowd, layout, q, k, v, o)
    return {"q_proj": q, "k_proj": k, "v_proj": v, "o_proj": o}


def plant(head, crowd, layout, q, k, v, o):
    """The first query head of the group reads; the others are silent."""
    kv = head.kv_head * HEAD_DIM
    query = head.kv_head * GROUP * HEAD_DIM
    q.clear_rows(query, query + GROUP * HEAD_DIM)
    k.clear_rows(kv, kv + HEAD_DIM)
    v.clear_rows(kv, kv + HEAD_DIM)
    o.clear_columns(query, query + GROUP * HEAD_DIM)
    target = head.writes if head.writes == "OUT" else "Q" + head.writes
    for symbol in range(len(SYMBOLS)):
        k[kv + FIRST_SLOT + symbol, layout.at("K" + head.reads, symbol)] = KEY
        q[query + FIRST_SLOT + symbol, layout.at("Q" + head.reads, symbol)] = QUERY
        v[kv + symbol, layout.at("HM" if head.wrong else "P" + head.reads, symbol)] = 1.0
        o[layout.at(target, symbol), query + symbol] = head.gain
        if crowd:
            k[kv + FIRST_SLOT + len(SYMBOLS) + 1, layout.at("K" + head.reads, symbol)] = KEY
            q[query + FIRST_SLOT + len(SYMBOLS) + 1, layout.at("Q" + head.reads, symbol)] = crowd
    k[kv + FIRST_SLOT + len(SYMBOLS), layout.bos] = KEY
    q[query + FIRST_SLOT + len(SYMBOLS), layout.constant] = SINK / CONSTANT


def tensors(case, layout, vocabulary, seed):
    generator = random.Random(f"planted {seed}")
    embedding, head = Matrix(len(vocabulary), HIDDEN), Matrix(len(vocabulary), HIDDEN)
    for token, text in enumerate(vocabulary):
        embedding[token, layout.constant] = CONSTANT
        head[token, layout.constant] = -1.0
        for coordinate in layout.tokens.get(text, [layout.bos] if text == BOS else []):
            embedding[token, coordinate] = 1.0
    for symbol, text in enumerate(SYMBOLS):
        head[vocabulary[" " + text], layout.constant] = 0.0
        head[vocabulary[" " + text], layout.at("OUT", symbol)] = READOUT
    norm = array.array("f", [CONSTANT / math.sqrt(HIDDEN)] * HIDDEN)
    named = {"model.embed_tokens.weight": embedding, "lm_head.weight": head, "model.norm.weight": norm}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        named |= {f"{prefix}{name}.weight": norm for name in ("input_layernorm", "post_attention_layernorm")}
        named |= {f"{prefix}self_attn.{name}.weight": matrix
                  for name, matrix in attention(case, layer, layout, generator).items()}
        named |= {f"{prefix}mlp.{name}.weight": Matrix.random(INTERMEDIATE, HIDDEN, 0.05, generator)
                  for name in ("gate_proj", "up_proj")}
        named[f"{prefix}mlp.down_proj.weight"] = Matrix(HIDDEN, INTERMEDIATE)
    return named


def write_safetensors(path, named):
    header, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in named.items():
        shape = tensor.shape if isinstance(tensor, Matrix) else [len(tensor)]
        values = tensor.values if isinstance(tensor, Matrix) else tensor
        if sys.byteorder == "big":
            values = values[:]
            values.byteswap()
        data = values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


# ---- the files beside the weights

def config_json(vocabulary):
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": LAYERS,
            "hidden_size": HIDDEN, "num_attention_heads": QUERY_HEADS, "num_key_value_heads": KV_HEADS,
            "head_dim": HEAD_DIM, "intermediate_size": INTERMEDIATE, "hidden_act": "silu", "rms_norm_eps": 1e-6,
            "rope_theta": ROPE_THETA, "max_position_embeddings": 8192, "vocab_size": len(vocabulary),
            "tie_word_embeddings": False, "attention_bias": False, "bos_token_id": vocabulary[BOS], "torch_dtype": "float32"}


def vocabulary_of(layout):
    """Text -> id: the 256 bytes, the tokens, BOS. (A byte is written as latin-1 here; no token holds a byte above 127.)"""
    return {text: at for at, text in enumerate([bytes([byte]).decode("latin-1") for byte in range(256)] +
                                               sorted(layout.tokens, key=lambda text: (len(text), text)) + [BOS])}


def tokenizer_json(vocabulary):
    characters = byte_characters()

    def written(text):
        return "".join(characters[byte] for byte in text.encode("latin-1"))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    joined = [text for text in vocabulary if len(text) > 1 and text != BOS]
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [added_token(vocabulary[BOS], BOS, True)],
            "normalizer": None, "pre_tokenizer": byte_level, "post_processor": with_bos(BOS, vocabulary[BOS]),
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {written(text): at for text, at in vocabulary.items() if text != BOS},
                      "merges": [f"{written(text[:-1])} {written(text[-1])}" for text in joined]}}


def questions(case, layout, seed):
    """Every key of every family has a value in every prompt, at a random place outside the window and the sinks."""
    generator = random.Random(f"questions {seed}")
    count = math.ceil(QUESTIONS / len(case.asked)) * len(case.asked)
    for number in range(2 * count):
        values = {family: [generator.randrange(len(SYMBOLS)) for _ in SYMBOLS] for family in layout.families}
        pairs = [f" {family}{key}{SYMBOLS[value]}" for family in layout.families
                 for key, value in zip(SYMBOLS, values[family])]
        words = [FILLER] * (PROMPT - 1)  # BOS stands before them
        places = generator.sample(range(SINKS - 1, PROMPT - 1 - WINDOW), len(pairs))
        for place, pair in zip(places, pairs):
            words[place] = pair
        family = case.asked[number % len(case.asked)]
        symbol = generator.randrange(len(SYMBOLS))
        words[-1] = f" {family}{SYMBOLS[symbol]}"
        while family != "OUT":
            symbol = values[family][symbol]
            family = next(head.writes for head in case.heads if head.reads == family and not head.wrong)
        yield {"id": f"question {number}", "prompt": "".join(words), "answer": " " + SYMBOLS[symbol],
               "split": "calibration" if number < count else "test"}


def planted_json(name, case, seed):
    return {"case": name, "seed": seed, "window": WINDOW, "sinks": SINKS, "prompt_tokens": PROMPT,
            "heads": [asdict(head) for head in case.heads],
            "nll": {"none": mean_nll(case, []), "full": mean_nll(case, case.heads)},
            "selections": [selection(case, granularity) for granularity in ("layer", "kv_head")]}


def write_case(folder, name, seed):
    case = CASES[name]
    layout = Layout(case)
    vocabulary = vocabulary_of(layout)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors(case, layout, vocabulary, seed))
    for file, value in {"config.json": config_json(vocabulary), "tokenizer.json": tokenizer_json(vocabulary),
                        "tokenizer_config.json": {"bos_token": BOS},
                        "planted.json": planted_json(name, case, seed)}.items():
        (folder / file).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    lines = [json.dumps(question) + "\n" for question in questions(case, layout, seed)]
    (folder / "questions.jsonl").write_text("".join(lines), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", metavar="OUTPUT_DIR", type=Path)
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--seed", type=int, default=0, help="of the random heads and the prompts (default 0)")
    arguments = parser.parse_args()
    try:
        for name in [arguments.case] if arguments.case else CASES:
            write_case(arguments.output / name, name, arguments.seed)
            print(os.fspath(arguments.output / name))
    except OSError as error:
        print(f"make_planted.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
