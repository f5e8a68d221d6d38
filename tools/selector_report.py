#!/usr/bin/env python3
"""Tables of a database that tools/selector_sweep filled: what the selectors reach, what they cost, how they agree.

    tools/selector_report.py DB [OUTPUT_DIR]      # docs/data by default; STRATA names the program (build/strata)

Writes, into OUTPUT_DIR: selectors.md (the page), selectors_agreement.md (long matrices), selectors.csv and
selectors_claims.csv (strata's own tables, every row names its runs) and selectors.sql.gz (all rows of the database
without the prompts, which the seeds give again).
"""

import sqlite3
import statistics
import sys
from collections import Counter
from dataclasses import replace

from sweep_agreement import Agreement, stability
from sweep_dump import sql_of, without_prompts
from sweep_rows import database_and_folder, is_control, read_sweep, row_of, strata, toggling_flops, write_csv
from sweep_tables import (GAP, GENERATED, Pair, budget_settings, curve, full_table, matrix, other_settings,
                          settings_table, signs_table, trained_tables, transfer)
from sweep_text import NO_VALUE, counted, markdown, number, percent_of, share, signed, task_text, units

DUMP_LIMIT = 20_000_000  # bytes
MARGIN = 0.02  # nat; strata's own for claims


def claims_of(sweep, setting):
    """label → what strata says of a selector against the reference there; empty where it says nothing."""
    block = sweep.block(setting)
    # Where other numbers of prompts were run, strata tells the settings of a label apart by a run's id behind it.
    return {row["selector"].split(" #")[0]: row for row in sweep.claims
            if block and sweep.block_key(row) == sweep.block_key(block[0])
            and row["calibration"].split()[:1] == [str(sweep.prompts)]}


class Goal:
    """Selectors over calibration seeds at the centre under one rule: strata's claims against a reference, and costs."""

    def __init__(self, sweep, rule):
        setting = sweep.at_centre(rule=rule)
        self.rule = rule
        self.runs = {k: v for k, v in sweep.over_seeds(setting).items() if len(v) > 1 and not is_control(k)}
        self.ends = {end: row_of(sweep, setting, end) for end in ("full", "none", "random")}
        self.whole, self.reused = toggling_flops(sweep, setting)
        self.claims = claims_of(sweep, setting)
        self.flops = {k: statistics.fmean(r.selection.flops for r in v) for k, v in self.runs.items()}
        self.nll = {k: statistics.fmean(r.value("answer_nll") for r in v) for k, v in self.runs.items()}
        first = next(iter(self.claims.values()), {})
        self.reference = first.get("reference", "").split(" #")[0]
        self.chosen, self.family = first.get("reference_chosen", ""), first.get("family", "0")

    def frontier(self):
        """Selectors without a cheaper one of a lower or equal NLL."""
        return {k for k in self.runs if not any(
            self.flops[o] <= self.flops[k] and self.nll[o] <= self.nll[k] and
            (self.flops[o], self.nll[o]) != (self.flops[k], self.nll[k]) for o in self.runs)}

    def table(self):
        """Cheapest first."""
        frontier, table = self.frontier(), []
        for label in sorted(self.runs, key=lambda k: (self.flops[k], k)):
            claim = self.claims.get(label, {})
            judged = [signed(claim.get("nll_difference")), number(claim.get("between_seed_sd"), 3),
                      signed(claim.get("upper")), claim.get("non_inferior", NO_VALUE)]
            if label == self.reference:
                judged = ["reference"] + 3 * [NO_VALUE]
            table.append([f"**{label}**" if label in frontier else label, str(len(self.runs[label])),
                          number(self.flops[label], 1, 1e-12), percent_of(self.flops[label], self.whole),
                          percent_of(self.flops[label], self.reused), number(self.nll[label], 3), *judged])
        return markdown(["selector", "seeds", "selection TFLOP", "% without reuse", "% with reuse", "NLL",
                         "Δ to reference, nat", "SD over seeds", "95 % upper bound", f"within {MARGIN} nat"], table)

    def scale(self):
        """What an NLL may be here."""
        return "NLL of " + ", ".join(f"{'the median random set' if end == 'random' else end}: "
                                     f"{number(row['answer_nll'], 3)}" for end, row in self.ends.items() if row) + "."

    def answer(self):
        """One sentence: what is shown to be as good as the reference, cheapest first."""
        if not self.claims:
            return f"Rule `{self.rule}`: no claim; it takes five calibration seeds of a reference and another selector."
        shown = [k for k in self.runs if self.claims.get(k, {}).get("non_inferior") == "yes"]
        text = f"Rule `{self.rule}`: the reference is `{self.reference}`, {self.chosen}. "
        if self.family == "0":
            return text + "No claim is supported: it takes five seeds and 20 clusters."
        if not shown:
            return text + f"None of {self.family} selectors is shown to be within {MARGIN} nat of it."
        first, *others = sorted(shown, key=self.flops.get)
        text += (f"Shown to be within {MARGIN} nat of it: {len(shown)} of {self.family}; the cheapest is `{first}`, at "
                 f"{percent_of(self.flops[first], self.whole)} % of the FLOPs of ablating every unit without reuse, "
                 f"{percent_of(self.flops[first], self.reused)} % of those with.")
        return text + (f" The others: {', '.join(f'`{label}`' for label in others)}." if others else "")


