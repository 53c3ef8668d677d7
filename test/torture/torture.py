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
import re
import sys
import tempfile
import time

import psycopg2

import checker
import faults
import load
from server import Server, connect, query

# Messages of one history: a part of a sender's on the busiest queue
PART = 200000
# More than a limit that is not counted in shared memory: a call of each sender
SLACK = 100
SENDER = re.compile(r"(\w+)/(\w+)/(\d+)$")


def make_queues():
    """Those that this version can make; the names, in order."""
    names = []
    for name, (properties, _) in load.QUEUES.items():
        given = {"retry_delay": "0.2 s", "retry_backoff": "none",
                 **properties}
        more = ", ".join(f"{key} => %({key})s" for key in given)
        try:
            with contextlib.closing(connect()) as connection:
                connection.cursor().execute(
                    f"SELECT queue.create(%(name)s, {more})",
                    {"name": name, **given})
            names.append(name)
        except psycopg2.Error as error:
            if error.pgcode != "0A000":
                raise
            print(f"not in this version: {name}")
    return names


def try_properties(names):
    """Leave out queues whose sending does not work yet."""
    for name, sql in (("once", "dedup_id => 'x'"),
                      ("ranks", "priority => 1"), ("short", "ttl => '1 s'")):
        try:
            if name in names:
                with contextlib.closing(connect()) as connection:
                    connection.autocommit = False
                    connection.cursor().execute(
                        f"SELECT queue.enqueue('{name}', '1', {sql})")
                    connection.rollback()
        except psycopg2.Error as error:
            if error.pgcode != "0A000":
                raise
            print(f"not in this version: {sql}")
            names.remove(name)


def drain(names):
    """What is left, once every lease and delay has ended, and where."""
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        for name in names:
            yield stats(cursor, name)
            yield from drain_queue(cursor, name)


def stats(cursor, name):
    for _ in range(50):
        cursor.execute("SELECT total, (SELECT count(*) FROM queue."
                       f"\"{name}\") FROM queue.stats WHERE queue = %s",
                       (name,))
        total, there = cursor.fetchone()
        if total == there:
            break
        time.sleep(0.1)
    now = time.monotonic()
    # of a queue with ttl, messages go while this looks
    return {"op": "stats" if name != "short" else "note", "q": name,
            "total": total, "t0": now, "t": now}


def drain_queue(cursor, name):
    deadline = time.monotonic() + 60
    table = f'queue."{name}"'
    while time.monotonic() < deadline:
        t0 = time.monotonic()
        cursor.execute("SELECT body->>'u', queue.ack(%s, receipt) "
                       "FROM queue.dequeue(%s, 1000, wait => '1 s')",
                       (name, name))
        rows = cursor.fetchall()
        if rows:
            yield {"op": "drain", "q": name, "t0": t0, "t": time.monotonic(),
                   "us": [row[0] for row in rows]}
            continue
        cursor.execute(f"SELECT count(*) FROM {table} "
                       "WHERE visible_at < 'infinity'")
        if cursor.fetchone()[0] == 0:
            break
    # what is dead stays
    t0 = time.monotonic()
    cursor.execute(f"SELECT body->>'u', visible_at < 'infinity' FROM {table}")
    rows = cursor.fetchall()
    yield {"op": "drain", "q": name, "t0": t0, "t": time.monotonic(),
           "us": [row[0] for row in rows]}
    left = [row[0] for row in rows if row[1]]
    if left and name != "short":
        yield {"op": "left", "q": name, "t0": t0, "t": t0, "count": len(left),
               "example": left[0]}


def expand(event):
    """The events of the messages of one call."""
    if "us" not in event:
        yield event
        return
    each = event.pop("each", {})
    for i, u in enumerate(event.pop("us")):
        more = {key: values[i] for key, values in each.items()
                if values[i] is not None}
        yield {**event, "u": u, **more}


class Histories:
    """Events in parts that can be judged apart, each small enough."""

    def __init__(self, directory):
        self.directory = directory
        self.files = {}
        self.general = []
        self.ops = collections.Counter()

    def part_of(self, u):
        queue, sender, number = SENDER.match(u).groups()
        if queue == "work":
            return f"{queue}-{sender}-{int(number) // PART}"
        return queue

    def add(self, event):
        self.ops[event["op"]] += len(event.get("us", [0]))
        if "us" not in event:
            self.general.append(event)
            return
        parts = collections.defaultdict(list)
        for i, u in enumerate(event["us"]):
            parts[self.part_of(u)].append(i)
        for part, places in parts.items():
            piece = dict(event, us=[event["us"][i] for i in places])
            if "each" in event:
                piece["each"] = {key: [values[i] for i in places]
                                 for key, values in event["each"].items()}
            self.file(part).write(json.dumps(piece) + "\n")

    def file(self, part):
        if part not in self.files:
            self.files[part] = open(f"{self.directory}/{part}.part", "w",
                                    encoding="utf-8")
        return self.files[part]

    def read(self, part):
        self.files[part].close()
        events = list(self.general)
        with open(f"{self.directory}/{part}.part", encoding="utf-8") as file:
            for line in file:
                events.extend(expand(json.loads(line)))
        return events


