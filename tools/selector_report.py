#!/usr/bin/env python3
"""Tables of a database that tools/selector_sweep filled: what the selectors reach, what they cost, how they agree.

    tools/selector_report.py DB [OUTPUT_DIR]      # docs/data by default; STRATA names the program (build/strata)

Writes selectors.md (this page is generated), selectors.csv (strata's own leaderboards, every row names its run) and
selectors.sql.gz (all rows of the database but the prompts, which the seeds give again).
"""

import csv
import gzip
import io
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTROLS = ("full", "none", "random", "periodic", "inverted")


def leaderboard(database):
    strata = os.environ.get("STRATA", str(ROOT / "build" / "strata"))
    text = subprocess.run([strata, "report", "leaderboard", f"db={database}", "--format", "csv"],
                          check=True, capture_output=True, text=True).stdout
    return text, list(csv.DictReader(io.StringIO(text)))


def number(text, digits=1, scale=1.0):
    return "–" if text in ("", None) else f"{float(text) * scale:.{digits}f}"


def setting_of(row):
    """What one leaderboard is of."""
    benchmark = row["benchmark"] + ("" if row["split"] == "test" else f" ({row['split']} split)")
    return (benchmark, row["data_id"][:8], int(row["window"]), row["decode_rule"], row["granularity"],
            int(row["budget_units"] or 0), int(row["units"] or 0))


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def toggling_flops(connection, rows):
    """What ablating every unit of a leaderboard's setting costs without reuse; None where no row says."""
    for row in rows:
        if row["strategy"] != "nll_ablate":
            continue
        found = connection.execute(
            "SELECT s.diagnostics_json FROM runs r JOIN selections s ON s.id = r.selection_id WHERE r.id = ?",
            (row["run_ids"].split()[0],)).fetchone()
        return json.loads(found[0]).get("flops_without_reuse")
    return None


def quality(rows, whole):
    """One line a selector of one leaderboard, best first, controls behind."""
    ranked = sorted((r for r in rows if r["kind"] == "ranked"), key=lambda r: -float(r["gap_closed"] or "-inf"))
    others = [r for r in rows if r["kind"] != "ranked" and r["strategy"] not in ("full", "none")]
    ends = [r for r in rows if r["strategy"] in ("full", "none")]
    table = []
    for row in ranked + others + ends:
        gap = number(row["gap_closed"], 1, 100)
        if row["gap_closed_low"]:
            gap += f" [{number(row['gap_closed_low'], 1, 100)}, {number(row['gap_closed_high'], 1, 100)}]"
        generated = number(row["gen_contains"], 1, 100)
        if row["gen_contains_low"]:
            generated += f" [{number(row['gen_contains_low'], 1, 100)}, {number(row['gen_contains_high'], 1, 100)}]"
        table.append([row["strategy"], gap, generated, number(row["tf_exact"], 1, 100), number(row["answer_nll"], 3),
                      number(row["selection_flops"], 1, 1e-12),
                      number(row["selection_flops"], 1, 100 / whole) if whole else "–", number(row["selection_seconds"], 1), row["supervision"]])
    return markdown(["selector", "NLL gap closed %", "generated right %", "teacher-forced exact %", "answer NLL",
                     "selection TFLOP", "% of ablating without reuse", "s", "given"], table)


def selections(connection):
    """(setting, label) -> (kept units, flat scores or None), of the first calibration seed and the test split."""
    found = {}
    seeds = {}
    for row in connection.execute(
            "SELECT r.benchmark, r.window, r.decode_rule, r.granularity, r.budget_units, r.budget_fraction, r.label,"
            " r.seeds_json, s.mask_json, s.scores_json, r.benchmark_config_json FROM runs r"
            " JOIN selections s ON s.id = r.selection_id WHERE r.status = 'done'"
            " AND coalesce(json_extract(r.benchmark_config_json, '$.split'), 'test') = 'test' ORDER BY r.started"):
        key = (row[0], row[10], row[1], row[2], row[3], row[4] or row[5])
        seed = json.loads(row[7])["calibration"]
        if seeds.setdefault(key, seed) != seed:
            continue
        kept = frozenset(i for i, on in enumerate(itertools.chain(*json.loads(row[8]))) if on)
        scores = json.loads(row[9])
        found[key, row[6]] = (kept, None if scores is None else list(itertools.chain(*scores)))
    return found


