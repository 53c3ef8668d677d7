"""Soak: half of full speed for a long time, with a backlog that rises and
falls, and what must stay flat sampled into a CSV and drawn.

Runs against the cluster of PGDATA as its owner; soak.sh prepares it.
"""

import argparse
import contextlib
import csv
import multiprocessing
import os
import sys
import time

import psycopg2

BATCH = 100
PERIOD = 120        # of the sawtooth, in seconds
COLUMNS = ["seconds", "sent", "acked", "backlog", "queue_bytes",
           "catalog_rows", "catalog_bytes", "session_kb", "worker_kb",
           "claim_ms", "xids", "wal_bytes"]
# What may grow by how much between the first quarter and the last
FLAT = {"catalog_rows": 1.5, "catalog_bytes": 2, "session_kb": 1.2,
        "worker_kb": 1.2, "claim_ms": 3}


def connect():
    connection = psycopg2.connect("dbname=postgres")
    connection.autocommit = True
    return connection


class Shared:
    """Counters of all processes."""

    def __init__(self):
        self.sent = multiprocessing.Value("q", 0)
        self.acked = multiprocessing.Value("q", 0)
        self.claims = multiprocessing.Value("q", 0)
        self.claim_us = multiprocessing.Value("q", 0)
        self.rate = multiprocessing.Value("d", 0)
        self.consume = multiprocessing.Value("b", 1)
        self.stop_at = multiprocessing.Value("d", 0)


def add(counter, n):
    with counter.get_lock():
        counter.value += n


def produce(shared):
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        sent = 0
        began = time.time()
        while time.time() < shared.stop_at.value:
            cursor.execute(
                "SELECT queue.enqueue_batch('soak', array_agg("
                "jsonb_build_object('i', i, 'x', repeat('x', 80)))) "
                "FROM generate_series(1, %s) i", (BATCH,))
            add(shared.sent, BATCH)
            sent += BATCH
            rate = shared.rate.value
            if rate:
                time.sleep(max(0, began + sent / rate - time.time()))


def consume(shared):
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        while True:
            over = time.time() > shared.stop_at.value
            if not shared.consume.value and not over:
                time.sleep(0.1)
                continue
            began = time.time()
            cursor.execute("SELECT receipt, body FROM queue.dequeue('soak', "
                           "%s, wait => '0.2 s')", (BATCH,))
            receipts = [row[0] for row in cursor.fetchall()]
            if receipts:
                add(shared.claims, 1)
                add(shared.claim_us, int((time.time() - began) * 1e6))
                cursor.execute("SELECT queue.ack_batch('soak', %s)",
                               (receipts,))
                add(shared.acked, cursor.fetchone()[0])
            elif over:
                return


def resident(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
    return 0


class Sampler:
    def __init__(self, shared):
        self.shared = shared
        self.began = time.time()
        self.connection = connect()
        self.cursor = self.connection.cursor()
        self.last = (0, 0)

    def one(self, sql):
        self.cursor.execute(sql)
        return self.cursor.fetchone()

    def sample(self):
        claims = self.shared.claims.value, self.shared.claim_us.value
        n, us = claims[0] - self.last[0], claims[1] - self.last[1]
        self.last = claims
        session, worker = self.one(
            "SELECT (SELECT pid FROM pg_stat_activity WHERE backend_type = "
            "'client backend' AND pid <> pg_backend_pid() ORDER BY "
            "backend_start LIMIT 1), (SELECT pid FROM pg_stat_activity "
            "WHERE backend_type = 'queue worker' LIMIT 1)")
        size, rows, catalog = self.one("""
            SELECT (SELECT sum(pg_total_relation_size(relation::oid))
                    FROM queue.segment_def),
                (SELECT count(*) FROM queue.segment_def)
                    + (SELECT count(*) FROM queue.forwarding)
                    + (SELECT count(*) FROM pg_class)
                    + (SELECT count(*) FROM pg_depend),
                (SELECT sum(pg_total_relation_size(c)) FROM unnest(ARRAY[
                    'queue.segment_def', 'queue.queue_def',
                    'queue.forwarding', 'pg_class', 'pg_attribute',
                    'pg_depend']::regclass[]) c)""")
        xid, wal = self.one("SELECT pg_snapshot_xmax(pg_current_snapshot())"
                            "::text::bigint, pg_current_wal_lsn() - '0/0'")
        sent, acked = self.shared.sent.value, self.shared.acked.value
        return [round(time.time() - self.began, 1), sent, acked,
                sent - acked, int(size), rows, int(catalog),
                resident(session), resident(worker),
                round(us / n / 1000, 3) if n else "", xid, int(wal)]


def draw(path, rows):
    """One small chart for each column, below each other, as SVG."""
    charts = COLUMNS[3:]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="820" '
             f'height="{len(charts) * 110 + 20}" font-family="sans-serif" '
             f'font-size="11"><rect width="100%" height="100%" '
             f'fill="white"/>']
    last = rows[-1][0] or 1
    for n, name in enumerate(charts):
        points = [(row[0], float(row[COLUMNS.index(name)]))
                  for row in rows if row[COLUMNS.index(name)] != ""]
        top = max((y for _, y in points), default=0) or 1
        base = n * 110 + 100
        line = " ".join(f"{100 + x / last * 700:.1f},{base - y / top * 80:.1f}"
                        for x, y in points)
        parts.append(f'<text x="5" y="{base - 75}">{name}</text>'
                     f'<text x="5" y="{base - 60}">max {top:,.6g}</text>'
                     f'<path d="M100 {base}H800" stroke="#aaa"/>'
                     f'<polyline points="{line}" fill="none" '
                     f'stroke="#c0392b"/>')
    parts.append(f'<text x="740" y="{len(charts) * 110 + 12}">'
                 f'{last:.0f} s</text></svg>')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")