def judge(histories):
    """Check all parts; print what cannot be so.  Returns how much it is."""
    anomalies = collections.Counter()
    for part in sorted(histories.files):
        events = histories.read(part)
        # stats are about whole queues
        if part.count("-"):
            events = [e for e in events if e["op"] != "stats"]
        queue = part.split("-")[0]
        events = [e for e in events
                  if e["op"] != "stats" or e["q"] == queue != "ranks"]
        for kind, u, detail in checker.check(events):
            anomalies[kind] += 1
            if anomalies[kind] > 5:
                continue
            print(f"ANOMALY {kind}: {u}: {detail}")
            for event in sorted((e for e in events if e.get("u") == u),
                                key=lambda e: e["t"])[:40]:
                print("     ", json.dumps(event))
    for event in histories.general:
        if event["op"] == "left":
            anomalies["left"] += 1
            print("ANOMALY could not be drained:", json.dumps(event))
    for kind, count in anomalies.items():
        print(f"ANOMALIES: {count} times {kind}")
    return sum(anomalies.values())


def run_load(options, names, functions, server, seed, directory):
    """Sessions and faults for some seconds; what the faults wrote down."""
    stop_at = time.monotonic() + options.seconds
    common = {"seed": seed, "stop_at": stop_at, "queues": names,
              "speed": options.speed, "batch": options.batch}
    kinds = [(load.Producer, f"p{i}") for i in range(4)]
    kinds += [(load.Consumer, f"c{i}") for i in range(7)]
    sessions = [kind(name, path=f"{directory}/{name}.log", **common)
                for kind, name in kinds]
    sessions.append(load.Mender("mender", path=f"{directory}/m.log",
                                functions=functions, **common))
    processes = [multiprocessing.Process(target=s.run, daemon=True)
                 for s in sessions]
    for process in processes:
        process.start()
    log = []
    trouble = faults.Faults(server, seed, log, options.points)
    while time.monotonic() < stop_at - 3:
        time.sleep(trouble.random.uniform(0.2, options.pause))
        trouble.strike()
    trouble.end()
    # who sends what a prepared transaction has sent waits for its end
    while any(process.is_alive() for process in processes):
        time.sleep(0.5)
        with contextlib.suppress(psycopg2.Error):
            trouble.finish_prepared()
    for process in processes:
        if process.exitcode:
            log.append({"op": "left", "q": "", "t0": 0, "t": 0,
                        "example": "a session of the load failed"})
    return log, trouble


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", default=None)
    parser.add_argument("--pause", type=float, default=2.5,
                        help="seconds between faults, at most")
    parser.add_argument("--speed", type=float, default=1)
    parser.add_argument("--batch", type=int, default=200,
                        help="messages in one send, at most")
    parser.add_argument("--sources", required=True)
    options = parser.parse_args()
    options.points = faults.point_names(options.sources)
    seed = options.seed or str(random.randrange(10 ** 6))
    print(f"torture: seed {seed}, {options.seconds} s", flush=True)

    query("CREATE EXTENSION queue")
    names = make_queues()
    try_properties(names)
    functions = [row[0] for row in query(
        "SELECT proname FROM pg_proc WHERE pronamespace = "
        "'queue'::regnamespace")]
    server = Server(os.environ["PGDATA"])
    directory = tempfile.mkdtemp()
    log, trouble = run_load(options, names, functions, server, seed,
                            directory)
    for (gid,) in query("SELECT gid FROM pg_prepared_xacts"):
        query(f"COMMIT PREPARED '{gid}'")
    if "scrap" in names:
        with contextlib.suppress(psycopg2.Error):
            query("SELECT queue.create('scrap')")
    with contextlib.suppress(psycopg2.Error):
        query("SELECT queue.resume('work')")

    histories = Histories(directory)
    slack = SLACK if trouble.counts["little_memory"] else 0
    for name in names:
        histories.add({"op": "queue", "q": name, "t0": 0, "t": 0,
                       "slack": slack, **load.QUEUES[name][1]})
    for event in log + list(drain(names)):
        histories.add(event)
    for path in glob.glob(f"{directory}/*.log"):
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    histories.add(json.loads(line))
    anomalies = judge(histories)
    print("faults:", ", ".join(f"{name} {count}" for name, count in
                               sorted(trouble.counts.items())))
    print("events:", ", ".join(f"{op} {n}" for op, n in
                               sorted(histories.ops.items())))
    print(f"torture: {trouble.kills} kills, {histories.ops['send']} messages,",
          "nothing lost" if not anomalies else f"{anomalies} ANOMALIES")
    sys.exit(1 if anomalies else 0)


if __name__ == "__main__":
    main()
