#!/usr/bin/env python3
"""Tells a folder that was installed completely from one that was not. Needs Python alone.

    sealed_folder.py seal FOLDER FINAL_PATH   FOLDER was just installed by pip and will be renamed to FINAL_PATH:
                                              checks it against pip's RECORDs, then writes the stamp
    sealed_folder.py check FOLDER             exit status 0 where it can be used, else 1 and one line that says why not

The stamp holds the folder's own path and the size and SHA-256 of every file. `check` compares sizes; in a folder that
is not where it was sealed it compares the hashes too and, where all is well, writes the new path into the stamp.
Files that came later (Python's caches) do not matter.
"""

import csv
import hashlib
import json
import os
import sys

STAMP = ".complete.json"
FORMAT = 1


class Unusable(Exception):
    pass


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def files_of(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder)
            if relative != STAMP:
                yield relative, path


def require_size(folder, name, size):
    try:
        found = os.stat(f"{folder}/{name}").st_size
    except OSError:
        raise Unusable(f"{name} is missing") from None
    if found != size:
        raise Unusable(f"{name} has {found} bytes, expected {size}")


def check_records(folder):
    """Every file that pip says it installed is there. (Scripts are recorded relative to another layout: skipped.)"""
    records = [path for name, path in files_of(folder) if name.endswith(".dist-info/RECORD")]
    if not records:
        raise Unusable("pip left no RECORD")
    for record in records:
        with open(record, newline="", encoding="utf-8") as file:
            for name, _, size in csv.reader(file):
                if size and not name.startswith(".."):
                    require_size(folder, name, int(size))


def write_stamp(folder, path, files):
    temporary = os.path.join(folder, f"{STAMP}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "path": path, "files": files}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, os.path.join(folder, STAMP))


def seal(folder, path):
    check_records(folder)
    files = {name: [os.path.getsize(where), sha256_of(where)] for name, where in files_of(folder)}
    write_stamp(folder, path, files)


def check(folder):
    if not os.path.isdir(folder):
        raise Unusable("it is not there")
    try:
        with open(os.path.join(folder, STAMP), encoding="utf-8") as file:
            stamp = json.load(file)
        if stamp["format"] != FORMAT:
            raise Unusable(f"its stamp has format {stamp['format']}, expected {FORMAT}")
        for name, (size, _) in stamp["files"].items():
            require_size(folder, name, size)
        if stamp["path"] == folder:
            return
        for name, (_, sha256) in stamp["files"].items():
            if sha256_of(os.path.join(folder, name)) != sha256:
                raise Unusable(f"it was moved here from {stamp['path']}, and {name} has changed")
    except FileNotFoundError:
        raise Unusable("it was not installed completely (no stamp)") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"its stamp cannot be read ({error!r})") from None
    write_stamp(folder, folder, stamp["files"])


def main(arguments):
    commands = {("seal", 4): seal, ("check", 3): check}
    command = commands.get((arguments[1] if len(arguments) > 1 else "", len(arguments)))
    if command is None:
        sys.exit(__doc__)
    try:
        command(*map(os.path.realpath, arguments[2:]))
    except (Unusable, OSError) as error:
        print(error)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