def facts(sweep, connection):
    """What is compared, in a list."""
    centre = sweep.centre
    first = sweep.block(sweep.at_centre(rule=sweep.rules[0]))[0]
    name, layers, heads, parameters = connection.execute(
        "SELECT name, layers, kv_heads, parameters FROM models WHERE id = ?", (first["model_id"],)).fetchone()
    builds = [row[0] for row in connection.execute("SELECT DISTINCT build FROM executions ORDER BY build")]
    statuses = Counter(r.status for r in sweep.runs)
    seeds = Counter(len(runs) for runs in sweep.over_seeds(sweep.at_centre(rule=sweep.rules[0])).values())
    unfinished = ", ".join(f"{count} {status}" for status, count in statuses.items() if status != "done")
    devices = dict.fromkeys(d for row in sweep.rows for d in row["devices"].split("; "))
    return [
        f"**Model**: {name} ({first['model_id'][:8]}), {parameters / 1e6:.0f} M parameters, {layers} layers of {heads} "
        "KV heads. One small model: rankings on it are no claims about others.",
        f"**Centre**: {task_text(centre.task)}, {centre.mixer()}, {centre.sinks} sinks, "
        f"{share(centre.budget)} of the {units(centre.granularity)} ({first['budget_units']} of {first['units']}); "
        f"{first['samples']} test samples in {first['clusters']} clusters, {sweep.prompts} calibration prompts, "
        + ", ".join(f"{counted(count, 'selector')} with {counted(n, 'calibration seed')}"
                    for n, count in sorted(seeds.items(), reverse=True)) + ". Everything else varies from here.",
        "**Rules**: under `same` answer tokens see through the windows as the prompt does, under `full` they see "
        "everything in every layer.",
        f"**Runs**: {statuses['done']} finished" + (f", {unfinished}" if unfinished else "") +
        f"; on {'; '.join(devices)}; strata {', '.join(builds)}.",
        "**NLL** is nats a token of the teacher-forced answer; *gap closed* is (NLL_none − NLL) / (NLL_none − "
        "NLL_full). Selectors see calibration prompts alone, which share no text, key or value with the test. What "
        "each selector does: [selectors](../selectors.md).",
        "**Intervals** are 95 %: bootstrap over clusters (gap), Wilson (generated), t (NLL). A mask's interval speaks "
        "for that mask; a claim about a selector needs five calibration seeds. Fewer than 20 clusters: no claim.",
        "**Cost** is what ran, counted: FLOPs are exact, activation reuse included. Seconds are no clean timings: "
        "other processes may have used the device meanwhile. *% without reuse* and *% with reuse* are of `nll_ablate` "
        "over every unit on the same prompts.",
        *learned(sweep),
    ]


