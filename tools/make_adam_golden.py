#!/usr/bin/env python3
"""Writes tests/golden/adam.json: what torch.optim.AdamW makes of given gradients, for tests/unit/models/training_test.cc.

Needs torch. Usage: tools/make_adam_golden.py [OUTPUT]
"""
import json
import pathlib
import sys

import torch

VALUES, STEPS = 4, 12


def case(seed, rate, beta2, weight_decay, maximize):
    generator = torch.Generator().manual_seed(seed)
    values = torch.nn.Parameter(torch.randn(VALUES, generator=generator, dtype=torch.float64))
    optimizer = torch.optim.AdamW([values], lr=rate, betas=(0.9, beta2), eps=1e-8, weight_decay=weight_decay,
                                  maximize=maximize)
    start, gradients, after = values.tolist(), [], []
    for step in range(STEPS):
        # Sizes from 1e-9 to 1e3, a zero in each: epsilon must matter, and must not.
        gradient = torch.randn(VALUES, generator=generator, dtype=torch.float64) * 10.0 ** (3 - step)
        gradient[step % VALUES] = 0
        values.grad = gradient
        optimizer.step()
        gradients.append(gradient.tolist())
        after.append(values.tolist())
    return {"rate": -rate if maximize else rate, "beta2": beta2, "weight_decay": weight_decay, "start": start,
            "gradients": gradients, "after": after}


def main():
    output = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/adam.json"
    cases = [case(1, 0.02, 0.999, 0.0, False), case(2, 0.3, 0.95, 0.0, False), case(3, 0.1, 0.999, 0.1, False),
             case(4, 0.2, 0.95, 0.0, True)]
    text = f'{{"made_by": "torch {torch.__version__}", "cases": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]}\n"
    pathlib.Path(output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
