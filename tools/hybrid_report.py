#!/usr/bin/env python3
"""Tables of what tools/hybrid_sweep left: how the model was converted, and every plan before and after its training.

    tools/hybrid_report.py DB [OUTPUT_DIR]      # docs/data by default; STRATA names the program (build/strata)

Writes hybrids.md, hybrids.csv (strata's own table: every row names its runs), hybrids_losses.csv (the curves of the
trainings), hybrids.json (what else trainings say of themselves, in DB.parts/*/strata.json, and what selections cost), and
hybrids.sql.gz, the database without prompts (tools/restore_dump.py).
"""

import json
import sqlite3
import sys
from pathlib import Path

from sweep_dump import write_dump
from sweep_rows import database_and_folder, rows_of_runs, strata, write_csv
from sweep_text import NO_VALUE, markdown, number, signed, with_interval

STAGES = {"stage1": "alignment", "stage2": "distillation", "stage3": "longer text"}
NIAH, TEXT = "niah", "local_text"
# Whose order the papers claim, at each budget; trained.
PAIRS = [("flashmorph", "uniform"), ("halo", "uniform"), ("hydra", "uniform"), ("kl_ls", "uniform"), ("flashmorph", "halo"),
         ("flashmorph", "kl_ls"), ("hydra", "flashmorph"), ("nll_ablate-windows", "flashmorph"), ("uniform", "random")]
BUDGETS = {"-4": "1/4", "-8": "1/8"}
POINTS = 50  # of a stage's curve, at most


def name_of(config):
    """(job of the sweep, whether its plan was trained) of a run."""
    strategy, model = config["strategy"], config["model"]
    if strategy.get("name") == "native":
        return model["name"], True
    return Path(strategy.get("path", "")).name.removesuffix(".selection.json"), False


def cells(database, rows):
    """(job, trained, benchmark) → row of the leaderboard."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    runs = connection.execute("SELECT id, config_json, benchmark, experiment_id FROM runs WHERE status = 'done'").fetchall()
    row_of = rows_of_runs(rows, {run: experiment for run, _, _, experiment in runs})
    return {(*name_of(json.loads(config)), benchmark): row_of[run]
            for run, config, benchmark, _ in runs if run in row_of}


def loss_of(point):
    """Of a curve, whose points have a number or a list of one a layer."""
    values = point["loss"] if isinstance(point["loss"], list) else [point["loss"]]
    return sum(values) / len(values)


def ends_of(curve):
    return (loss_of(curve[0]), loss_of(curve[-1])) if curve else (None, None)


def loss_rows(records):
    for name, record in records.items():
        for stage, done in record.get("stages", {}).items():
            curve = done["curve"]
            shown = {round(i * (len(curve) - 1) / (POINTS - 1)) for i in range(POINTS)} if len(curve) > POINTS else range(len(curve))
            for i in sorted(shown):
                yield {"model": name, "stage": STAGES[stage], "step": curve[i]["step"], "loss": f"{loss_of(curve[i]):.5g}"}


def without_lists(record):
    """Nor the curves, nor the sessions' hashes: a hundred times the rest."""
    stages = {name: {k: v for k, v in done.items() if k != "curve"} for name, done in record.get("stages", {}).items()}
    text = {k: v for k, v in record.get("text", {}).items() if k != "session_ids"}
    return record | {"stages": stages, "text": text}


def training_rows(records):
    table = []
    for name, record in records.items():
        for stage, words in STAGES.items():
            done = record.get("stages", {}).get(stage)
            if not done:
                continue
            first, last = ends_of(done["curve"])
            table.append([name, words, number(done["tokens"], 2, 1e-6), number(done["repeats"], 1),
                          number(record[stage]["steps"], 0), number(first, 4), number(last, 4),
                          number(done["tokens_per_second"], 0), number(done.get("peak_bytes"), 1, 2**-30),
                          number(done.get("share_of_peak_flops"), 1, 100)])
    return table


def flops(selections, job):
    cost = selections.get(job, {}).get("cost")
    return number(cost["flops"], 1, 1e-12) if cost and cost["flops"] else NO_VALUE


def prefill_share(row, full):
    """The table's, or of the run of full attention that stands in another block (of another mixer)."""
    if row["prefill_flops_share"] or not full:
        return number(row["prefill_flops_share"], 1, 100)
    return number(float(row["prefill_flops"]) / float(full["prefill_flops"]), 1, 100)


def plan_rows(found, jobs, selections, full_text):
    table, unconverted = [], found.get(("full", False, NIAH))
    for job in jobs:
        row = found.get((job, True, NIAH)) or found.get((job, False, NIAH))
        if not row:
            continue
        line = [job, row["layers"]]
        for trained in (False, True):
            niah, text = found.get((job, trained, NIAH)), found.get((job, trained, TEXT))
            line += [with_interval(niah, "answer_nll", 3), with_interval(niah, "gen_contains", 0, 100)] if niah else 2 * [NO_VALUE]
            line.append(signed(float(text["answer_nll"]) - full_text) if text and full_text is not None else NO_VALUE)
        line += [number(row["kv_share"], 1, 100), prefill_share(row, unconverted), flops(selections, job),
                 selections.get(job, {}).get("supervision", NO_VALUE)]
        table.append(line)
    return table


