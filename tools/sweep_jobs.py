"""Jobs of a sweep: a few commands each, several jobs at a time over the GPUs, with a database and a log of their own.

One process at a time writes to a database: every job has its own in DB.parts/, and at the end they are merged into DB.
Where DB.parts/ is gone a job begins with what DB has recorded.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

STRATA = os.environ.get("STRATA", str(Path(__file__).resolve().parent.parent / "build" / "strata"))


def parse(parser):
    """The options of a sweep: its own, and those of its jobs."""
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--devices", default="")
    parser.add_argument("--until", type=float, default=0)
    options = parser.parse_intermixed_args()
    if options.jobs < 1:
        parser.error(f"--jobs: expected at least 1, got {options.jobs}")
    return options


class Jobs:
    """commands_of(name, what) is what a job runs, one behind the other, asked for when it begins."""

    def __init__(self, options, database, commands_of):
        self.options, self.database, self.commands_of = options, Path(database), commands_of
        self.folder = Path(f"{database}.parts")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.began, self.lock, self.running, self.failed = time.monotonic(), Lock(), set(), []
        self.devices = options.devices.split(",") if options.devices else []
        self.free = []
        self.known = self.folder / "known"  # what a job begins with

    def file(self, name, ending):
        return Path(f"{self.folder / name}.{ending}")

    def passed(self):
        return time.monotonic() - self.began

    def run(self, name, what):
        if self.options.until and self.passed() >= self.options.until:
            return f"out of time: {name}"
        with self.lock:
            slot = self.free.pop()
        environment = dict(os.environ)
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
            # Batches of many shapes leave holes in what each process holds.
            environment.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
        if self.known.exists() and not self.file(name, "db").exists():
            shutil.copyfile(self.known, self.file(name, "db"))
        began, code = time.monotonic(), 0
        with open(self.file(name, "log"), "w") as log:
            for command in self.commands_of(name, what):
                process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
                with self.lock:
                    self.running.add(process)
                code = process.wait()
                with self.lock:
                    self.running.discard(process)
                if code:
                    break
        with self.lock:
            self.free.append(slot)
            if code:
                self.failed.append(name)
        return f"{time.monotonic() - began:.0f} s{f', exit status {code}' if code else ''}: {name}"

    def know(self):
        """Whether a run is recorded is told by its row; answers would fill the disk once a job."""
        self.known.unlink(missing_ok=True)
        if self.database.exists():
            with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as source, \
                    sqlite3.connect(self.known) as copy:
                source.backup(copy)
                copy.execute("DELETE FROM responses")
                copy.commit()
                copy.execute("VACUUM")

    def run_side_by_side(self, work, jobs):
        self.free = list(range(jobs))
        with ThreadPoolExecutor(jobs) as pool:
            for future in [pool.submit(self.run, *job) for job in work]:
                while not future.done():
                    time.sleep(0.2)
                    if self.options.until and self.passed() >= self.options.until + 60:
                        self.stop_late()
                        time.sleep(1)
                print(future.result(), flush=True)

    def stop_late(self):
        """A stopped job keeps what is recorded and goes on when it is repeated."""
        for process in list(self.running):
            process.send_signal(signal.SIGINT)

    def run_all(self, work):
        """work: (name, what) of each job. What failed beside others is tried once more with a GPU to itself."""
        self.know()
        self.run_side_by_side(work, self.options.jobs)
        alone = len(self.devices or "1")
        if self.failed and self.options.jobs > alone:
            print(f"once more with a GPU to itself: {len(self.failed)}", flush=True)
            again, self.failed = self.failed, []
            self.run_side_by_side([job for job in work if job[0] in again], alone)

    def merge(self):
        """All databases into one; the exit status."""
        parts = sorted(str(path) for path in self.folder.glob("*.db"))
        for name in self.failed:
            print(f"failed: {name}: see {self.file(name, 'log')}", file=sys.stderr)
        merged = subprocess.run([STRATA, "db", "merge", str(self.database), *parts]).returncode if parts else 0
        return 1 if self.failed or merged else 0
