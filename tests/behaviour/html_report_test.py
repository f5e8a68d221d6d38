#!/usr/bin/env python3
"""strata report leaderboard --format html in headless Chromium: it draws, sorts, keeps hostile text text, asks nobody.

Usage: STRATA=build/strata html_report_test.py     (run by ctest)

Without a Chromium (tools/setup --tests installs it) the tests are skipped, and fail where CI is set.
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import browser
from selector_report_test import STRATA, empty_database, name, text

HOSTILE = "</script><img src=http://evil.invalid/x onerror=\"hacked=1\"><script>hacked=1</script><!--\u2028'&"
LAYERS, HEADS = 6, 3
LENGTHS, DEPTHS = (512, 1024, 2048), (0, 50, 100)
MANY = 100_000
MAX_BYTES, MAX_SECONDS = 10_000_000, 2.0


class Database:
    """A sweep of made-up plans over one data set; `nll` and `right` of a plan are functions of the sample's number."""

    def __init__(self, file, samples, benchmark, prompt):
        self.db = empty_database(file)
        self.db.execute("PRAGMA synchronous = OFF")
        self.benchmark, self.count = benchmark, 0
        self.insert("models", [{"id": name("model"), "name": f"toy {HOSTILE}", "path_hint": "", "layers": LAYERS,
                                "query_heads": HEADS, "kv_heads": HEADS, "parameters": 1}])
        self.insert("tokenizers", [{"id": name("tokenizer"), "name": "toy"}])
        self.insert("data_sets", [{"id": name("data"), "benchmark": benchmark["name"]}])
        cells = [{"length": length, "depth": depth} for length in LENGTHS for depth in DEPTHS]
        self.samples = [name("sample", i) for i in range(samples)]
        self.insert("samples", [
            {"id": sample, "benchmark": benchmark["name"], "prompt_text": f"{i} {prompt}", "prompt_tokens": 100,
             "answers_json": text([HOSTILE]), "metadata_json": text({"cell": cells[i % len(cells)]})}
            for i, sample in enumerate(self.samples)])
        self.insert("data_samples", [{"data_id": name("data"), "position": i, "sample_id": sample, "cluster": ""}
                                     for i, sample in enumerate(self.samples)])

    def insert(self, table, rows):
        self.db.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(rows[0])}) "
                            f"VALUES ({', '.join('?' * len(rows[0]))})", [list(row.values()) for row in rows])

    def run(self, label, kept, nll, right, *, answer="5", scores=None, training=None):
        """kept: (layer, head) pairs, or 'full' or 'none'."""
        self.count += 1
        run, plan = name("run", self.count), name("plan", kept)
        full, window = {"kind": "full"}, {"kind": "sliding_window", "sinks": 4, "window": 128}
        heads = kept not in ("full", "none")
        cells = ([[int((layer, head) not in kept) for head in range(HEADS)] for layer in range(LAYERS)]
                 if heads else [[0]] * LAYERS)
        palette = [full, window] if heads else [full if kept == "full" else window]
        self.insert("plans", [{"id": plan, "plan_json": text({
            "cells": cells, "format": 1, "granularity": "query_head" if heads else "layer", "palette": palette,
            "layout": {"kv_heads": HEADS, "layers": LAYERS, "query_heads": HEADS}})}])
        experiment, selection = name("experiment", plan), name("selection", run)
        self.insert("experiments", [{
            "id": experiment, "model_id": name("model"), "tokenizer_id": name("tokenizer"), "plan_id": plan,
            "generation_json": "{}", "data_id": name("data"), "numerics_version": 2}])
        mask = [[int(not heads and kept == "full" or (layer, head) in kept) for head in range(HEADS)]
                if heads else [int(kept == "full")] for layer in range(LAYERS)]
        self.insert("selections", [{
            "id": selection, "strategy": label, "config_json": "{}", "model_id": name("model"), "plan_id": plan,
            "mask_json": text(mask), "scores_json": text(scores and scores[0]),
            "standard_errors_json": text(scores and scores[1]), "forward_tokens": 1.0, "backward_tokens": 0.0,
            "layer_tokens": 0.0, "flops": 1e9, "evaluations": 1, "seconds": 1.0, "peak_bytes": 0,
            "supervision": "answers", "training_json": text(training), "calibration_id": name("calibration"), "seed": 0,
            "diagnostics_json": "{}", "score_tensor_id": None}])
        config = {"benchmark": self.benchmark, "model": {"name": "toy", "path": ""}, "strategy": {"name": label}}
        self.insert("runs", [{
            "id": run, "config_hash": "", "config_json": text(config), "started": f"2026-01-01T00:00:{self.count:02}Z",
            "finished": "", "status": "done", "error": "", "strategy": label, "label": label, "group_name": label,
            "budget_units": 3 if heads else None, "budget_fraction": None, "granularity": "query_head",
            "decode_rule": "same", "window": 128, "sinks": 4, "selection_id": selection, "experiment_id": experiment,
            "benchmark": self.benchmark["name"], "benchmark_config_json": text(self.benchmark), "seeds_json": "{}",
            "calibration_nll": None}])
        execution = name("execution", run)
        self.insert("executions", [{"id": execution, "run_id": run, "build": "1", "device": "cpu", "threads": 1,
                                    "dtype": "float32", "cpu": HOSTILE}])
        kv = {"full": 6000, "none": 1000}.get(kept, 2000)
        self.insert("responses", [{
            "experiment_id": experiment, "sample_id": sample, "execution_id": execution, "text": answer,
            "tokens_json": "[1]", "answer_nll_json": text([nll(i)]), "argmax_json": "[1]",
            "metrics_json": text({"gen_contains": float(right(i)), "tf_exact": 0.0}), "timings_json": "{}",
            "prefill_flops": float(kv * 10), "decode_flops": float(kv), "kv_bytes": kv}
            for i, sample in enumerate(self.samples)])

    def close(self):
        self.db.commit()
        self.db.close()


