"""The runs of a sweep over selectors, as selector_report.py needs them: the database's rows beside strata's own tables.

Statistics are strata's: nothing here computes an interval. Numbers of a run that need none (what a selection kept, its
cost, its signs of a bug) are read from the database.
"""

import csv
import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweep_text import number

CONTROLS = ("periodic-best", "ends", "inverted")
ROOT = Path(__file__).resolve().parent.parent
# What makes a table of the leaderboard, among the columns of its csv.
BLOCK = ("model", "data_id", "split", "window", "sinks", "linear", "decode_rule", "granularity", "budget_units")
NOT_THE_TASK = {"seed", "split"}


def printed(*arguments):
    program = os.environ.get("STRATA", str(ROOT / "build" / "strata"))
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: {program} {' '.join(arguments)}\n{done.stderr.strip()}")
    return done.stdout


def strata_tables(*arguments):
    """What the program prints as csv, each table as a list of dicts."""
    return [list(csv.DictReader(io.StringIO(table))) for table in printed(*arguments, "--format", "csv").split("\n\n")]


def warnings_of(*arguments):
    """What a report warns of, which is no part of its csv."""
    return [line.removeprefix("! ") for line in printed(*arguments).splitlines() if line.startswith("! ")]


def with_intervals(table):
    """Of a report other than the leaderboard: NAME, NAME_low and NAME_high in one cell again, rounded for people."""
    bounded = [name for name in table[0] if f"{name}_low" in table[0]] if table else []

    def rounded(name, row):
        if row.get(f"{name}_low"):
            return f"{number(row[name])} [{number(row[name + '_low'])}, {number(row[name + '_high'])}]"
        try:
            return number(row[name]) if name in bounded or "." in row[name] else row[name]
        except ValueError:
            return row[name]  # a text

    return [{name: rounded(name, row) for name in row if name.rpartition("_")[0] not in bounded} for row in table]


def strata(*arguments):
    """The first table."""
    return strata_tables(*arguments)[0]


def database_and_folder(words):
    """Of a report's command line: DB [OUTPUT_DIR], which is made, docs/data where none is named."""
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        print(words.strip())
        sys.exit(0 if sys.argv[1:2] in (["--help"], ["-h"]) else 2)
    folder = Path(sys.argv[2] if len(sys.argv) == 3 else ROOT / "docs" / "data")
    folder.mkdir(parents=True, exist_ok=True)
    return sys.argv[1], folder


def rows_of_runs(rows, experiments):
    """run → its row of the leaderboard; experiments: run → experiment."""
    by_run = {run: row for row in rows for run in row["run_ids"].split() if row["draws"] == "1"}
    # The table shows one of several runs that gave the same answers.
    by_experiment = {experiments[run]: row for run, row in by_run.items()}
    found = {run: by_run.get(run) or by_experiment.get(experiment) for run, experiment in experiments.items()}
    return {run: row for run, row in found.items() if row}


def write_csv(file, rows):
    """The program's rows, without other selections' signs of a bug (a table's marks repeat them in every row)."""
    if not rows:
        file.unlink(missing_ok=True)
        return
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if "marks" in row:
                own = f"sign of a bug: {row['strategy']}: "
                kept = [m for m in marks_of([row]) if not m.startswith("sign of a bug: ") or m.startswith(own)]
                row = row | {"marks": "; ".join(kept)}
            writer.writerow(row)


def task_of(benchmark):
    """A benchmark's keys, as something that can be compared and be a key of a dict."""
    return tuple(sorted((k, v) for k, v in benchmark.items() if k not in NOT_THE_TASK and v is not None))


def same_task(task, other):
    """Whether no key that both name differs: a calibration's benchmark names only some keys."""
    other = dict(other)
    return all(other.get(key, value) == value for key, value in task)


@dataclass(frozen=True)
class Setting:
    """What was asked of a selector: results of equal settings may be compared."""

    task: tuple
    split: str
    window: int
    sinks: int
    linear: str  # "lightning"; "" where windows replace full attention
    rule: str
    granularity: str
    budget: float | None  # share of the units, or how many of them; None for full and none
    model: str

    def key(self, name):
        return dict(self.task).get(name)

    def mixer(self):
        return f"{self.linear} linear attention" if self.linear else f"window {self.window}"


