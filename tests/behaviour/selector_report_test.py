#!/usr/bin/env python3
"""tools/selector_report.py over a small database: its cells against numbers worked out by hand.

Usage: STRATA=build/strata selector_report_test.py     (run by ctest)

The model has four layers and keeps one. A plan's answers are as good as the layer it keeps: NLL 0.1 with full
attention, 2.1 with none, 0.3 with layer 0, 1.1 with layer 1, 2.0 with layer 2, 2.2 with layer 3; so layer 0 closes 90 %
of the gap.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
STRATA = os.environ.get("STRATA", str(ROOT / "build" / "strata"))
sys.path.insert(0, str(ROOT / "tools"))
import selector_report  # noqa: E402  # pylint: disable=wrong-import-position

SAMPLES = 20
LAYERS = 4
NLL = {(): 2.1, (0, 1, 2, 3): 0.1, (0,): 0.3, (1,): 1.1, (2,): 2.0, (3,): 2.2}
NIAH = {"haystack": "bundled", "length": 1024, "name": "niah", "samples": SAMPLES, "seed": None, "task": "single"}
SIGN = {"name": "gates", "expected": "not all equal", "found": "all 1", "outcome": "sign"}


def text(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def name(*parts):
    return hashlib.sha256(text(parts).encode()).hexdigest()


def empty_database(file):
    """A connection to a database of today's schema without rows."""
    connection = sqlite3.connect(file)
    connection.executescript((ROOT / "tests/golden/schema_2.sql").read_text())
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    subprocess.run([STRATA, "db", "migrate", str(file)], check=True, stdout=subprocess.DEVNULL)
    return connection


class Rows:
    """Writes runs as a sweep would, with their plans, selections and answers."""

    def __init__(self, file):
        self.db = empty_database(file)
        self.insert("models", id=name("model"), name="toy", path_hint="/secret", layers=LAYERS, query_heads=2,
                    kv_heads=2, parameters=1_000_000)
        self.insert("tokenizers", id=name("tokenizer"), name="toy")
        self.count = 0

    def insert(self, table, **values):
        self.db.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
                        list(values.values()))

    def data(self, benchmark):
        data = name("data", benchmark)
        self.insert("data_sets", id=data, benchmark=benchmark["name"])
        samples = [name(benchmark, i) for i in range(SAMPLES)]
        for i, sample in enumerate(samples):
            self.insert("samples", id=sample, benchmark=benchmark["name"], prompt_text="a secret prompt",
                        prompt_tokens=100, answers_json='["1"]', metadata_json="{}")
            cluster = "one" if benchmark.get("haystack") == "essays" else ""  # empty: each its own
            self.insert("data_samples", data_id=data, position=i, sample_id=sample, cluster=cluster)
        return data, samples

    def plan(self, kept, granularity):
        kinds = {(): [1], (0, 1, 2, 3): [0]}.get(kept, [0, 1])
        palette = [[{"kind": "full"}, {"kind": "sliding_window", "sinks": 4, "window": 128}][kind] for kind in kinds]
        cells = [[kinds.index(0 if layer in kept else 1)] for layer in range(LAYERS)]
        plan = name("plan", kept)
        self.insert("plans", id=plan, plan_json=text({
            "cells": cells, "format": 1, "granularity": granularity, "palette": palette,
            "layout": {"kv_heads": 2, "layers": LAYERS, "query_heads": 2}}))
        return plan

    def run(self, label, kept, *, benchmark=NIAH, budget=0.25, group=None, seed=None, prompts=16, source=None,
            flops=0.0, supervision="answers", diagnostics=None, granularity="layer", error=None, steps=None):
        self.count += 1
        run, data = name("run", self.count), None
        strategy = {"name": label.split("[")[0]} | ({"training": {"steps": steps}} if steps else {})
        config = {"benchmark": benchmark, "calibration": {"benchmark": source, "samples": prompts, "seed": seed},
                  "model": {"name": "toy", "path": "/secret"}, "strategy": strategy}
        experiment = selection = None
        if error is None:
            data, samples = self.data(benchmark)
            plan = self.plan(kept, granularity)
            experiment, selection = name("experiment", data, plan), name("selection", run)
            self.insert("experiments", id=experiment, model_id=name("model"), tokenizer_id=name("tokenizer"),
                        plan_id=plan, generation_json="{}", data_id=data, numerics_version=2)
            mask = [[int(layer in kept)] for layer in range(LAYERS)]
            scores = "null" if supervision == "none" else text([[-NLL[(layer,)]] for layer in range(LAYERS)])
            tensor = name("tensor", run)
            self.insert("score_tensors", id=tensor, context_json="{}", samples_json="[]", clusters_json="[]",
                        positions_json="[]", context_nll=b"", gains=os.urandom(1000))
            self.insert("selections", id=selection, strategy=label, config_json="{}", model_id=name("model"),
                        plan_id=plan, mask_json=text(mask), scores_json=scores, standard_errors_json="null",
                        forward_tokens=3000.0, backward_tokens=1000.0, layer_tokens=0.0, flops=flops, evaluations=1,
                        seconds=1.0, peak_bytes=0, supervision=supervision, training_json="null",
                        calibration_id="" if supervision == "none" else name("calibration", source, prompts, seed),
                        seed=0, diagnostics_json=text(diagnostics or {}), score_tensor_id=tensor)
        self.insert("runs", id=run, config_hash="", config_json=text(config),
                    started=f"2026-01-01T00:00:{self.count:02}Z", finished="", status="failed" if error else "done",
                    error=error or "", strategy=strategy["name"], label=label, group_name=group or label,
                    budget_units=None if budget is None else int(budget * LAYERS), budget_fraction=budget,
                    granularity=granularity, decode_rule="same", window=128, sinks=4, selection_id=selection,
                    experiment_id=experiment, benchmark=benchmark["name"], benchmark_config_json=text(benchmark),
                    seeds_json="{}", calibration_nll=None)
        if error is None:
            self.answer(run, experiment, samples, NLL[kept])

    def answer(self, run, experiment, samples, nll):
        execution = name("execution", run)
        self.insert("executions", id=execution, run_id=run, build="1", device="cpu", threads=1, dtype="float32",
                    cpu="c")
        for sample in samples:
            self.insert("responses", experiment_id=experiment, sample_id=sample, execution_id=execution, text="1",
                        tokens_json="[1]", answer_nll_json=text([nll - 0.05, nll + 0.05]), argmax_json="[1,1]",
                        metrics_json=text({"gen_contains": float(nll < 1), "tf_exact": float(nll < 1)}),
                        timings_json="{}", prefill_flops=1.0, decode_flops=1.0, kv_bytes=1000)