def learned(sweep):
    """How long the learned selectors were trained, where there are any."""
    steps = {r.steps for r in sweep.runs if r.steps and r.status == "done"}
    if not steps:
        return []
    return [f"**Learned selectors** were trained for {' or '.join(map(str, sorted(steps)))} steps (column *given*), "
            "their papers say 2,000 to 3,200: their rows say nothing against the papers."]


GOAL = (f"*Within {MARGIN} nat*: a one-sided t test over per-seed means of the paired difference in NLL to the "
        "reference says so at 5 %, Holm-adjusted over the selectors of a table; the upper bound is that of one test. "
        "FLOPs are the selection's, a mean over seeds, in % of `nll_ablate` over every unit of the same prompts, without "
        "and with activation reuse. Cheapest first; **bold**: no cheaper selector has as low an NLL.")

REGENERATE = """```
tools/selector_sweep selectors.db          # hours on a GPU; repeat it to carry on
tools/selector_report.py selectors.db      # this page, selectors_agreement.md, the csv files, selectors.sql.gz
```

`selectors.csv` has every row with its intervals and run ids, `selectors_claims.csv` every claim over seeds. Without a
GPU: `gunzip -c docs/data/selectors.sql.gz | sqlite3 selectors.db`, then the second command."""


def page(sweep, connection, dump_note):
    order, heads = budget_settings(sweep)
    legend = ("Columns: what is selected (L layers, KV heads), rule, share kept. First calibration seed; intervals in "
              f"`selectors.csv`. {NO_VALUE} not run (what a sweep refused is in its log); ! a sign of a bug fired (see "
              "below); periodic: all offsets, periodic-best the one with the lowest calibration NLL; ranges of random "
              "are 5–95 % from 20 draws on.")
    parts = ["# Selectors under one protocol",
             "*Generated; every number is computed from the rows of one database.*"]
    goals = [Goal(sweep, rule) for rule in sweep.rules]
    parts += ["\n".join(f"- {goal.answer()}" for goal in goals), "## Cost against quality, over calibration seeds", GOAL]
    for goal in goals:
        parts += [f"### Rule `{goal.rule}`", goal.scale(),
                  goal.table() if goal.runs else "No selector has two calibration seeds."]
    parts += ["## What is compared", "\n".join(f"- {fact}" for fact in facts(sweep, connection)),
              REGENERATE + (f" {dump_note}" if dump_note else "")]
    parts += ["## Gap closed, %", legend, matrix(sweep, order, heads, GAP),
              "## Generated answers right, %", matrix(sweep, order, heads, GENERATED)]
    parts += ["## Other windows, tasks and lengths: gap closed % / generated right %",
              f"At {share(sweep.centre.budget)} of the {units(sweep.centre.granularity)}; what each column changes of "
              "the centre."]
    for rule in sweep.rules:
        settings, names = other_settings(sweep, rule)
        parts += [f"### Rule `{rule}`", matrix(sweep, settings, names, Pair(GAP, GENERATED))]
    parts += ["## The centre in full",
              "*Harm to running text*: NLL of local text minus full attention's, of the same selector's set (chosen on "
              "the centre's calibration prompts, not on text)."]
    for rule in sweep.rules:
        parts += [f"### Rule `{rule}`", full_table(sweep, rule)]
    parts += ["## Cost and quality: NLL (TFLOP) by calibration prompts"]
    for rule in sweep.rules:
        parts += [f"### Rule `{rule}`", curve(sweep, rule)]
    parts += ["## Transfer", *transfer(sweep, connection)]
    if sweep.trained_blocks():
        parts += ["## Trained weights", "All weights, of each plan a model of its own; the gap is that of these models. One "
                  "training seed: the order of such rows is no claim.", *trained_tables(sweep)]
    parts += ["## Stability and agreement",
              "Sets that one selector chose with different calibration seeds, at the centre."]
    for rule in sweep.rules:
        parts += [f"### Rule `{rule}`", stability(sweep, rule)]
    parts += ["### Between selectors", "Each pair: [selectors_agreement.md](selectors_agreement.md)."]
    for rule in sweep.rules:
        block = sweep.block(sweep.at_centre(rule=rule))
        parts.append(Agreement(sweep, rule).summary(block[0]))
    parts += ["## Signs of a bug", "What each check means: [diagnostics](../diagnostics.md). All settings together.",
              signs_table(sweep)]
    parts += ["## What was run", "References: NLL / generated right %.", settings_table(sweep)]
    return "\n\n".join(parts) + "\n"


