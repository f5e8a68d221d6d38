#!/usr/bin/env python3
"""Writes tests/golden/families/NAME/: a tiny random checkpoint of each family and what `transformers` says about it.

Usage: make_family_golden.py [OUTPUT_DIR [NAME…]]     needs tools/requirements-parity.txt; all families take a while

config.json and model.safetensors as save_pretrained writes them; expected.json holds three prompts (one shorter, two
longer than the windows), float32 logits at every sixth prompt token, and 48 greedy tokens. Seeds whose greedy path has
a gap below 1e-3 between the two best logits are passed over, so that equal maths gives equal tokens.
"""
import json, pathlib, sys

import torch
import transformers as hf

torch.set_num_threads(2)
output = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else 'tests/golden/families')
only = sys.argv[2:]
NEW_TOKENS = 48
SLIDE, FULL = 'sliding_attention', 'full_attention'

common = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=4, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=256, bos_token_id=None, eos_token_id=None, pad_token_id=None)
llama3 = dict(rope_type='llama3', rope_theta=5000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
linear = dict(rope_type='linear', factor=8.0)
yarn = dict(rope_type='yarn', rope_theta=100.0, factor=8.0, beta_fast=8.0, beta_slow=0.5, original_max_position_embeddings=32)
cases = {
    'llama_tied': (hf.LlamaConfig, dict(tie_word_embeddings=True)),
    'llama_bias': (hf.LlamaConfig, dict(attention_bias=True, head_dim=8)),
    'llama_rope3': (hf.LlamaConfig, dict(rope_parameters=llama3)),
    'llama_linear': (hf.LlamaConfig, dict(rope_parameters=dict(linear, rope_theta=5000.0))),
    'llama_yarn': (hf.LlamaConfig, dict(head_dim=8, rope_parameters=dict(yarn, mscale=1.0, mscale_all_dim=0.4))),
    'mistral': (hf.MistralConfig, dict(sliding_window=20)),
    'ministral': (hf.MinistralConfig, dict(sliding_window=16, head_dim=8, layer_types=[SLIDE, FULL, SLIDE, SLIDE])),
    'qwen2': (hf.Qwen2Config, dict(tie_word_embeddings=True)),
    'qwen2_hybrid': (hf.Qwen2Config, dict(use_sliding_window=True, sliding_window=13, max_window_layers=2)),
    'qwen3': (hf.Qwen3Config, dict(head_dim=12)),
    'qwen3_hybrid': (hf.Qwen3Config, dict(head_dim=12, use_sliding_window=True, sliding_window=16, max_window_layers=0,
                                          layer_types=[FULL, SLIDE, FULL, SLIDE], tie_word_embeddings=True)),
    'smollm3': (hf.SmolLM3Config, dict(no_rope_layer_interval=2)),
    'smollm3_hybrid': (hf.SmolLM3Config, dict(no_rope_layers=[1, 0, 1, 1], use_sliding_window=True, sliding_window=16,
                                              layer_types=[SLIDE, FULL, FULL, SLIDE], tie_word_embeddings=False)),
    'gemma3': (hf.Gemma3TextConfig, dict(head_dim=8, query_pre_attn_scalar=5, sliding_window=16,
                                         layer_types=[SLIDE, SLIDE, FULL, SLIDE])),
    'gemma3_linear': (hf.Gemma3TextConfig, dict(
        head_dim=8, query_pre_attn_scalar=5, sliding_window=16, layer_types=[SLIDE, FULL, SLIDE, FULL],
        rope_parameters={SLIDE: dict(rope_type='default', rope_theta=2000.0), FULL: dict(linear, rope_theta=5000.0)})),
    'gpt_oss': (hf.GptOssConfig, dict(
        head_dim=8, intermediate_size=12, num_local_experts=4, num_experts_per_tok=2, sliding_window=8,
        rope_parameters=dict(yarn, truncate=False))),
    'gpt_oss_plain': (hf.GptOssConfig, dict(
        head_dim=8, intermediate_size=8, num_local_experts=5, num_experts_per_tok=3, sliding_window=16, attention_bias=False,
        layer_types=[FULL, SLIDE, SLIDE, FULL], swiglu_alpha=1.3, swiglu_limit=0.8,
        rope_parameters=dict(rope_type='default', rope_theta=5000.0))),
}


def build(config_class, extra, seed):
    config = config_class(**{**common, **extra})
    config._attn_implementation = config._experts_implementation = 'eager'
    model = hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        inputs = weight.shape[-2] if 'experts' in name else weight.shape[-1]
        # Experts multiply more values with each other: wider, and transformers' own float32 is 1e-5 from its float64.
        spread = 0.3 if 'norm' in name or 'bias' in name or 'embed' in name else (
            0.8 if 'experts' in name else 1.2) / inputs ** 0.5
        values = torch.randn(weight.shape, generator=generator) * spread
        if 'norm' in name and config.model_type != 'gemma3_text':  # which adds the one itself
            values += 1
        if 'sinks' in name:  # a learned sink's weight: comparable with that of the keys
            values += 2
        with torch.no_grad():
            weight.copy_(values)
    return model


def ask(model, length, generator):
    tokens = torch.randint(0, model.config.vocab_size, (1, length), generator=generator)
    with torch.inference_mode():
        logits = model(tokens).logits[0]
        generated = model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
                                   max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS,
                                   output_logits=True, return_dict_in_generate=True)
    steps = torch.stack([step[0] for step in generated.logits])
    best = steps.topk(2).values
    rows = list(range(length - 1, -1, -6))[::-1]
    return (best[:, 0] - best[:, 1]).min().item(), dict(
        tokens=tokens[0].tolist(), rows=rows, logits=[[float(f'{x:.8g}') for x in logits[row].tolist()] for row in rows],
        greedy=generated.sequences[0, length:].tolist())


for name, (config_class, extra) in cases.items():
    if only and name not in only:
        continue
    for seed in range(1000):
        model = build(config_class, extra, seed)
        generator = torch.Generator().manual_seed(seed + 1)
        answers = [ask(model, length, generator) for length in (9, 41, 70)]
        varied = all(len(set(answer['greedy'])) >= 6 for _, answer in answers)
        if varied and min(gap for gap, _ in answers) > 1e-3:
            break
    else:
        raise SystemExit(f'{name}: no seed with clear greedy paths')
    folder = output / name
    model.save_pretrained(folder)
    for extra_file in folder.glob('generation_config.json'):
        extra_file.unlink()
    (folder / 'expected.json').write_text(json.dumps([answer for _, answer in answers], separators=(',', ':')) + '\n')
    print(f'{name}: seed {seed}, {sum(f.stat().st_size for f in folder.iterdir()) // 1024} KiB')