def fill(file):
    rows = Rows(file)
    longer = NIAH | {"length": 4096}
    prose = {"length": 1024, "name": "local_text", "samples": SAMPLES}
    essays = NIAH | {"haystack": "essays"}
    for benchmark in (NIAH, longer, prose, essays):
        rows.run("full", (0, 1, 2, 3), benchmark=benchmark, budget=None, supervision="none")
        rows.run("none", (), benchmark=benchmark, budget=None, supervision="none")
    for draw, layer in enumerate((1, 2, 3)):
        rows.run(f"random[{draw}]", (layer,), group="random", supervision="none")
    cost = {"flops_without_reuse": 100e12}
    for seed in (None, 1, 2, 3, 4):
        rows.run("nll_ablate", (0,), seed=seed, flops=50e12, diagnostics=cost)
        rows.run("gradient[0.5]", (1,) if seed == 4 else (0,), seed=seed, flops=10e12)
        rows.run("gate_path", (0,), seed=seed, flops=20e12)
    rows.run("nll_restore", (2,), flops=40e12)
    for label, kept in (("nll_ablate", (0,)), ("nll_restore", (2,))):
        rows.run(label, kept, benchmark=NIAH | {"split": "development"}, flops=50e12)
    rows.run("gradient[0.5]", (2,), prompts=4, flops=2.5e12)
    rows.run("consa[answer]", (3,), flops=80e12, steps=3,
             diagnostics={"checks": [SIGN], "signs_of_a_bug": ["gates: expected not all equal, found all 1"]})
    rows.run("ends", (), granularity="kv_head", error="ends: whole layers only\n  hint: granularity=layer")
    rows.run("gradient[0.5]", (2,), granularity="kv_head", flops=10e12)
    rows.run("gradient[0.5]", (1,), benchmark=longer, flops=44e12)
    rows.run("gradient[0.5]", (0,), benchmark=longer, flops=11e12, source=NIAH)
    rows.run("gradient[0.5]", (0,), benchmark=prose, flops=10e12, source=NIAH)
    rows.run("gradient[0.5]", (0,), benchmark=essays, flops=10e12)
    rows.db.commit()
    rows.db.close()


