"""A sweep's database as SQL to commit beside its tables: tools/restore_dump.py makes the database again."""

import contextlib
import gzip
import re
import sqlite3

LONG_TEXT = 64  # tokens


def without_prompts(connection):
    """A copy of the database, in which the NLL of a long text is its mean instead of a number for each token."""
    copy = sqlite3.connect(":memory:")
    connection.backup(copy)
    copy.execute("UPDATE responses SET argmax_json = '[]', answer_nll_json = "
                 "(SELECT json_array(avg(value)) FROM json_each(answer_nll_json)) "
                 "WHERE json_array_length(answer_nll_json) > ?", (LONG_TEXT,))
    copy.execute("UPDATE samples SET prompt_text = ''")
    copy.execute("UPDATE models SET path_hint = ''")
    copy.execute("UPDATE runs SET config_json = json_remove(config_json, '$.model.path', '$.model.branches')")
    return copy


def sql_of(copy):
    """Gzipped statements that make the database anew. A response names its three ids by number: a hash does not
    compress, and they would be a third of the file."""
    copy.commit()
    copy.text_factory = lambda text: text.decode(errors="replace")  # early databases have answers cut within a character
    lines = [f"PRAGMA {name} = {copy.execute(f'PRAGMA {name}').fetchone()[0]};"
             for name in ("application_id", "user_version")]
    lines.append("CREATE TEMP TABLE ids (n INTEGER PRIMARY KEY, id TEXT);")
    numbers = {}
    for line in copy.iterdump():
        if line.startswith('INSERT INTO "responses"'):
            for name in re.findall(r"'[0-9a-f]{64}'", line)[:3]:
                if name not in numbers:
                    numbers[name] = len(numbers)
                    lines.append(f"INSERT INTO ids VALUES({numbers[name]},{name});")
                line = line.replace(name, f"(SELECT id FROM ids WHERE n={numbers[name]})", 1)
        lines.append(line)
    return gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)


def write_dump(database, path):
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        path.write_bytes(sql_of(without_prompts(connection)))
