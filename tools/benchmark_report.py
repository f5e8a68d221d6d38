#!/usr/bin/env python3
"""Tables of what tools/benchmark_sweep left: RULER by length and task, LongMemEval by type of question.

    tools/benchmark_report.py DB [OUTPUT_DIR]      # docs/data by default; STRATA names the program (build/strata)

Writes benchmarks.md, benchmarks.csv (strata's own leaderboard: every row names its runs), and benchmarks.sql.gz, the
database without prompts (tools/restore_dump.py).
"""

import sys

from sweep_dump import write_dump
from sweep_rows import database_and_folder, strata, strata_tables, warnings_of, with_intervals, write_csv
from sweep_text import NO_VALUE, markdown, with_interval

MEMORY = "longmemeval"
NOT_LENGTHS = ("table", "model", "strategy", "setting", "task", "tasks", "samples", "effective")


def plan_of(row, key="strategy"):
    """Without what it was calibrated on: all plans are selected on the same needles."""
    return row[key].partition(" ← ")[0].partition(" <- ")[0]


def ruler_parts(tables, warnings):
    if not tables or not tables[0]:
        return ["Not run."]
    averages, tasks = tables[0], tables[1]
    lengths = [column for column in averages[0] if column not in NOT_LENGTHS]
    parts = [markdown(["plan", "tasks", *lengths, "effective length"],
                      [[plan_of(row), row["tasks"], *(row[n] for n in lengths), row["effective"]] for row in averages])]
    parts += [f"*{warning[0].upper()}{warning[1:]}.*" for warning in warnings]
    plans = [plan_of(row) for row in averages]
    for length in lengths:
        by_task = {}
        for row in tasks:
            by_task.setdefault(row["task"], {})[plan_of(row)] = row[length]
        parts += [f"### {length} tokens", markdown(["task", *plans], [
            [task, *(cells.get(plan, NO_VALUE) for plan in plans)] for task, cells in by_task.items()])]
    return parts


def memory_parts(questions, board):
    if not questions:
        return ["Not run."]
    labels = list(dict.fromkeys(row["label"] for row in questions))
    cells = {(row["label"], row["rubrics"] or row["questions"]): row for row in questions}
    kinds = list(dict.fromkeys(row["questions"] for row in questions))
    by_plan = {plan_of(row): row for row in board if row["benchmark"] == MEMORY}
    table = []
    for label in labels:
        row = by_plan.get(plan_of({"label": label}, "label"), {})
        nll = with_interval(row, "answer_nll", 3) if row else NO_VALUE
        more = with_interval(row, "nll_minus_full", 3) if row and row["nll_minus_full"] else NO_VALUE
        table.append([plan_of({"label": label}, "label"), nll, more,
                      *(cells[label, kind]["checker %"] or NO_VALUE for kind in kinds)])
    first = [row for row in questions if row["label"] == labels[0]]
    counts = ", ".join(f"{row['questions']} {row['n']}" for row in first)
    return [f"Questions: {counts}.", markdown(["plan", "answer NLL", "ΔNLL to full", *kinds], table)]


def page(lengths, warnings, questions, board):
    facts = {(row["devices"], row["model"]) for row in board}
    samples = ", ".join(sorted({row["samples"] for row in board if row["benchmark"] == "ruler"}, key=int))
    return "\n\n".join([
        "# RULER and LongMemEval",
        "*Generated; every number is computed from the rows of one database.*",
        "; ".join(f"{model} on {device}" for device, model in sorted(facts)) + ". A quarter of the layers keeps full attention, "
        "the others windows of 128 tokens and 4 sinks, for prefill and decoding (`none`: all of them). `nll_ablate` and "
        "`gate_path` chose them on 16 needles at 1,024 tokens, not on what is asked here; `periodic[3]` is the last of every "
        "four. 95 % intervals.",
        "## RULER",
        f"string_match_all in percent, {samples} samples a task and length; the average is over tasks, the effective length the "
        "longest at which it is at least 85.6 %. `qa_1` and `qa_2`, which need data, are not asked.",
        *ruler_parts(lengths, warnings),
        "## LongMemEval",
        "Questions of the oracle file whose history, with 500 tokens to answer, fits 8,192 positions: direct answers, published "
        "prompt (json). In percent the verdict of strata's checker, which is not official accuracy; overall and task-averaged "
        "as there. NLL is nats a token of the accepted answer.",
        *memory_parts(questions, board),
        "```\ntools/benchmark_sweep benchmarks.db         # a GPU; repeat it to carry on\n"
        "tools/benchmark_report.py benchmarks.db     # this page, benchmarks.csv and the database, benchmarks.sql.gz\n```"]) + "\n"


def main():
    database, out = database_and_folder(__doc__)
    board = strata("report", "leaderboard", f"db={database}")
    if not board:
        sys.exit(f"error: {database}: no finished run of tools/benchmark_sweep")
    asked = {row["benchmark"] for row in board}
    lengths = strata_tables("report", "lengths", f"db={database}") if "ruler" in asked else []
    lengths = [with_intervals(table) for table in lengths]
    warnings = warnings_of("report", "lengths", f"db={database}") if lengths else []
    questions = with_intervals(strata("report", "longmemeval", f"db={database}")) if MEMORY in asked else []
    write_csv(out / "benchmarks.csv", board)
    write_dump(database, out / "benchmarks.sql.gz")
    (out / "benchmarks.md").write_text(page(lengths, warnings, questions, board))
    print(f"{out}: benchmarks.md, benchmarks.csv, benchmarks.sql.gz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
