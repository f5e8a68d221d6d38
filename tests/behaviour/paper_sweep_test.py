#!/usr/bin/env python3
"""The sweeps of configs/experiment/paper, as their files show them, on a model of random weights and few samples.

Usage: STRATA=build/strata paper_sweep_test.py     (run by ctest; needs the default model's tokenizer)
"""

import csv
import re
import shutil
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

from selector_sweep_test import ROOT, STRATA, TOKENIZER, random_model, run

SWEEPS = ROOT / "configs" / "experiment" / "paper"
SMALL = {"strategy": None, "device": "cpu", "dtype": "float32", "threads": "1", "benchmark.samples": "2", "calibration.samples": "4"}
RULER = {"benchmark.task": "niah_single_1", "benchmark.length": "1536", "benchmark.essays": "bundled",
         "benchmark.words": "bundled", "benchmark.generation_limit": "8", "calibration.benchmark.length": "3000"}
MEMORY = {"benchmark.path": str(ROOT / "tests/golden/longmemeval_small.json"), "benchmark.sessions": "0",
          "benchmark.generation_limit": "8", "calibration.benchmark.length": "4000"}
STEPS = {"consa": ["strategy.training.steps=2"], "flashmorph": ["strategy.training.steps=2"]}


def shown(paper):
    """The commands in the file's heading, as words."""
    found = re.findall(r"^# strata (run -m .*)$", (SWEEPS / f"{paper}.yaml").read_text(), re.MULTILINE)
    return [command.split() for command in found]


@unittest.skipUnless((TOKENIZER / "tokenizer.json").is_file(), "no tokenizer of the default model")
class PaperSweeps(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model = random_model(cls.folder, num_hidden_layers=4, max_position_embeddings=8192)

    def sweep(self, paper, words, strategies, more):
        """The command with DIR filled in and other sizes; of its strategies those that are named."""
        small = SMALL | more | {"strategy": ",".join(strategies), "db": str(self.folder / f"{paper}.db")}
        kept = [word for word in words if word.partition("=")[0] not in small]
        kept = [word.replace("model.path=DIR", f"model.path={self.model}")
                .replace("model.branches=DIR", f"model.branches={self.folder / 'branches'}") for word in kept]
        steps = [step for name in strategies for step in STEPS.get(name, [])]
        done = run(STRATA, *kept, *(f"{key}={value}" for key, value in small.items()), *steps)
        self.assertEqual(done.returncode, 0, f"{kept}\n{done.stdout}{done.stderr}")

    def compared(self, paper):
        """How many published values stand beside a run of ours; of another model, so that none can be reproduced."""
        page = run(STRATA, "report", "paper", paper, "--format", "csv", f"db={self.folder / paper}.db")
        self.assertEqual(page.returncode, 0, page.stderr)
        table = page.stdout.partition("\n\n")[0]
        verdicts = Counter(row["verdict"].partition(" (")[0] for row in csv.DictReader(table.splitlines()))
        self.assertNotIn("reproduced", verdicts)
        return verdicts["not comparable"]

    def test_windows_on_questions(self):
        for words, strategies in zip(shown("swaa"), (["full", "none"], ["periodic"]), strict=False):
            self.sweep("swaa", words, strategies, MEMORY)
        self.assertGreater(self.compared("swaa"), 10)

    def test_learned_masks(self):
        self.sweep("consa", shown("consa")[1], ["consa"], RULER | {"calibration.benchmark.length": "2500"})
        self.assertGreater(self.compared("consa"), 0)

    def test_linear_branches(self):
        (self.folder / "text").mkdir()
        (self.folder / "text" / "a.txt").write_text("".join(f"In year {n} nothing happened. " for n in range(400)))
        made = run(STRATA, "convert", "-o", self.folder / "branches", "model=directory", f"model.path={self.model}", "device=cpu",
                   "stage1.steps=1", "stage1.length=32", f"text.path={self.folder / 'text'}", "text.max_repeats=50", "threads=1")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.sweep("flashmorph", shown("flashmorph")[0], ["flashmorph"], RULER)
        self.sweep("flashmorph", shown("flashmorph")[0], ["periodic"], RULER)
        self.assertGreater(self.compared("flashmorph"), 5)


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv[:1])
