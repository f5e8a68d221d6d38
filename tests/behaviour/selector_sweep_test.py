#!/usr/bin/env python3
"""tools/selector_sweep and tools/restore_dump.py on a model of random weights.

Usage: STRATA=build/strata selector_sweep_test.py     (run by ctest; needs the default model's tokenizer)
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STRATA = os.environ.get("STRATA", str(ROOT / "build" / "strata"))
SWEEP = ROOT / "tools" / "selector_sweep"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
TOKENIZER = Path(os.environ.get("STRATA_SMOLLM2", CACHE / "strata" / "models" / "smollm2-135m-instruct"))
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 64,
         "num_hidden_layers": 8, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32,
         "vocab_size": 49152, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 2048,
         "tie_word_embeddings": True, "hidden_act": "silu", "attention_bias": False, "bos_token_id": 1,
         "eos_token_id": 2}


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False,
                          env=os.environ | {"STRATA": STRATA})


def random_model(folder, **config):
    """FOLDER/model: a Llama of random weights with the default model's tokenizer."""
    (folder / "config.json").write_text(json.dumps(LLAMA | config))
    made = run(ROOT / "tools" / "make_random_model.py", folder / "config.json", TOKENIZER, folder / "model")
    assert made.returncode == 0, made.stderr
    return folder / "model"


class Configurations(unittest.TestCase):
    def test_every_sweep_composes(self):
        listed = run(SWEEP, "--list", "x.db").stdout.splitlines()
        self.assertEqual(len(listed), len(set(listed)))
        for line in listed:
            words = line.split()
            if words[0] == "train":
                words = words[3:]
            done = run(STRATA, "run", "-m", "experiment=selectors", *words, "--cfg", "job")
            self.assertEqual(done.returncode, 0, f"{line}\n{done.stderr}")


@unittest.skipUnless((TOKENIZER / "tokenizer.json").exists(), f"no tokenizer at {TOKENIZER}")
class Databases(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.database = self.folder / "a.db"
        self.small = ["model=directory", f"model.path={random_model(self.folder)}", "model.name=random", "device=cpu",
                      "batch=4", "benchmark.samples=2", "calibration.samples=2", "diagnostics=basic", "mixer.window=64",
                      "benchmark.length=160"]

    def sweep(self, *words):
        done = run(SWEEP, "--part", "development", *words, self.database, *self.small)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        logs = (Path(f"{self.database}.parts")).glob("*.log")
        return done.stdout, [log.read_text().splitlines()[-1] for log in logs]

    def test_a_sweep_goes_on_from_the_merged_database(self):
        _, first = self.sweep("--jobs", "2")
        self.assertEqual(sorted(line.split()[0] for line in first), ["10", "10", "2", "2"])  # runs recorded
        shutil.rmtree(f"{self.database}.parts")
        before = run(STRATA, "db", "dump", self.database).stdout
        _, second = self.sweep()
        self.assertEqual([line.split()[0] for line in second], ["0"] * 4)
        self.assertTrue(all("were there already" in line for line in second), second)
        self.assertEqual(run(STRATA, "db", "dump", self.database).stdout, before)

    def test_a_restored_dump_has_its_prompts(self):
        done = run(STRATA, "run", "-m", "experiment=selectors", "strategy=full,none,nll_ablate", *self.small,
                   f"db={self.database}")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = run(ROOT / "tools" / "selector_report.py", self.database, self.folder)
        self.assertEqual(report.returncode, 0, report.stderr)
        restored = self.folder / "restored.db"
        # The tokenizer is found where the environment says.
        done = run(ROOT / "tools" / "restore_dump.py", self.folder / "selectors.sql.gz", restored,
                   f"model.path={self.folder / 'model'}")
        self.assertEqual(done.returncode, 0, done.stderr)
        dumps = [run(STRATA, "db", "dump", file).stdout for file in (self.database, restored)]
        samples = [[line for line in dump.splitlines() if line.startswith("samples")] for dump in dumps]
        self.assertEqual(*samples)
        self.assertGreater(len(samples[0]), 0)


if __name__ == "__main__":
    sys.exit(unittest.main())
