"""Numbers, settings and tables as text, for selector_report.py."""

from fractions import Fraction

FEW_CLUSTERS = 20  # strata's own: fewer support no inference
NO_VALUE = "–"


def number(value, digits=1, scale=1.0):
    # Adding 0.0 takes the sign off a rounded zero.
    return NO_VALUE if value in ("", None) else f"{round(float(value) * scale, digits) + 0.0:.{digits}f}"


def signed(value, digits=3):
    return NO_VALUE if value in ("", None) else f"{round(float(value), digits) + 0.0:+.{digits}f}"


def counted(count, noun):
    return f"{count} {noun}{'' if count == 1 else 's'}"


def with_interval(row, column, digits=1, scale=1.0):
    """A leaderboard's estimate; alone where so few clusters support no inference."""
    text = number(row.get(column), digits, scale)
    low, high = row.get(column + "_low"), row.get(column + "_high")
    if not low or int(row["clusters"]) < FEW_CLUSTERS:
        return text
    return f"{text} [{number(low, digits, scale)}, {number(high, digits, scale)}]"


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def share(budget):
    return str(Fraction(budget).limit_denominator(64)) if budget < 1 else f"{budget:g} units"


def units(granularity):
    return {"layer": "layers", "kv_head": "KV heads", "query_head": "query heads"}[granularity]


def difference(setting, centre):
    """What a setting changes of another, in words: "length 4096, haystack essays"; "" where it is the same."""
    parts = [f"{key} {value}" for key, value in setting.task if centre.key(key) != value and key != "name"]
    if setting.key("name") != centre.key("name"):
        parts = [task_text(setting.task)]
    if setting.mixer() != centre.mixer():
        parts.append(setting.mixer())
    if setting.granularity != centre.granularity:
        parts.append(units(setting.granularity))
    if setting.budget not in (None, centre.budget):
        parts.append(share(setting.budget))
    if setting.split != centre.split:
        parts.append(f"{setting.split} split")
    return ", ".join(parts)


def task_text(task):
    task = dict(task)
    return ", ".join([task["name"]] + [f"{k} {task[k]}" for k in ("task", "haystack", "length") if k in task])


def percent_of(value, whole):
    return NO_VALUE if value is None or not whole else number(value / whole, 1, 100)


class Footnotes:
    """Letters for texts, each text once."""

    def __init__(self):
        self.texts = {}

    def of(self, text):
        count = len(self.texts)
        letters = "abcdefghijklmnopqrstuvwxyz"
        name = letters[count] if count < 26 else letters[count // 26 - 1] + letters[count % 26]
        return self.texts.setdefault(text, name)

    def lines(self):
        return "\n".join(f"- [{letter}] {text}" for text, letter in self.texts.items())
