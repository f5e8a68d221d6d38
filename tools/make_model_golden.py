#!/usr/bin/env python3
"""Writes tests/golden/model_smollm2.json: what `transformers` says about the default model, in float32.

Usage: make_model_golden.py MODEL_DIR [OUTPUT]     needs tools/requirements-parity.txt

For 20 prompts of 12 to 2,000 tokens: the token ids, 64 greedy tokens with the gap between the two best logits at each
step, and logits at the last prompt token for 256 vocabulary entries (evenly spread) with their log-sum-exp.
"""
import json, random, sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(2)
model_dir = sys.argv[1]
output = sys.argv[2] if len(sys.argv) > 2 else 'tests/golden/model_smollm2.json'
tokenizer = AutoTokenizer.from_pretrained(model_dir)
model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation='sdpa').eval()

rng = random.Random(20)
subjects = 'the river|a quiet engineer|our neighbour|this small model|the old library|every student|a red kite'.split('|')
verbs = 'carries|measures|remembers|rebuilds|questions|paints|follows'.split('|')
objects = 'seven boxes|the longest bridge|a page of numbers|its own shadow|the map of 1914|nothing at all|3.75 litres'.split('|')
code = 'def area(w, h):\n    return w * h  # plain\n\nfor i in range(10):\n    print(i, area(i, i + 1))\n'
questions = ['What was measured, and by whom?', 'Summarise the text in one sentence.', 'What does the code print?',
             'Write a short poem about a bridge.', 'List three animals and why they matter.']


def sentences(count):
    out = []
    for _ in range(count):
        line = f'{rng.choice(subjects)} {rng.choice(verbs)} {rng.choice(objects)}'.capitalize()
        out.append(line + (f', on day {rng.randrange(1000)}.' if rng.random() < 0.3 else '.'))
    return ' '.join(out)


cases = []
for index, length in enumerate([12, 40, 60, 90, 120, 160, 200, 256, 300, 400, 512, 600, 700, 800, 1000, 1200, 1400, 1600, 1800, 2000]):
    body = (code + '\n' if index % 5 == 2 else '') + sentences(max(1, length // 9)) + '\n' + questions[index % 5]
    text = body if index % 4 == 3 else tokenizer.apply_chat_template(
        [{'role': 'user', 'content': body}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)['input_ids']
    ids = ids[-length:] if len(ids) > length else ids
    with torch.inference_mode():
        out = model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        logits = out.logits[0, -1]
        probe = list(range(0, logits.numel(), logits.numel() // 256))[:256]
        case = {'tokens': ids, 'logits': [round(logits[i].item(), 5) for i in probe], 'probe_step': logits.numel() // 256,
                'logsumexp': torch.logsumexp(logits, 0).item(), 'greedy': [], 'gaps': []}
        past = out.past_key_values
        for _ in range(64):
            best = torch.topk(logits, 2)
            case['greedy'].append(best.indices[0].item())
            case['gaps'].append(round((best.values[0] - best.values[1]).item(), 6))
            out = model(torch.tensor([[case['greedy'][-1]]]), past_key_values=past, use_cache=True)
            past, logits = out.past_key_values, out.logits[0, -1]
    cases.append(case)
    print(f'{index + 1:2}: {len(ids)} tokens, next: {tokenizer.decode(case["greedy"][:12])!r}', file=sys.stderr)

with open(output, 'w') as f:
    json.dump({'model': 'SmolLM2-135M-Instruct', 'dtype': 'float32', 'transformers': __import__('transformers').__version__,
               'torch': torch.__version__, 'cases': cases}, f, separators=(',', ':'))
    f.write('\n')
