#!/usr/bin/env python3
"""tools/hybrid_sweep and tools/hybrid_report.py on a model of random weights.

Usage: STRATA=build/strata hybrid_sweep_test.py     (run by ctest; needs the default model's tokenizer)
"""

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from selector_sweep_test import ROOT, STRATA, TOKENIZER, random_model, run

SWEEP = ROOT / "tools" / "hybrid_sweep"


@unittest.skipUnless((TOKENIZER / "tokenizer.json").exists(), f"no tokenizer at {TOKENIZER}")
class Hybrids(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        path = random_model(cls.folder, num_hidden_layers=4)
        (cls.folder / "text").mkdir()
        (cls.folder / "text" / "a.txt").write_text("".join(f"In year {n} nothing happened. " for n in range(400)))
        cls.database = cls.folder / "a.db"
        model = ["model=directory", f"model.path={path}", "model.name=random", "device=cpu"]
        steps = ["stage1.steps=2", "stage1.batch=2", "stage1.length=32", "text.max_repeats=50", "threads=1"]
        later = ["stage2.steps=2", "stage2.batch=2", "stage2.length=32", "stage3.steps=0"]
        convert = [w for o in [*model, *steps, *later, f"text.path={cls.folder / 'text'}", "text.sample_batch=2"]
                   for w in ("--convert", o)]
        small = [*model, "batch=4", "benchmark.samples=2", "calibration.samples=2", "benchmark.length=160",
                 "benchmark.min_distance=60", "mixer.window=64"]
        cls.words = ["--text", "folder", *convert, cls.database, *small]

    def test_every_command_composes(self):
        listed = run(SWEEP, "--list", *self.words)
        self.assertEqual(listed.returncode, 0, listed.stderr)
        commands = [line.partition(": ")[2].split()[1:] for line in listed.stdout.splitlines()]
        self.assertGreater(len(commands), 100)
        for command in commands[::7]:  # every kind of command and many plans
            done = run(STRATA, *command, "--cfg", "job")
            self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr}")

    def test_plans_are_trained_and_compared(self):
        for names in (("full", "uniform-4", "random-4", "uniform-windows-4"), ("uniform-4",)):  # the second time, all is there
            done = run(SWEEP, *(w for name in names for w in ("--plan", name)), *self.words)
            logs = {log.stem: log.read_text() for log in Path(f"{self.database}.parts").glob("*.log")}
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr + "\n".join(logs.values()))
        self.assertEqual(logs["uniform-4"].count("were there already"), 4, logs["uniform-4"])
        report = run(ROOT / "tools" / "hybrid_report.py", self.database, self.folder)
        self.assertEqual(report.returncode, 0, report.stderr)
        page = (self.folder / "hybrids.md").read_text()
        row = next(line for line in page.splitlines() if line.startswith("| uniform-4 "))
        self.assertNotIn("–", row.rpartition("| none")[0].rpartition("|")[0], page)  # all but the selection's cost
        self.assertIn("| branches | alignment |", page)
        self.assertIn("| uniform − random | 1/4 |", page)
        self.assertIn("| uniform-windows-4 | distillation |", page)


if __name__ == "__main__":
    sys.exit(unittest.main())
