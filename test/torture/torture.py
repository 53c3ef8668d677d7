"""Load, faults and an account of every message.

Runs against the cluster of PGDATA as its owner; run.sh prepares it.
"""

import argparse
import collections
import contextlib
import glob
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import psycopg2

import checker
import load


def connect():
    """A connection, waiting for a server that recovers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = psycopg2.connect("dbname=postgres")
            connection.autocommit = True
            return connection
        except psycopg2.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def query(sql, *args):
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(sql, args)
        return cursor.fetchall() if cursor.description else []


def pg_ctl(*args):
    subprocess.run(["pg_ctl", "-D", os.environ["PGDATA"], "-w", "-s", "-l",
                    os.path.join(os.environ["PGDATA"], "log"), *args],
                   check=False, stderr=subprocess.DEVNULL)


class Faults:
    """One fault after the other; each returns whether leases may be lost."""

    def __init__(self, seed):
        self.random = random.Random(f"{seed}/faults")
        self.counts = collections.Counter()
        self.held = None

    def kill_backend(self):
        pids = [row[0] for row in query(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type IN ('client backend', 'queue worker', "
            "'queue launcher')")]
        if pids:
            os.kill(self.random.choice(pids), signal.SIGKILL)
            time.sleep(0.2)
        return True

    def kill_postmaster(self):
        with open(os.path.join(os.environ["PGDATA"], "postmaster.pid"),
                  encoding="ascii") as file:
            pid = int(file.readline())
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        # its children notice within moments; the lock file stays
        for _ in range(100):
            pg_ctl("start")
            if subprocess.run(["pg_isready", "-q"], check=False).returncode == 0:
                break
            time.sleep(0.1)
        return True

    def immediate_restart(self):
        pg_ctl("-m", "immediate", "restart")
        return True

    def terminate(self):
        query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
              "WHERE pid <> pg_backend_pid() AND backend_type IN "
              "('client backend', 'queue worker') "
              "ORDER BY random() LIMIT 2")
        return False

    def cancel(self):
        query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
              "WHERE pid <> pg_backend_pid() AND backend_type = "
              "'client backend' ORDER BY random() LIMIT 3")
        return False

    def vacuum(self):
        names = query("SELECT relation::text FROM queue.segments")
        query(f"VACUUM (FREEZE) {self.random.choice(names)[0]}")
        return False

    def hold_snapshot(self):
        if self.held is None:
            self.held = connect()
            self.held.autocommit = False
            self.held.set_session("REPEATABLE READ")
            self.held.cursor().execute("SELECT 1")
        else:
            self.held.close()
            self.held = None
        return False

    def checkpoint(self):
        query("CHECKPOINT")
        return False

    def strike(self, log):
        fault = self.random.choices(
            [self.kill_backend, self.kill_postmaster, self.immediate_restart,
             self.terminate, self.cancel, self.vacuum, self.hold_snapshot,
             self.checkpoint], weights=[3, 1, 2, 4, 4, 2, 2, 1])[0]
        t0 = time.monotonic()
        try:
            crash = fault()
        except psycopg2.Error:
            crash = True
        self.counts[fault.__name__] += 1
        if crash:
            connect().close()
            log.append({"op": "crash", "t0": t0, "t": time.monotonic()})


def finish_prepared():
    for (gid,) in query("SELECT gid FROM pg_prepared_xacts"):
        query(f"COMMIT PREPARED '{gid}'")


def drain():
    """What is left, once every lease and delay has ended."""
    events = []
    deadline = time.monotonic() + 60
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        while time.monotonic() < deadline:
            t0 = time.monotonic()
            cursor.execute("SELECT body->>'u', queue.ack(%s, receipt) "
                           "FROM queue.dequeue(%s, 1000, wait => '2 s')",
                           (load.QUEUE, load.QUEUE))
            rows = cursor.fetchall()
            events += [{"op": "drain", "u": u, "t0": t0,
                        "t": time.monotonic()} for u, _ in rows]
            if not rows:
                cursor.execute(f"SELECT count(*) FROM queue.{load.QUEUE}")
                if cursor.fetchone()[0] == 0:
                    break
    return events


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", default=None)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    seed = options.seed or str(random.randrange(10 ** 6))
    print(f"seed {seed}, {options.seconds} seconds", flush=True)

    query("CREATE EXTENSION queue")
    query("SELECT queue.create(%s, retry_delay => '0.2 s', "
          "retry_backoff => 'none')", load.QUEUE)
    directory = tempfile.mkdtemp()
    stop_at = time.monotonic() + options.seconds
    sessions = [load.Producer(f"p{i}", seed, stop_at, f"{directory}/p{i}")
                for i in range(4)]
    sessions += [load.Consumer(f"c{i}", seed, stop_at, f"{directory}/c{i}")
                 for i in range(6)]
    processes = [multiprocessing.Process(target=s.run) for s in sessions]
    for process in processes:
        process.start()

    faults = Faults(seed)
    events = []
    while time.monotonic() < stop_at - 3:
        time.sleep(faults.random.uniform(0.5, 3))
        faults.strike(events)
    for process in processes:
        process.join()
    if faults.held is not None:
        faults.held.close()
    finish_prepared()
    events += drain()

    for path in glob.glob(f"{directory}/*"):
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    events.append(json.loads(line))
    found = checker.check(events)
    ops = collections.Counter(e["op"] for e in events)
    print("faults:", dict(faults.counts))
    print("events:", dict(ops))
    for kind, count in collections.Counter(f[0] for f in found).items():
        print(f"ANOMALY {kind}: {count}")
    for kind, u, detail in found[:20]:
        print(f"  {kind}: {u}: {detail}")
        for event in sorted((e for e in events if e.get("u") == u),
                            key=lambda e: e["t"]):
            print("     ", json.dumps(event))
    left = query(f"SELECT count(*) FROM queue.{load.QUEUE}")[0][0]
    if left:
        print(f"ANOMALY {left} messages could not be drained")
    print("nothing lost" if not found and not left else "FAILED")
    sys.exit(1 if found or left else 0)


if __name__ == "__main__":
    main()
