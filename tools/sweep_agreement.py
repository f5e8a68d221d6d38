"""How far selections agree: of one selector over calibration seeds, and of selectors with each other."""

import itertools
import statistics
from collections import defaultdict
from math import comb

from sweep_rows import is_control, ranked_labels
from sweep_text import NO_VALUE, markdown, number


def jaccard(a, b):
    return len(a & b) / len(a | b) if a | b else 1.0


def chance_jaccard(kept, of):
    """Expected Jaccard of two sets of `kept` units drawn at random."""
    return sum(comb(kept, i) * comb(of - kept, kept - i) / comb(of, kept) * i / (2 * kept - i)
               for i in range(kept + 1) if kept - i <= of - kept)


def stability(sweep, rule):
    table = []
    for label, runs in sweep.over_seeds(sweep.at_centre(rule=rule)).items():
        if len(runs) < 2:
            continue
        sets = [r.selection.kept for r in runs]
        overlaps = [jaccard(a, b) for a, b in itertools.combinations(sets, 2)]
        table.append((-statistics.fmean(overlaps), [label, str(len(sets)), str(len(set(sets))),
                                                    number(statistics.fmean(overlaps), 2), number(min(overlaps), 2)]))
    if not table:
        return "Not run."
    return markdown(["selector", "seeds", "different sets", "mean Jaccard", "lowest"],
                    [row for _, row in sorted(table)])


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
    if len(pairs) < 3 or len({x for x, _ in pairs}) < 2 or len({y for _, y in pairs}) < 2:
        return None
    return statistics.correlation(ranks([x for x, _ in pairs]), ranks([y for _, y in pairs]))


class Agreement:
    """Jaccard of the sets and Spearman of the scores, of each pair of selectors at the centre."""

    def __init__(self, sweep, rule):
        self.setting = sweep.at_centre(rule=rule)
        runs = sweep.base(self.setting)
        self.labels = [label for label in ranked_labels(sweep, [self.setting])
                       if label in runs and not is_control(label)]
        self.sets = {label: runs[label].selection.kept for label in self.labels}
        scores = {label: runs[label].selection.scores for label in self.labels}
        self.jaccard, self.spearman = {}, {}
        for pair in itertools.combinations(self.labels, 2):
            self.jaccard[frozenset(pair)] = jaccard(*(self.sets[label] for label in pair))
            if all(scores[label] for label in pair):
                self.spearman[frozenset(pair)] = spearman(*(scores[label] for label in pair))

    def matrix(self):
        table = []
        for row in self.labels:
            cells = [NO_VALUE if row == column else number(self.jaccard[frozenset((row, column))], 2) + " / " +
                     number(self.spearman.get(frozenset((row, column))), 2) for column in self.labels]
            table.append([row] + cells)
        return markdown([""] + self.labels, table)

    def summary(self, row):
        """One sentence, and one on selectors that chose the same set. `row`: any of the setting's table."""
        if len(self.labels) < 2:
            return f"Rule `{self.setting.rule}`: fewer than two selectors."
        rho = [value for value in self.spearman.values() if value is not None]
        kept, of = int(row["budget_units"]), int(row["units"])
        text = (f"Rule `{self.setting.rule}`: {len(self.labels)} selectors, median Jaccard of their sets "
                f"{statistics.median(self.jaccard.values()):.2f} (two random sets of {kept} of {of}: "
                f"{chance_jaccard(kept, of):.2f} in the mean)")
        text += f", median Spearman of their scores {statistics.median(rho):.2f}." if rho else "."
        groups = defaultdict(list)
        for label in self.labels:
            groups[self.sets[label]].append(label)
        same = [" = ".join(group) for group in groups.values() if len(group) > 1]
        return text + (" The same set: " + "; ".join(same) + "." if same else "")
