#!/usr/bin/env python3
"""Makes a database of a dump that a report of a sweep wrote (sweep_dump.py): prompts, which it leaves out, are drawn anew.

    restore_dump.py DUMP.sql.gz DB [OVERRIDE…]     # model.path=… where it is not the default model that was asked

DB must not exist; STRATA names the program (build/strata).

Samples follow from their benchmark's configuration and seed, which every run stores, and are named by their content: one
that comes out otherwise is an error. Afterwards a sweep can go on (tools/selector_sweep DB). 'strata db check' still names
the runs: where the model lay is part of a run's id and not of the dump.
"""

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

STRATA = os.environ.get("STRATA", str(Path(__file__).resolve().parent.parent / "build" / "strata"))


def leaves(value, path=""):
    """key=value of every leaf, as the command line has them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif path:
        yield f"{path}={json.dumps(value)}"


def overrides(config, own):
    """What the samples of a run depend on, and where the user says the model lies."""
    benchmark = dict(config["benchmark"])
    yield f"benchmark={benchmark.pop('name')}"
    for group in ("mixer", "seed"):
        yield from leaves(config[group], group)
    yield from leaves(benchmark, "benchmark")
    yield f"model.chat_template={config['model']['chat_template']}"
    yield from own


def samples_of(config, own):
    words = list(overrides(config, own))
    done = subprocess.run([STRATA, "samples", *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: strata samples {' '.join(words)}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if sys.argv[1:2] in (["--help"], ["-h"]) else 2
    dump, database = map(Path, sys.argv[1:3])
    if database.exists():
        sys.exit(f"error: {database} exists; expected a new file")
    try:
        with gzip.open(dump, "rt") as file:
            text = file.read()
        connection = sqlite3.connect(database)
        connection.executescript(text)
    except (OSError, EOFError, UnicodeDecodeError, sqlite3.Error) as error:
        sys.exit(f"error: {dump}: expected gzipped SQL of a sweep, got: {error}")
    configs = connection.execute("SELECT data_id, config_json FROM runs JOIN experiments "
                                 "ON experiments.id = runs.experiment_id GROUP BY data_id").fetchall()
    for _, config in configs:
        for sample in samples_of(json.loads(config), sys.argv[3:]):
            connection.execute("UPDATE samples SET prompt_text = ? WHERE id = ?", (sample["prompt"], sample["id"]))
    connection.commit()
    migrated = subprocess.run([STRATA, "db", "migrate", str(database)], capture_output=True, text=True)
    if migrated.returncode:
        sys.exit(migrated.stderr.strip())
    (empty,) = connection.execute("SELECT count(*) FROM samples WHERE prompt_text = ''").fetchone()
    if empty:
        sys.exit(f"error: {database}: {empty} samples did not come out again; expected none (another model or strata?)")
    print(f"{database}: the samples of {len(configs)} data sets are drawn anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