def cells(page, section, row):
    """The cells of the first table row that begins with `row` behind a heading."""
    part = page.split(f"## {section}")[1]
    line = next(line for line in part.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


class SelectorReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.database, cls.out = Path(place, "sweep.db"), Path(place, "out")
        fill(cls.database)
        with mock.patch.object(sys, "argv", ["selector_report.py", str(cls.database), str(cls.out)]), \
                mock.patch.dict(os.environ, STRATA=STRATA), contextlib.redirect_stdout(io.StringIO()):
            assert selector_report.main() == 0
        cls.page = (cls.out / "selectors.md").read_text()

    def test_the_gap_closed_is_nll_between_none_and_full(self):
        header = cells(self.page, "Gap closed, %", "selector")
        self.assertEqual([h.split(" [")[0] for h in header[1:]], ["L same 1/4", "KV same 1/4"])
        self.assertEqual(cells(self.page, "Gap closed, %", "nll_ablate"), ["nll_ablate", "90.0", "–"])
        self.assertEqual(cells(self.page, "Gap closed, %", "gradient[0.5]"), ["gradient[0.5]", "90.0", "5.0"])
        self.assertEqual(cells(self.page, "Gap closed, %", "nll_restore")[1], "5.0")
        self.assertEqual(cells(self.page, "Generated answers right, %", "gradient[0.5]")[1], "100")
        # Gaps of the three draws: 50, 5 and -5 %.
        self.assertEqual(cells(self.page, "Gap closed, %", "random: median")[1], "5.0")
        self.assertEqual(cells(self.page, "Gap closed, %", "random: range")[1], "-5 to 50")

    def test_a_refused_cell_says_why_and_a_sign_is_marked(self):
        self.assertRegex(cells(self.page, "Gap closed, %", "ends")[2], r"refused \[[a-z]\]")
        self.assertIn("ends: whole layers only", self.page)
        self.assertEqual(cells(self.page, "Gap closed, %", "consa[answer]")[1], "-5.0 !")
        self.assertEqual(cells(self.page, "Signs of a bug", "gates"), ["gates", "1", "0", "0", "consa[answer] 1"])

    def test_few_clusters_support_no_inference(self):
        header = cells(self.page, "Other windows, tasks and lengths", "selector")
        self.assertIn("length 4096 [b]", header)
        self.assertIn("- [b] no random draws", self.page)
        self.assertIn("haystack essays [c]", header)
        self.assertIn("- [c] inference is not supported: 1 of the 20 clusters that it takes", self.page)

    def test_costs_are_of_ablating_every_unit(self):
        row = cells(self.page, "The centre in full", "gradient[0.5]")
        # TFLOP, % without reuse, % with, thousands of tokens; harm: 0.3 of layer 0 against 0.1 of full attention.
        self.assertEqual(row[6:10], ["10.0", "10.0", "20.0", "4"])
        self.assertTrue(row[5].startswith("0.200"), row)
        self.assertEqual(cells(self.page, "The centre in full", "consa[answer]")[-1], "answers, 3 steps")

    def test_the_goal_has_the_cheapest_selector_first(self):
        # Cheapest first: TFLOP, % of ablating without reuse, % with, NLL; bold where nothing cheaper is as good.
        self.assertEqual(cells(self.page, "Rule `same`", "**gradient[0.5]**")[1:6],
                         ["5", "10.0", "10.0", "20.0", "0.460"])
        self.assertEqual(cells(self.page, "Rule `same`", "**gate_path**")[1:6],
                         ["5", "20.0", "20.0", "40.0", "0.300"])
        self.assertEqual(cells(self.page, "Rule `same`", "nll_ablate")[1:6],
                         ["5", "50.0", "50.0", "100.0", "0.300"])

    def test_the_goal_is_judged_by_strata_s_claims_over_seeds(self):
        self.assertEqual(cells(self.page, "Rule `same`", "nll_ablate")[6], "reference")
        # Differences to nll_ablate: 0, 0, 0, 0, 0.8. Mean 0.16, SD 0.3578, bound 0.16 + 2.1318 · 0.3578 / √5.
        self.assertEqual(cells(self.page, "Rule `same`", "**gradient[0.5]**")[6:],
                         ["+0.160", "0.358", "+0.501", "no"])
        self.assertEqual(cells(self.page, "Rule `same`", "**gate_path**")[6:], ["+0.000", "0.000", "+0.000", "yes"])
        self.assertIn("the reference is `nll_ablate`, chosen on the development split", self.page)
        self.assertIn("1 of 2; the cheapest is `gate_path`, at 20.0 % of the FLOPs of ablating every unit without reuse, "
                      "40.0 % of those with.", self.page)

    def test_curves_have_a_column_for_each_number_of_prompts(self):
        self.assertEqual(cells(self.page, "Cost and quality", "selector")[1:], ["4 prompts", "16 prompts"])
        self.assertEqual(cells(self.page, "Cost and quality", "gradient[0.5]")[1:], ["2.000 (2.5)", "0.300 (10.0)"])

    def test_transfer_names_the_regret(self):
        # Calibrated at 1,024: layer 0, 0.3 everywhere; calibrated at 4,096: layer 1, 1.1.
        self.assertEqual(cells(self.page, "Transfer", "gradient[0.5]")[1:],
                         ["0.300", "1.100", "0.300", "-0.800 ± 0.000", "0.00", "11.0", "44.0"])

    def test_stability_is_the_overlap_of_pairs_of_seeds(self):
        # One of five sets differs: six pairs of ten are equal, four share nothing.
        self.assertEqual(cells(self.page, "Stability and agreement", "gradient[0.5]")[1:], ["5", "2", "0.60", "0.00"])
        self.assertEqual(cells(self.page, "Stability and agreement", "nll_ablate")[1:], ["5", "1", "1.00", "1.00"])
        # Sets of one of four: equal with 1/4. Of the ten pairs of selectors three are equal.
        self.assertIn("5 selectors, median Jaccard of their sets 0.00 (two random sets of 1 of 4: 0.25", self.page)
        self.assertIn("The same set: nll_ablate = gradient[0.5] = gate_path.", self.page)
        agreement = (self.out / "selectors_agreement.md").read_text()
        self.assertIn("1.00 / 1.00", agreement)

    def test_the_dump_restores_without_prompts_and_paths(self):
        sql = gzip.decompress((self.out / "selectors.sql.gz").read_bytes()).decode()
        self.assertNotIn("secret", sql)
        restored = self.out / "restored.db"
        copy = sqlite3.connect(restored)
        copy.executescript(sql)
        copy.close()
        tables = [subprocess.run([STRATA, "report", "leaderboard", f"db={file}", "--format", "csv"],
                                 capture_output=True, check=True).stdout for file in (self.database, restored)]
        self.assertEqual(*tables)

    def test_a_dump_that_is_too_long_leaves_out_score_tensors_and_says_so(self):
        connection = sqlite3.connect(self.database)
        rows = selector_report.strata("report", "leaderboard", f"db={self.database}")
        sweep = selector_report.read_sweep(connection, rows, [])
        whole, note = selector_report.dump(connection, sweep)
        self.assertEqual(note, "")
        smaller, note = selector_report.dump(connection, sweep, limit=len(whole) - 1)
        self.assertIn("outside the centre", note)
        smallest, note = selector_report.dump(connection, sweep, limit=len(smaller) - 1)
        self.assertIn("all score tensors", note)
        kept = [gzip.decompress(data).decode().count("INSERT INTO \"score_tensors\"")
                for data in (whole, smaller, smallest)]
        # 36 selections, 21 of them at the centre with budget 1/4.
        self.assertEqual(kept, [36, 21, 0])

    def test_filters_and_groups_take_one_value_each_and_leave_the_database(self):
        def labels(*options):
            rows = selector_report.strata("report", "leaderboard", *options, f"db={self.database}")
            return {row["strategy"] for row in rows if row["kind"] == "ranked"}, {row["by"] for row in rows}
        every, groups = labels("--by", "calibration.samples")
        self.assertGreater(len(groups), 1)
        some, _ = labels("--where", "label=nll_ablate", "--where", "calibration.samples=16")
        self.assertTrue(some and some < every and all("nll_ablate" in name for name in some), some)
        done = subprocess.run([STRATA, "report", "leaderboard", "--where", "calibration.sample=16", f"db={self.database}"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(", calibration.samples", done.stderr)


if __name__ == "__main__":
    unittest.main()
