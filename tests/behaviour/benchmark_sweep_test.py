#!/usr/bin/env python3
"""tools/benchmark_sweep and tools/benchmark_report.py on a model of random weights.

Usage: STRATA=build/strata benchmark_sweep_test.py     (run by ctest; needs the default model's tokenizer)
"""

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from selector_sweep_test import ROOT, STRATA, TOKENIZER, random_model, run

SWEEP = ROOT / "tools" / "benchmark_sweep"


@unittest.skipUnless((TOKENIZER / "tokenizer.json").exists(), f"no tokenizer at {TOKENIZER}")
class Benchmarks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.path = random_model(cls.folder, num_hidden_layers=4)
        cls.database = cls.folder / "a.db"
        cls.words = [cls.database, "model=directory", f"model.path={cls.path}", "model.name=random", "device=cpu",
                     "dtype=float32", "threads=1", "mixer.window=64", "calibration.samples=2", "calibration.benchmark.length=160",
                     "benchmark.samples=3"]
        cls.ruler = ["benchmark.essays=bundled", "benchmark.words=bundled", "benchmark.generation_limit=12",
                     "benchmark.length=384,512"]

    def test_every_command_composes(self):
        listed = run(SWEEP, "--list", *self.words)
        self.assertEqual(listed.returncode, 0, listed.stderr)
        commands = [line.split()[1:] for line in listed.stdout.splitlines()]
        self.assertEqual(len(commands), 60)
        for command in commands[::7] + commands[:1]:
            words = ["benchmark.length=1024" if w.startswith("benchmark.length=") else w for w in command if w != "-m"]
            done = run(STRATA, *words, "--cfg", "job")
            self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr}")

    def assertTableComesOutOfTheDump(self):
        restored = self.folder / "restored.db"
        done = run(ROOT / "tools" / "restore_dump.py", self.folder / "benchmarks.sql.gz", restored, f"model.path={self.path}")
        self.assertEqual(done.returncode, 0, done.stderr)
        tables = [run(STRATA, "report", "lengths", "--format", "csv", f"db={file}").stdout for file in (self.database, restored)]
        self.assertEqual(*tables)
        self.assertIn("niah_single_2", tables[0])

    def test_tasks_are_asked_and_tabled(self):
        plans = [w for plan in ("full", "none", "periodic", "nll_ablate") for w in ("--plan", plan)]
        tasks = [w for task in ("niah_single_1", "niah_single_2") for w in ("--task", task)]
        for _ in range(2):  # the second time, all is there
            done = run(SWEEP, *plans, *tasks, *self.words, *self.ruler)
            logs = {log.stem: log.read_text() for log in Path(f"{self.database}.parts").glob("*.log")}
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr + "\n".join(logs.values()))
        self.assertIn("2 were there already", logs["periodic-niah_single_1"])
        report = run(ROOT / "tools" / "benchmark_report.py", self.database, self.folder)
        self.assertEqual(report.returncode, 0, report.stderr)
        page = (self.folder / "benchmarks.md").read_text()
        self.assertIn("| plan | tasks | 384 | 512 | effective length |", page)
        rows = [line for line in page.splitlines() if line.startswith("| niah_single_2 |")]
        self.assertEqual(len(rows), 2, page)  # one a length
        self.assertNotIn("–", rows[0], page)
        self.assertIn("| nll_ablate | 2 |", page)
        self.assertTableComesOutOfTheDump()
        self.assertIn("## LongMemEval\n", page)
        self.assertIn("Not run.", page.partition("## LongMemEval")[2])


if __name__ == "__main__":
    sys.exit(unittest.main())
