"""Tables of selector_report.py: one kind of question each, as markdown, from the rows of a sweep."""

import json
import re
import statistics
from collections import Counter, defaultdict
from dataclasses import replace

from sweep_agreement import jaccard
from sweep_rows import marks_of, ranked_labels, row_of, signs_of, toggling_flops
from sweep_text import (FEW_CLUSTERS, NO_VALUE, Footnotes, difference, markdown, number, percent_of, share, signed,
                        task_text, units, with_interval)


def notes_of(block):
    """What a table's marks say of its setting; signs of a bug are of selections."""
    few = f"inference is not supported: {block[0]['clusters']} of the {FEW_CLUSTERS} clusters that it takes"
    return [few if re.match(r"\d+ clusters", mark) else mark
            for mark in marks_of(block) if not mark.startswith("sign of a bug")]


def missing(sweep, setting, label, footnotes):
    """Why a cell is empty: not run, or refused with a reason."""
    refused = sweep.find(setting, label=label, status="failed")
    return f"refused [{footnotes.of(refused[-1].error.partition(chr(10))[0])}]" if refused else NO_VALUE


def suspects(sweep, setting):
    """Labels of the selections, of the first calibration seed, that show a sign of a bug."""
    of_itself = {label for label, run in sweep.base(setting).items() if run.selection and run.selection.signs()}
    return of_itself | {label for label, sign in inverted_signs(sweep, setting)}


def inverted_signs(sweep, setting):
    """The sign that takes several runs to see: an inverted ranking that does better than chance."""
    return [(label, sign) for label, sign in signs_of(sweep.block(setting))
            if label.startswith("inverted") and sign.startswith("NLL:")]


def matrix(sweep, settings, heads, cell):
    """Rows of selectors, columns of settings; cell(row) is the text of a leaderboard's row."""
    footnotes = Footnotes()
    present = [(s, head) for s, head in zip(settings, heads) if sweep.block(s)]
    if not present:
        return "Not run."
    settings = [s for s, _ in present]
    letters = ["".join(f"[{footnotes.of(note)}]" for note in notes_of(sweep.block(s))) for s in settings]
    header = ["selector"] + [f"{head} {letter}".strip() for (_, head), letter in zip(present, letters)]
    signs = [suspects(sweep, s) for s in settings]
    table = []
    for label in ranked_labels(sweep, settings):
        cells = []
        for setting, suspected in zip(settings, signs):
            row = row_of(sweep, setting, label)
            text = cell(row) if row else missing(sweep, setting, label, footnotes)
            cells.append(text + (" !" if row and label in suspected else ""))
        table.append([label] + cells)
    for label in ("random", "periodic"):
        rows = [row_of(sweep, s, label) for s in settings]
        if any(rows):
            table.append([f"{label}: median"] + [cell(row) if row else NO_VALUE for row in rows])
            table.append([f"{label}: range"] + [cell.spread(row) if row else NO_VALUE for row in rows])
    for label in ("none", "full"):
        table.append([label] + [cell(row) if row else NO_VALUE for row in (row_of(sweep, s, label) for s in settings)])
    return "\n\n".join(part for part in (markdown(header, table), footnotes.lines()) if part)


class Percent:
    """A share of a leaderboard's row, in percent."""

    def __init__(self, column, digits):
        self.column, self.digits = column, digits

    def __call__(self, row):
        return number(row[self.column], self.digits, 100)

    def spread(self, row):
        low, high = row[self.column + "_low"], row[self.column + "_high"]
        return f"{number(low, 0, 100)} to {number(high, 0, 100)}" if low else NO_VALUE


class Pair:
    """Two cells in one."""

    def __init__(self, *cells):
        self.cells = cells

    def __call__(self, row):
        return " / ".join(cell(row) for cell in self.cells)

    def spread(self, row):
        return " / ".join(cell.spread(row) for cell in self.cells)


GAP, GENERATED = Percent("gap_closed", 1), Percent("gen_contains", 0)


def budget_settings(sweep):
    """Settings that differ from the centre in rule, budget and granularity, with short column heads."""
    found = {r.setting for r in sweep.runs if r.setting.budget is not None and r.setting == sweep.at_centre(
        rule=r.setting.rule, budget=r.setting.budget, granularity=r.setting.granularity)}
    order = sorted(found, key=lambda s: (s.granularity != "layer", s.granularity, sweep.rules.index(s.rule), s.budget))
    short = {"layer": "L", "kv_head": "KV", "query_head": "Q"}
    return order, [f"{short[s.granularity]} {s.rule} {share(s.budget)}" for s in order]


