#!/usr/bin/env python3
"""Writes tests/golden/families/NAME/export.json: what `transformers` computes with a config.json that strata exported.

Usage: make_export_golden.py STRATA_BINARY [FAMILIES_DIR]     needs tools/requirements-parity.txt; make_family_golden.py first

For each family whose classes can hold a plan: `strata select` and `strata export --format hf` of a mask, the weights
loaded with the exported config, float32 logits at every sixth token of a 70-token prompt. Stops where the export computes
what full attention computes.
"""
import json, pathlib, subprocess, sys, tempfile

import torch
import transformers as hf

torch.set_num_threads(2)
strata = sys.argv[1]
families = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else 'tests/golden/families')
MASKS = {'llama_tied': [1, 0, 0, 1], 'llama_rope3': [0, 1, 0, 0], 'mistral': [0, 0, 1, 0], 'ministral': [1, 0, 0, 1],
         'qwen2': [0, 1, 0, 1], 'qwen3': [1, 0, 1, 0], 'smollm3': [0, 1, 1, 0], 'gemma3': [0, 0, 1, 0], 'gpt_oss': [1, 1, 0, 0]}
WINDOW = 11


def run(*command):
    return subprocess.run([strata, *command], check=True, capture_output=True, text=True).stdout


def logits(folder, config_text, tokens):
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / 'config.json').write_text(config_text)
        (place / 'model.safetensors').symlink_to((folder / 'model.safetensors').resolve())
        model = hf.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, attn_implementation='eager').eval()
        with torch.inference_mode():
            return type(model).__name__, model(tokens).logits[0]


for name, mask in MASKS.items():
    folder = families / name
    with tempfile.TemporaryDirectory() as place:
        mask_file, plan_file = f'{place}/mask.json', f'{place}/plan.json'
        model = ['model=directory', f'model.path={folder}']
        exported = []
        for rows in (mask, mask if name == 'gemma3' else [1, 1, 1, 1]):
            json.dump({'mask': [[kept] for kept in rows]}, open(mask_file, 'w'))
            run('select', 'strategy=file', f'strategy.path={mask_file}', f'mixer.window={WINDOW}', 'mixer.sinks=0',
                'decode_rule=same', '-o', plan_file, *model)
            exported.append((json.load(open(plan_file)), run('export', plan_file, '--format', 'hf', *model)))
    tokens = torch.randint(0, 40, (1, 70), generator=torch.Generator().manual_seed(7))
    plan, config = exported[0]
    kind, ours = logits(folder, config, tokens)
    # Gemma-3's layers keep their types: there the checkpoint's own, longer window is the other function.
    _, other = logits(folder, exported[1][1] if name != 'gemma3' else (folder / 'config.json').read_text(), tokens)
    apart = (ours - other).abs().max().item()
    if apart < 1e-2:
        raise SystemExit(f'{name}: the exported plan is ignored ({apart:.1e})')
    rows = list(range(69, -1, -6))[::-1]
    (folder / 'export.json').write_text(json.dumps(dict(
        plan=plan, config=config, tokens=tokens[0].tolist(), rows=rows,
        logits=[[float(f'{x:.8g}') for x in ours[row].tolist()] for row in rows]), separators=(',', ':')) + '\n')
    print(f'{name}: {kind}, {apart:.2f} from the other attention')