def judge(rows):
    """Names of what grew between the first quarter, warm, and the last."""
    quarter = max(1, len(rows) // 4)
    grown = []
    for name, most in FLAT.items():
        place = COLUMNS.index(name)
        values = [[float(r[place]) for r in part if r[place] != ""]
                  for part in (rows[quarter // 2:quarter + 1],
                               rows[-quarter:])]
        if all(values):
            first, end = (sorted(v)[len(v) // 2] for v in values)
            print(f"soak: {name}: {first:,.6g} at first, {end:,.6g} at last")
            if end > first * most:
                grown.append(name)
    return grown


def full_speed(shared, seconds):
    """Messages a second, all the way, with nothing held back."""
    shared.stop_at.value = time.time() + seconds
    run(shared)
    return shared.acked.value / seconds


def run(shared, between=lambda: None):
    processes = [multiprocessing.Process(target=f, args=(shared,))
                 for f in (produce, produce, consume, consume)]
    for process in processes:
        process.start()
    while any(p.is_alive() for p in processes):
        time.sleep(1)
        between()
    if any(p.exitcode for p in processes):
        sys.exit("soak: a process failed")


def write(directory, rows):
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/soak.csv", "w", newline="",
              encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    draw(f"{directory}/soak.svg", rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()

    with contextlib.closing(connect()) as connection:
        connection.cursor().execute(
            "CREATE EXTENSION queue; SELECT queue.create('soak')")
    full = full_speed(Shared(), 10)
    print(f"soak: full speed {full:,.0f} messages/s, half of it for "
          f"{options.seconds} s", flush=True)
    shared = Shared()
    shared.rate.value = full / 2 / 2        # of each of two producers
    shared.stop_at.value = time.time() + options.seconds
    sampler = Sampler(shared)
    rows = []
    every = max(1, options.seconds / 360)

    def between():
        now = time.time() - sampler.began
        # a third of the time nobody consumes, then what is there is drained
        shared.consume.value = now % PERIOD > PERIOD / 3
        if not rows or now - rows[-1][0] >= every:
            rows.append(sampler.sample())

    run(shared, between)
    rows.append(sampler.sample())
    write(options.out, rows)
    sent, acked = shared.sent.value, shared.acked.value
    messages = max(1, sent)
    print(f"soak: {sent} sent, {acked} acked; "
          f"{(rows[-1][-1] - rows[0][-1]) / messages:.0f} bytes of WAL and "
          f"{(rows[-1][-2] - rows[0][-2]) / messages:.4f} transaction ids "
          "a message")
    grown = judge(rows)
    if sent != acked:
        grown.append(f"{sent - acked} messages were not acked")
    print("soak: " + ("flat" if not grown else "GREW: " + ", ".join(grown)))
    sys.exit(1 if grown else 0)


if __name__ == "__main__":
    main()