@dataclass
class Selection:
    kept: frozenset
    scores: list | None  # of units, layer by layer; None of units that were no candidates
    flops: float
    tokens: float  # forward and backward
    seconds: float
    supervision: str
    diagnostics: dict

    def signs(self):
        return self.diagnostics.get("signs_of_a_bug", [])


@dataclass
class Run:
    id: str
    label: str
    group: str
    status: str
    error: str
    setting: Setting
    prompts: int  # calibration.samples
    seed: int | None  # calibration.seed as it was written; None: derived from `seed`
    source: tuple | None  # the calibration's task, where that is not the evaluated one
    steps: int | None  # of training
    experiment: str
    selection: Selection | None
    row: dict | None = None  # of the leaderboard, with the statistics of its answers

    def value(self, column):
        text = (self.row or {}).get(column)
        return float(text) if text else None


def flat(json_text):
    rows = json.loads(json_text)
    return None if rows is None else list(itertools.chain(*rows))


def selection_of(row):
    if row["mask_json"] is None:
        return None
    kept = frozenset(i for i, on in enumerate(flat(row["mask_json"])) if on)
    return Selection(kept, flat(row["scores_json"]), row["flops"], row["forward_tokens"] + row["backward_tokens"],
                     row["seconds"], row["supervision"], json.loads(row["diagnostics_json"]) or {})


def run_of(row):
    config = json.loads(row["config_json"])
    benchmark, calibration = config["benchmark"], config["calibration"]
    task = task_of(benchmark)
    source = task_of({**calibration["benchmark"], "samples": None}) if calibration.get("benchmark") else None
    if source is not None and same_task(source, task):
        source = None
    budget = row["budget_units"] if row["budget_fraction"] is None else row["budget_fraction"]
    setting = Setting(task, benchmark.get("split") or "test", row["window"], row["sinks"],
                      config.get("mixer", {}).get("linear") or "", row["decode_rule"], row["granularity"], budget,
                      config.get("model", {}).get("name") or "")
    steps = (config["strategy"].get("training") or {}).get("steps")
    return Run(row["id"], row["label"], row["group_name"], row["status"], row["error"], setting,
               calibration["samples"], calibration.get("seed"), source, steps, row["experiment_id"],
               selection_of(row))


RUNS = """SELECT r.*, s.mask_json, s.scores_json, s.flops, s.forward_tokens, s.backward_tokens, s.seconds,
          s.supervision, s.diagnostics_json
          FROM runs r LEFT JOIN selections s ON s.id = r.selection_id ORDER BY r.started"""