def difference(row):
    low, high = row["B - A_low"], row["B - A_high"]
    return signed(row["B - A"]) + (f" [{signed(low)}, {signed(high)}]" if low else "")


def pair_rows(database, found):
    table = []
    for end, budget in BUDGETS.items():
        for first, second in PAIRS:
            a, b = (found.get((name + end, True, NIAH)) for name in (first, second))
            if not a or not b:
                continue
            # B − A: so that what is first stands first, it is B.
            rows = strata("report", "compare", b["run_ids"].split()[0], a["run_ids"].split()[0], f"db={database}")
            rows = {row["metric"]: row for row in rows}
            right = rows.get("gen_contains")
            table.append([f"{first} − {second}", budget, difference(rows["answer_nll"]),
                          f"{number(right['B'], 0, 100)} − {number(right['A'], 0, 100)}" if right else NO_VALUE,
                          f"{float(right['p']):.2g}" if right and right["p"] else NO_VALUE])
    return table


PLANS = ["plan", "full attention in", "NLL before", "right % before", "text before", "NLL after", "right % after", "text after",
         "KV bytes %", "prefill FLOPs %", "selection TFLOP", "given"]
LEGEND = ("*Before*: branches are aligned, nothing else is trained; *after*: each plan's own model, all trained alike. NLL is "
          "nats a token of the teacher-forced answer (niah), *right* generated answers, *text* the NLL of running text minus "
          "that of the unconverted model. Bytes (of keys and values, without the states) and FLOPs are of full attention's. A "
          "digit says how many heads of a layer keep full attention, # all.")


def page(found, records, selections, jobs, pairs):
    full = found.get(("full", False, TEXT))
    full_text = float(full["answer_nll"]) if full else None
    any_row = next(iter(found.values()))
    parts = ["# Hybrids of full and linear attention", "*Generated; every number is computed from the rows of one database "
             "and from what the trainings recorded.*",
             f"{any_row['samples']} samples, {any_row['clusters']} clusters; on {any_row['devices']}. One model and one training "
             "seed: an order is a claim about neither.",
             "## Plans", LEGEND]
    for head, wanted in (*((f"{share} keeps full attention", end) for end, share in BUDGETS.items()), ("Ends", "")):
        here = [j for j in jobs if (j.endswith(wanted) if wanted else not j.endswith(tuple(BUDGETS)))]
        parts += [f"### {head}", markdown(PLANS, plan_rows(found, here, selections, full_text))]
    if pairs:
        parts += ["## Orders", f"After training, on the same samples. NLL: the first minus the second, paired; right: % of answers; p: "
                  f"McNemar's exact test, not adjusted (of {len(pairs)} pairs, {0.05 / len(pairs):.1g} is 5 % in all). They speak of "
                  "these masks and weights, not of selectors.",
                  markdown(["plans", "budget", "ΔNLL", "right %", "p"], pairs)]
    shortened = all(record.get("shortened") for record in records.values())
    parts += ["## Trainings", "Losses are of the first and last recorded step, before it: squared error, mean over layers "
              "(alignment), KL (distillation), NLL (longer text); rates are of one job beside others on the device."
              + (" All are `shortened`: the papers train on 300 to 1,000 times as much." if shortened else ""),
              markdown(["model", "stage", "M tokens", "repeats", "steps", "loss first", "last", "tokens/s", "peak GiB",
                        "% of peak FLOP/s"], training_rows(records)),
              "```\ntools/hybrid_sweep hybrids.db           # a GPU; repeat it to carry on\n"
              "tools/hybrid_report.py hybrids.db       # this page, hybrids.csv, hybrids.json and the database, hybrids.sql.gz\n```"]
    return "\n\n".join(parts) + "\n"


def main():
    database, out = database_and_folder(__doc__)
    parts = Path(f"{database}.parts")
    rows = strata("report", "leaderboard", f"db={database}")
    found = cells(database, rows)
    if not found:
        sys.exit(f"error: {database}: no finished run of tools/hybrid_sweep")
    records = {path.parent.name.removesuffix(".model"): json.loads(path.read_text())
               for path in sorted(parts.glob("*/strata.json"))}
    records = {name: record.get("transform", record) for name, record in records.items()}
    selections = {path.name.removesuffix(".selection.json"): json.loads(path.read_text())
                  for path in sorted(parts.glob("*.selection.json"))}
    jobs = sorted({job for job, _, _ in found})
    write_csv(out / "hybrids.csv", rows)
    write_csv(out / "hybrids_losses.csv", list(loss_rows(records)))
    write_dump(database, out / "hybrids.sql.gz")
    (out / "hybrids.json").write_text(json.dumps({
        "trainings": {name: without_lists(record) for name, record in records.items()},
        "costs": {job: selection["cost"] for job, selection in selections.items()}}) + "\n")
    (out / "hybrids.md").write_text(page(found, records, selections, jobs, pair_rows(database, found)))
    print(f"{out}: hybrids.md, hybrids.csv, hybrids_losses.csv, hybrids.json, hybrids.sql.gz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