def report(database, page, *arguments):
    with open(page, "wb") as out:
        subprocess.run([STRATA, "report", *arguments, "--format", "html", f"db={database}"], check=True, stdout=out)


def fill(file):
    rows = Database(file, 45, {"name": "niah_grid", "samples": 45, "task": HOSTILE}, HOSTILE * 30)
    scores = [[[0.1 * layer + 0.01 * head for head in range(HEADS)] for layer in range(LAYERS)],
              [[0.02] * HEADS for _ in range(LAYERS)]]
    curve = [{"step": 10 * i, "loss": 3 / (i + 1), "gates": [0.5]} for i in range(20)]
    rows.run("full", "full", lambda i: 0.1 + i / 1000, lambda i: True)
    rows.run("none", "none", lambda i: 2.1 + i / 1000, lambda i: False)
    rows.run("good", ((1, 0), (2, 1), (5, 2)), lambda i: 0.5 + i / 1000, lambda i: i % 3 > 0, scores=scores,
             training=curve)
    rows.run(f"bad {HOSTILE}", ((0, 0), (0, 1), (0, 2)), lambda i: 1.5 + i / 500, lambda i: i % 2 > 0, answer=HOSTILE)
    rows.close()


def fill_many(file):
    rows = Database(file, MANY, {"name": "niah", "samples": MANY}, "hay " * 100)
    rows.run("full", "full", lambda i: 0.1, lambda i: True, answer="right " * 50)
    rows.run("good", ((1, 0), (2, 1), (5, 2)), lambda i: 0.5, lambda i: i % 3 > 0, answer="wrong " * 100)
    rows.close()