@dataclass
class Sweep:
    """centre: the setting that most runs have, under each of the rules; prompts: how many it is calibrated on."""

    runs: list
    rows: list  # of the leaderboard's csv
    claims: list  # of the csv of claims
    centre: Setting = None
    rules: list = field(default_factory=list)
    prompts: int = 0

    def __post_init__(self):
        self._runs_of = {}
        for run in self.runs:
            self._runs_of.setdefault(run.setting, []).append(run)
        found = rows_of_runs(self.rows, {run.id: run.experiment for run in self.runs})
        for run in self.runs:
            if run.status == "done":
                run.row = found.get(run.id)
        counts = Counter((replace(r.setting, rule=""), r.prompts) for r in self.runs
                         if r.setting.budget is not None and r.setting.split == "test" and r.source is None)
        if not counts:
            raise SystemExit("error: the database has no run with a budget")
        (self.centre, self.prompts), _ = counts.most_common(1)[0]
        block_of = {run: self.block_key(row) for row in self.rows for run in row["run_ids"].split()
                    if row["kind"] != "reference"}
        self._blocks = {}
        for row in self.rows:
            self._blocks.setdefault(self.block_key(row), []).append(row)
        self._block_of_setting = {r.setting: block_of[r.id] for r in self.runs if r.id in block_of}
        self.rules = [rule for rule in ("same", "full") if self.block(self.at_centre(rule=rule))]
        if not self.rules:
            raise SystemExit("error: no run of the setting that most runs have is finished")

    @staticmethod
    def block_key(row):
        return tuple(row.get(column, "") for column in BLOCK)

    def at_centre(self, **changes):
        return replace(self.centre, **changes)

    def block(self, setting):
        """The rows of the leaderboard's table of a setting; empty where there is none."""
        return self._blocks.get(self._block_of_setting.get(setting), [])

    def trained_blocks(self):
        """The tables of models that were trained alike, each under its own plan."""
        return [block for key, block in self._blocks.items() if key[0].startswith("trained from")]

    def find(self, setting, **wanted):
        """Finished runs of a setting, oldest first: calibrated on the evaluated task unless `source` says otherwise."""
        wanted = {"source": None, "status": "done", **wanted}
        return [r for r in self._runs_of.get(setting, []) if all(getattr(r, k) == v for k, v in wanted.items())]

    def base(self, setting, **wanted):
        """label → run with the usual number of prompts and the first calibration seed; the latest of several."""
        return {r.label: r for r in self.find(setting, prompts=self.prompts, seed=None, **wanted)}

    def over_seeds(self, setting):
        """label → [run of each calibration seed]; of selectors that look at calibration data."""
        found = {}
        for run in self.find(setting, prompts=self.prompts):
            if run.row and run.selection and run.selection.supervision != "none":
                found.setdefault(run.label, {})[run.seed] = run
        return {label: list(seeds.values()) for label, seeds in found.items()}


def read_sweep(connection, rows, claims):
    cursor = connection.execute(RUNS)
    names = [column[0] for column in cursor.description]
    return Sweep([run_of(dict(zip(names, values))) for values in cursor], rows, claims)


MARK = re.compile(r"(floor|ceiling|too easy|check|sign of a bug|random|periodic-best|no finished run)\b|\d+ clusters")


def marks_of(block):
    """The marks of a leaderboard's table, whose texts may hold the separator themselves."""
    marks = []
    for piece in (block[0]["marks"].split("; ") if block and block[0]["marks"] else []):
        if MARK.match(piece) or not marks:
            marks.append(piece)
        else:
            marks[-1] += "; " + piece
    return marks


def signs_of(block):
    """(selector, sign) of each sign of a bug in a table."""
    signs = [mark.removeprefix("sign of a bug: ") for mark in marks_of(block) if mark.startswith("sign of a bug: ")]
    return [tuple(sign.split(": ", 1)) for sign in signs if ": " in sign]


def control_row(block, beginning):
    return next((row for row in block if row["strategy"].startswith(beginning)), None)


def row_of(sweep, setting, label):
    """The leaderboard's row of a label, of the first calibration seed where there are several."""
    if label in ("full", "none", "random", "periodic", "periodic-best"):
        endings = {"random": "random (", "periodic": "periodic (", "periodic-best": "periodic-best ="}
        return control_row(sweep.block(setting), endings.get(label, label))
    run = sweep.base(setting).get(label)
    return run.row if run else None


def is_control(label):
    return label.split("[")[0] in CONTROLS


def ranked_labels(sweep, settings):
    """Labels of all selectors in these settings: by the gap they close in the first that has them, controls last."""
    places = {}
    for place, setting in enumerate(settings):
        for label, run in sweep.base(setting).items():
            if run.group in ("random", "periodic"):
                continue
            gap = run.value("gap_closed")
            places.setdefault(label, (is_control(label), place, float("inf") if gap is None else -gap))
        for run in sweep.find(setting, status="failed"):
            places.setdefault(run.label, (is_control(run.label), len(settings), 0))
        if row_of(sweep, setting, "periodic-best"):
            places.setdefault("periodic-best", (True, -1, 0))
    return sorted(places, key=places.get)


def toggling_flops(sweep, setting):
    """What ablating every unit costs there (without reuse, with reuse); None where no run says."""
    run = sweep.base(setting).get("nll_ablate")
    if not run or not run.selection:
        return None, None
    return run.selection.diagnostics.get("flops_without_reuse"), run.selection.flops