def ranks(values):
    """Average ranks of ties."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    out = [0.0] * len(values)
    for _, group in itertools.groupby(enumerate(order), key=lambda pair: values[pair[1]]):
        group = list(group)
        for _, i in group:
            out[i] = sum(position for position, _ in group) / len(group)
    return out


def spearman(a, b):
    pairs = [(x, y) for x, y in zip(a, b) if x is not None and y is not None]
    if len(pairs) < 3:
        return None
    a, b = ranks([x for x, _ in pairs]), ranks([y for _, y in pairs])
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    cross = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    spread = (sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)) ** 0.5
    return cross / spread if spread > 0 else None


def agreement(found, key):
    labels = [label for (k, label) in found if k == key and label.split("[")[0] not in CONTROLS]
    table = []
    for row in labels:
        cells = []
        for column in labels:
            kept, scores = found[key, row]
            other, other_scores = found[key, column]
            jaccard = len(kept & other) / len(kept | other)
            rho = spearman(scores, other_scores) if scores and other_scores else None
            cells.append("" if row == column else f"{jaccard:.2f} / " + ("–" if rho is None else f"{rho:.2f}"))
        table.append([row] + cells)
    return markdown([""] + labels, table)


def heading(setting):
    benchmark, _, window, rule, granularity, kept, units = setting
    return f"{benchmark}, window {window}, rule `{rule}`, {kept} of {units} {granularity.replace('_', ' ')}s"


def page(rows, connection):
    by_setting = defaultdict(list)
    for row in rows:
        by_setting[setting_of(row)].append(row)
    first = rows[0]
    parts = [
        "# Selectors under one protocol",
        f"Made by `tools/selector_sweep` and `tools/selector_report.py`. Model {first['model']} "
        f"({first['model_id'][:8]}); {first['devices']}. Every number is one model's and says nothing of others. "
        "Intervals: bootstrap over clusters of samples and Wilson, 95 %; a mask's interval speaks for that mask, a "
        "claim about a selector needs five calibration seeds. Rows of `random` and `periodic` are medians [range, or "
        "5–95 % from 20 draws on]. Learned selectors trained for fewer steps than their papers' (the sweep's head says "
        "so). `selectors.csv` has every column and run id; `selectors.sql.gz` every row but the prompts.",
    ]
    for setting, block in by_setting.items():
        parts += [f"## {heading(setting)}",
                  f"{block[0]['samples']} samples, {block[0]['clusters']} clusters."
                  + "".join(f" **{mark.strip()}**" for mark in sorted({r["marks"] for r in block if r["marks"]})),
                  quality(block, toggling_flops(connection, block))]
    found = selections(connection)
    parts.append("## Agreement between selectors: Jaccard of their sets / Spearman of their scores")
    for key in dict.fromkeys(k for k, _ in found):
        parts += [f"### window {key[2]}, rule `{key[3]}`, {key[4]}, budget {key[5]}", agreement(found, key)]
    return "\n\n".join(parts) + "\n"


def without_prompts(connection):
    copy = sqlite3.connect(":memory:")
    connection.backup(copy)
    columns = {row[1] for row in copy.execute("PRAGMA table_info(samples)")}
    for column in columns & {"prompt_text", "prompt_tokens"}:
        copy.execute(f"UPDATE samples SET {column} = ''")
    copy.execute("UPDATE models SET path_hint = ''")
    copy.execute("UPDATE runs SET config_json = json_remove(config_json, '$.model.path')")
    copy.commit()
    return "\n".join(copy.iterdump()) + "\n"


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if sys.argv[1:2] in (["--help"], ["-h"]) else 2
    out = Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "docs" / "data"
    out.mkdir(parents=True, exist_ok=True)
    text, rows = leaderboard(sys.argv[1])
    connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    (out / "selectors.csv").write_text(text)
    (out / "selectors.md").write_text(page(rows, connection))
    with gzip.GzipFile(out / "selectors.sql.gz", "wb", mtime=0) as file:
        file.write(without_prompts(connection).encode())
    print(f"{out}/selectors.md, selectors.csv and selectors.sql.gz are written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