def other_settings(sweep, rule):
    """Settings at the centre's budget and granularity that differ from it in task or window; the centre first."""
    centre = sweep.at_centre(rule=rule)
    found = {r.setting for r in sweep.runs
             if r.setting.budget is not None and r.setting.key("name") == centre.key("name")
             and replace(r.setting, task=centre.task, window=centre.window) == centre}
    others = sorted(found - {centre}, key=lambda s: (s.window, s.key("task") != centre.key("task"),
                                                     s.key("haystack") != centre.key("haystack"),
                                                     s.key("length") or 0))
    return [centre] + others, ["centre"] + [difference(s, centre) for s in others]


def trained_tables(sweep):
    """One a block: what every plan reaches on weights that were trained under it."""
    tables = []
    for block in sweep.trained_blocks():
        first = block[0]
        rows = [[row["strategy"], with_interval(row, "gap_closed", 1, 100), with_interval(row, "gen_contains", 1, 100),
                 number(row["answer_nll"], 3), percent_of(float(row["kv_share"]), 1)] for row in block]
        tables += [f"Rule `{first['decode_rule']}`, window {first['window']}, {first['budget_units']} of "
                   f"{first['units']} {units(first['granularity'])}, {first['samples']} samples: {first['model']}.",
                   markdown(["plan", "gap closed %", "generated right %", "answer NLL", "KV bytes %"], rows)]
    return tables


def harm_rows(sweep, setting):
    """label → leaderboard's row on running text of the set that was chosen on the centre's task; controls too."""
    found = {}
    for run in sweep.runs:
        here = replace(run.setting, task=setting.task) == setting and run.setting.key("name") == "local_text"
        if not here or run.status != "done" or not run.source or dict(run.source)["name"] != setting.key("name"):
            continue
        if run.seed is None:
            found[run.label] = run.row
        if not found.get("none"):
            found |= {label: row_of(sweep, run.setting, label) for label in ("none", "random", "periodic-best")}
    return {label: row for label, row in found.items() if row}


def full_table(sweep, rule):
    setting = sweep.at_centre(rule=rule)
    whole, reused = toggling_flops(sweep, setting)
    harm = harm_rows(sweep, setting)
    runs = sweep.base(setting)
    table = []
    for label in ranked_labels(sweep, [setting]) + ["random", "periodic", "none", "full"]:
        row = row_of(sweep, setting, label)
        if not row:
            continue
        run = runs.get(label)
        cost = run.selection if run and run.selection and run.selection.flops else None
        given = row["supervision"] + (f", {run.steps} steps" if run and run.steps else "")
        name = row["strategy"] if label in ("random", "periodic", "periodic-best") else label
        table.append([name, with_interval(row, "gap_closed", 1, 100), with_interval(row, "gen_contains", 1, 100),
                      number(row["tf_exact"], 1, 100), number(row["answer_nll"], 3),
                      with_interval(harm[label], "nll_minus_full", 3) if label in harm else NO_VALUE,
                      number(cost.flops, 1, 1e-12) if cost else NO_VALUE, percent_of(cost and cost.flops, whole),
                      percent_of(cost and cost.flops, reused), number(cost.tokens, 0, 1e-3) if cost else NO_VALUE,
                      number(cost.seconds, 1) if cost else NO_VALUE, given])
    return markdown(["selector", "NLL gap closed %", "generated right %", "teacher-forced exact %", "answer NLL",
                     "harm to running text, nat", "selection TFLOP", "% without reuse", "% with reuse",
                     "1000 tokens", "s", "given"], table)


def curve(sweep, rule):
    """Prompts against selectors: NLL and what the selection cost; of the first calibration seed."""
    points = defaultdict(dict)
    for run in sweep.find(sweep.at_centre(rule=rule), seed=None):
        if run.selection and run.selection.supervision != "none" and run.row:
            points[run.label][run.prompts] = run
    points = {label: runs for label, runs in points.items() if len(runs) > 1}
    if not points:
        return "Not run."
    sizes = sorted({size for runs in points.values() for size in runs})
    table = []
    for label, runs in points.items():
        cells = {size: f"{number(run.row['answer_nll'], 3)} ({number(run.selection.flops, 1, 1e-12)})"
                 for size, run in runs.items()}
        table.append([label] + [cells.get(size, NO_VALUE) for size in sizes])
    return markdown(["selector"] + [f"{size} prompts" for size in sizes], table)


def answers(connection, experiment):
    """sample → mean NLL over its answer's positions."""
    return {sample: statistics.fmean(json.loads(nll)) for sample, nll in connection.execute(
        "SELECT sample_id, answer_nll_json FROM responses WHERE experiment_id = ?", (experiment,))}