@unittest.skipUnless(browser.program() or os.environ.get("CI"), "no Chromium: apt-get install chromium")
class HtmlReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        fill(cls.place / "small.db")
        cls.html = cls.place / "small.html"
        report(cls.place / "small.db", cls.html, "leaderboard")
        cls.browser = cls.enterClassContext(browser.Browser())

    def open(self, **how):
        page = self.browser.open(self.html, **how)
        page.wait("[...document.querySelectorAll('figure[data-chart]')].every(f => ['drawn', 'failed'].includes("
                  "f.dataset.state))")
        return page

    def expect_quiet(self, page):
        self.assertEqual(page.complaints(), [])
        self.assertEqual(page.requests(), [])

    def test_every_chart_is_drawn_with_marks_and_nothing_is_asked_for(self):
        page = self.open()
        charts = page.run("JSON.parse(document.getElementById('charts').textContent).map(c => c.type)")
        self.assertEqual(sorted(charts), ["heat"] * 8 + ["pareto", "scores", "training"])
        marks = page.run("[...document.querySelectorAll('figure[data-chart]')].map(f => [f.dataset.state, f.querySelectorAll("
                         "'svg .mark-symbol path, svg .mark-rect path, svg .mark-line path').length])")
        self.assertEqual([state for state, _ in marks], ["drawn"] * len(charts))
        points = {"pareto": 4, "heat": 9, "scores": LAYERS * HEADS, "training": 1}
        for kind, (_, count) in zip(charts, marks):
            self.assertGreaterEqual(count, points[kind], kind)
        self.expect_quiet(page)

    def test_hostile_text_is_shown_and_never_runs(self):
        page = self.open()
        self.assertEqual(page.run("typeof hacked"), "undefined")
        self.assertEqual(page.run("document.querySelectorAll('img, iframe, object, form:not(.vega-bindings)').length"), 0)
        self.assertEqual(page.run("document.scripts.length"), 4)
        self.assertIn(HOSTILE, page.run("document.querySelector('.answers').textContent"))
        self.assertIn(HOSTILE, page.run("[...document.querySelectorAll('tbody th')].map(h => h.textContent).join()"))
        self.expect_quiet(page)

    def test_an_injected_script_would_be_refused(self):
        injected = self.place / "injected.html"
        injected.write_text(self.html.read_text().replace("<main", "<script>hacked=1</script><main", 1))
        page = self.browser.open(injected)
        self.assertEqual(page.run("typeof hacked"), "undefined")
        self.assertIn("Content Security Policy", " ".join(page.complaints()))

    def test_a_header_sorts_by_keyboard_within_the_groups(self):
        page = self.open()
        column = ("(() => { const t = document.querySelector('table'), h = [...t.querySelectorAll('thead th')];"
                  "const i = h.findIndex(x => x.textContent === 'NLL');"
                  "return [h[i].ariaSort, [...t.tBodies].map(b => [...b.rows].map(r => r.cells[i].textContent))]; })()")
        self.assertEqual(page.run(column)[0], "none")
        page.run("[...document.querySelectorAll('thead button')].find(b => b.textContent === 'NLL').focus()")
        for expected in ("ascending", "descending"):
            for kind in ("keyDown", "keyUp"):
                page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13,
                          text="\r")
            direction, groups = page.run(column)
            self.assertEqual(direction, expected)
            self.assertEqual([len(group) for group in groups], [2, 2])  # ranked; full and none
            for group in groups:
                values = [float(cell.split()[0]) for cell in group]  # an interval follows
                self.assertEqual(values, sorted(values, reverse=expected == "descending"))
            self.assertIn(expected, page.run("document.getElementById('status').textContent"))

    def test_masks_say_in_words_what_they_show(self):
        page = self.open()
        words = page.run("[...document.querySelectorAll('table .mask')].map(m => m.getAttribute('aria-label'))")
        self.assertIn("full attention in 3 of 18 KV heads, of layers: 1–2, 5", words)
        self.assertIn("full attention in all 6 layers", words)

    def test_the_choices_of_a_chart_and_of_the_samples_work(self):
        page = self.open()
        choose = ("(() => {{ const s = document.querySelector('{0}'); s.value = '{1}';"
                  "s.dispatchEvent(new Event('change', {{bubbles: true}})); }})()")
        page.run(choose.format("select[name=y]", "accuracy"))
        page.wait("document.querySelector('figure svg').textContent.includes('contain the truth')")
        # Of 45: 'good' fails every third, 'bad' every second; full is never wrong, none always.
        shown = "[...document.querySelectorAll('.sample')].filter(s => !s.hidden).length"
        self.assertEqual(page.run(shown), 45)
        plans = page.run("[...document.querySelector('.samples select').options].map(o => o.textContent)")
        page.run(choose.format(".samples label:nth-of-type(1) select", plans.index("full") - 1))
        good = next(i for i, plan in enumerate(plans) if plan.startswith("good")) - 1
        page.run(choose.format(".samples label:nth-of-type(2) select", good))
        self.assertEqual(page.run(shown), 15)
        self.expect_quiet(page)

    def test_it_is_marked_up_for_those_who_do_not_see_it(self):
        page = self.open()
        for what, selector in {"header cells without scope": "th:not([scope])",
                               "tables without a caption": "table:not(:has(> caption))",
                               "charts without words": "figure[data-chart] .plot:not([aria-label])",
                               "choices without a label": "select:not(label select)",
                               "headers without a button": "thead th:not(:has(button))",
                               "pictures without words": "svg.mask:not([aria-label])"}.items():
            self.assertEqual(page.run(f"document.querySelectorAll('{selector}').length"), 0, what)
        self.assertEqual(page.run("document.documentElement.lang"), "en")

    def test_it_fits_a_phone_dark_and_light(self):
        papers = set()
        for dark in (False, True):
            page = self.open(width=390, height=800, dark=dark)
            self.assertEqual(page.run("document.documentElement.scrollWidth"), 390)
            papers.add(page.run("getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(papers), 2)

    def test_other_reports_are_pages_too(self):
        plain = self.place / "grid.html"
        report(self.place / "small.db", plain, "grid")
        page = self.browser.open(plain)
        self.assertEqual(page.run("document.querySelectorAll('table').length"), 8)
        self.assertEqual(page.run("typeof hacked"), "undefined")
        self.expect_quiet(page)

    def test_a_hundred_thousand_samples_stay_small_and_fast(self):
        fill_many(self.place / "many.db")
        html = self.place / "many.html"
        report(self.place / "many.db", html, "leaderboard")
        self.assertLess(html.stat().st_size, MAX_BYTES)
        seconds = []
        for _ in range(3):
            page = self.browser.open(html)
            seconds.append(page.seconds)
            self.assertEqual(page.run("document.querySelectorAll('.sample').length"), 200)
        print(f"{MANY} samples: {html.stat().st_size} bytes, opened in {min(seconds):.2f} s (of {seconds})", file=sys.stderr)
        self.assertLess(min(seconds), MAX_SECONDS)  # the best of three: other tests share the cores


if __name__ == "__main__":
    unittest.main()
