#!/usr/bin/env python3
"""Times the prefill of one prompt by strata and by transformers (sdpa, logits_to_keep=1) in alternating rounds.

Usage: compare_prefill.py STRATA_BINARY MODEL_DIR [--tokens 1024] [--threads 2] [--rounds 5] [--dtype float32]
Needs tools/requirements-parity.txt. Prints medians, ranges and the ratio (above 1: strata is faster).
"""
import argparse, json, statistics, subprocess, time

parser = argparse.ArgumentParser()
parser.add_argument('strata')
parser.add_argument('model')
parser.add_argument('--tokens', type=int, default=1024)
parser.add_argument('--threads', type=int, default=2)
parser.add_argument('--rounds', type=int, default=5)
parser.add_argument('--dtype', default='float32')
args = parser.parse_args()

import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(args.threads)
model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype), attn_implementation='sdpa').eval()
ids = torch.randint(0, model.config.vocab_size, (1, args.tokens), generator=torch.Generator().manual_seed(0))


def theirs():
    with torch.inference_mode():
        start = time.perf_counter()
        model(ids, use_cache=True, logits_to_keep=1)
        return time.perf_counter() - start


def ours():
    command = [args.strata, 'bench', 'prefill', '--repeats', '2', 'strategy=full', 'model=directory', f'model.path={args.model}',
               f'benchmark.length={args.tokens}', f'threads={args.threads}', f'dtype={args.dtype}']
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)['seconds']


theirs()
a, b = [], []
for _ in range(args.rounds):
    a += ours()
    b += [theirs(), theirs()]
for name, times in (('strata', a), ('transformers', b)):
    print(f'{name:13} {args.tokens} tokens, {args.threads} threads, {args.dtype}: median {statistics.median(times):.3f} s '
          f'[{min(times):.3f}, {max(times):.3f}], n={len(times)}')
print(f'ratio of medians (transformers / strata): {statistics.median(b) / statistics.median(a):.2f}')