def regret(connection, moved, native):
    """Paired difference of two runs' NLL; with its standard error over samples, where these are enough clusters."""
    there, here = answers(connection, moved.experiment), answers(connection, native.experiment)
    differences = [there[s] - here[s] for s in there.keys() & here.keys()]
    text = signed(statistics.fmean(differences))
    if moved.row["clusters"] != moved.row["samples"] or len(differences) < FEW_CLUSTERS:
        return text
    return f"{text} ± {statistics.stdev(differences) / len(differences) ** 0.5:.3f}"


def transfer(sweep, connection):
    """A table for each (setting, calibration elsewhere) of the centre's benchmark."""
    groups = defaultdict(dict)
    for run in sweep.runs:
        if run.source and run.status == "done" and run.row and run.seed is None \
                and dict(run.source)["name"] == run.setting.key("name"):
            groups[run.setting, run.source][run.label] = run
    parts = []
    for (setting, source), moved in groups.items():
        native = sweep.base(setting)
        home = next((r.setting for r in sweep.runs if same_place(r.setting, setting, source)), None)
        there = sweep.base(home) if home else {}
        table = []
        for label, run in sorted(moved.items(), key=lambda item: item[1].value("answer_nll")):
            own = native.get(label)
            table.append([label, number(there[label].value("answer_nll"), 3) if label in there else NO_VALUE,
                          number(own.value("answer_nll"), 3) if own else NO_VALUE,
                          number(run.value("answer_nll"), 3), regret(connection, run, own) if own else NO_VALUE,
                          number(jaccard(run.selection.kept, own.selection.kept), 2) if own else NO_VALUE,
                          number(run.selection.flops, 1, 1e-12),
                          number(own.selection.flops, 1, 1e-12) if own else NO_VALUE])
        parts += [f"Rule `{setting.rule}`: calibrated on {task_text(source)}, evaluated on {task_text(setting.task)}, "
                  f"{share(setting.budget)} of the {units(setting.granularity)}, "
                  f"{next(iter(moved.values())).row['samples']} samples.",
                  markdown(["selector", "NLL where it was calibrated", "NLL, calibrated on what is evaluated",
                            "NLL, transferred", "regret, nat ± SE over samples", "Jaccard of the sets",
                            "TFLOP, transferred", "TFLOP, own"], table)]
    return parts or ["Not run."]


def same_place(candidate, setting, source):
    return all(candidate.key(key) == value for key, value in source) and \
        replace(candidate, task=setting.task) == setting


def signs_table(sweep):
    """Checks by name: how often clear, not judged or a sign, and which selections show it."""
    outcomes, signs = defaultdict(Counter), defaultdict(Counter)
    for run in sweep.runs:
        if run.status != "done" or not run.selection:
            continue
        for check in run.selection.diagnostics.get("checks", []):
            outcomes[check["name"]][check["outcome"]] += 1
        for sign in run.selection.signs():
            signs[sign.split(":")[0]][run.label] += 1
    for setting in {r.setting for r in sweep.runs}:
        for label, _ in inverted_signs(sweep, setting):
            signs["NLL of an inverted ranking against the median random plan"][label] += 1
    names = sorted(set(outcomes) | set(signs), key=lambda name: (-sum(signs[name].values()), name))
    table = [[name, str(sum(signs[name].values())), str(outcomes[name]["clear"]), str(outcomes[name]["not judged"]),
              ", ".join(f"{label} {count}" for label, count in signs[name].most_common()) or NO_VALUE]
             for name in names]
    return markdown(["check", "signs", "clear", "not judged", "selections with a sign (how often)"], table) if table \
        else "No check was recorded."


def settings_table(sweep):
    """Each setting that was run: size, references, marks."""
    table = []
    settings = {r.setting for r in sweep.runs if r.setting.budget is not None}
    for setting in sorted(settings, key=lambda s: (s.split != "test", difference(s, sweep.centre), s.rule)):
        block = sweep.block(setting)
        if not block:
            continue
        done = sum(r.setting == setting and r.status == "done" for r in sweep.runs)
        cells = []
        for label in ("full", "none", "random"):
            row = row_of(sweep, setting, label)
            cells.append(f"{number(row['answer_nll'], 3)} / {number(row['gen_contains'], 0, 100)}" if row else NO_VALUE)
        table.append([difference(setting, sweep.centre) or "centre", setting.rule, block[0]["samples"],
                      block[0]["clusters"], str(done), *cells, "; ".join(notes_of(block)) or NO_VALUE])
    return markdown(["setting", "rule", "samples", "clusters", "runs", "full", "none", "random (median)", "marks"],
                    table)