def agreement_page(sweep):
    parts = ["# Agreement between selectors", "Jaccard of the sets / Spearman of the scores, at the centre of "
             "[selectors.md](selectors.md), first calibration seed, best selector first. Selectors that only order "
             f"sets have no scores ({NO_VALUE})."]
    for rule in sweep.rules:
        agreement = Agreement(sweep, rule)
        parts += [f"## Rule `{rule}`", agreement.summary(sweep.block(agreement.setting)[0]), agreement.matrix()]
    return "\n\n".join(parts) + "\n"


DROP_TENSORS = ("DELETE FROM score_tensors WHERE id NOT IN "
                "(SELECT score_tensor_id FROM selections WHERE score_tensor_id > '')")
# What a dump leaves out where it is too long, one after the other: what the page says of it, and how.
LEFT_OUT = (
    ("", ()),
    ("the score tensors of selections outside the centre", (
        "UPDATE selections SET score_tensor_id = NULL WHERE id NOT IN "
        "(SELECT selection_id FROM runs JOIN temp.centre USING (id) WHERE selection_id IS NOT NULL)", DROP_TENSORS)),
    ("all score tensors", ("UPDATE selections SET score_tensor_id = NULL", DROP_TENSORS)),
    ("all score tensors, generated tokens and times of samples", (
        "UPDATE responses SET tokens_json = '[]', argmax_json = '[]', timings_json = '{}'",)),
)


def dump(connection, sweep, limit=DUMP_LIMIT):
    """The database as gzipped SQL, and what was left out of it so that it is at most `limit` bytes."""
    centre = [r.id for r in sweep.runs if replace(r.setting, rule=sweep.centre.rule) == sweep.centre]
    copy = without_prompts(connection)
    copy.execute("CREATE TEMP TABLE centre (id)")
    copy.executemany("INSERT INTO centre VALUES (?)", [(run,) for run in centre])
    whole = None
    for what, statements in LEFT_OUT:
        for statement in statements:
            copy.execute(statement)
        data = sql_of(copy)
        whole = whole or len(data)
        if len(data) <= limit:
            break
    note = f"The dump leaves out {what}: with them it had {whole / 1e6:.1f} MB." if what else ""
    return data, note


def main():
    database, out = database_and_folder(__doc__)
    rows = strata("report", "leaderboard", f"db={database}")
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    claims = strata("report", "claims", f"db={database}")
    sweep = read_sweep(connection, rows, claims)
    data, note = dump(connection, sweep)
    (out / "selectors.sql.gz").write_bytes(data)
    write_csv(out / "selectors.csv", rows)
    write_csv(out / "selectors_claims.csv", claims)
    (out / "selectors.md").write_text(page(sweep, connection, note))
    (out / "selectors_agreement.md").write_text(agreement_page(sweep))
    print(f"{out}: selectors.md, selectors_agreement.md, selectors.csv, selectors.sql.gz ({len(data) / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
