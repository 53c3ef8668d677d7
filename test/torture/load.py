"""Producers and consumers that write down all they do.

A line of a log is one event or, with "us", one for each message of a call;
"each" has what differs between them.  See checker.py for the events.
"""

import json
import random
import time

import psycopg2

# What the queues of a run are made with, and what the checker knows of it.
# A property that this version refuses leaves its queue out.
QUEUES = {
    "work": ({}, {}),
    "graves": ({}, {}),
    "mortal": ({"max_attempts": 3, "dead_letter": "graves"},
               {"max_attempts": 3}),
    "dead": ({"max_attempts": 2}, {"max_attempts": 2}),
    "short": ({"ttl": "2 s"}, {"ttl": 2}),
    "line": ({"kind": "fifo"}, {"fifo": True}),
    "ranks": ({}, {}),
    "once": ({"dedup_window": "1 h"}, {"dedup_window": 3600}),
    "small": ({"max_messages": 300}, {"max_messages": 300}),
    "narrow": ({"max_in_flight": 20}, {"max_in_flight": 20}),
    "solo": ({"single_active": True}, {"single_active": True}),
    "fair": ({"fair": True}, {}),
    "kept": ({"archive": "1 h"}, {}),
    # messages may vanish here by purge and drop
    "scrap": ({}, {}),
}

# Where producers send to, and how often.
WEIGHTS = {"work": 12, "graves": 0}


def weights(names):
    return [WEIGHTS.get(name, 2) for name in names]


class Session:
    """A connection that comes back, and the history of what it did."""

    def __init__(self, name, seed, stop_at, path, queues, speed=1,
                 batch=200):
        self.name = name
        self.random = random.Random(f"{seed}/{name}")
        self.stop_at = stop_at
        self.path = path
        self.queues = queues
        self.speed = speed
        self.batch = batch
        self.connection = None
        self.heard = 0
        self.sent = 0

    def note(self, op, t0, t=None, **event):
        event.update(op=op, t0=t0, t=time.monotonic() if t is None else t)
        self.log.write(json.dumps(event) + "\n")

    def connect(self):
        while self.connection is None and time.monotonic() < self.stop_at + 60:
            try:
                self.connection = psycopg2.connect("dbname=postgres",
                                                   connect_timeout=10)
            except psycopg2.Error:
                time.sleep(0.05)
        return self.connection

    def forget(self):
        if self.connection is not None:
            # the server may have ended it since it was last heard of
            self.note("gone", self.heard, by=self.name)
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
        self.connection = None

    def run(self):
        with open(self.path, "w", buffering=1, encoding="utf-8") as self.log:
            while time.monotonic() < self.stop_at:
                if self.connect() is None:
                    return
                try:
                    with self.connection.cursor() as cursor:
                        self.step(cursor)
                    self.heard = time.monotonic()
                except psycopg2.Error:
                    self.recover()
            self.forget()

    def recover(self):
        try:
            if self.connection is not None:
                self.connection.rollback()
        except psycopg2.Error:
            self.forget()

    def commit(self):
        """ok, fail or maybe: a connection that dies may have committed."""
        try:
            self.connection.commit()
            return "ok"
        except psycopg2.Error:
            # A server that is told to stop says so before it commits or not
            # at all; nothing here tells the two apart.
            self.forget()
            return "maybe"

    def pick_queue(self):
        return self.random.choices(self.queues, weights(self.queues))[0]


class Producer(Session):
    def step(self, cursor):
        queue = self.pick_queue()
        kind = self.random.random()
        n = 1 if kind < 0.5 else self.random.randint(1, self.batch)
        names = [f"{queue}/{self.name}/{self.sent + i}" for i in range(n)]
        self.sent += n
        known, each, options = self.options(queue, n)
        size = self.random.choice([0, 20, 20, 20, 500, 5000])
        options["bodies"] = [json.dumps({"u": u, "x": "x" * size})
                             for u in names]
        t0 = time.monotonic()
        result = "fail"
        try:
            if kind < 0.1:
                cursor.execute("SAVEPOINT s")
            cursor.execute(self.sql(options), {"queue": queue, **options})
            if kind < 0.05:
                cursor.execute("ROLLBACK TO s")
                self.connection.commit()
            elif 0.1 <= kind < 0.2:
                self.connection.rollback()
            elif 0.2 <= kind < 0.25:
                result = self.prepare(cursor)
            else:
                result = self.commit()
        finally:
            self.note("send", t0, us=names, q=queue, result=result,
                      tx=names[0], each={"i": list(range(n)), **each},
                      **known)
        time.sleep(self.random.random() * 0.2 / self.speed)

    TYPES = {"bodies": "::jsonb[]", "keys": "::text[]", "headers": "::jsonb[]",
             "dedup_ids": "::text[]"}

    def sql(self, options):
        given = ", ".join(f"{name} => %({name})s{self.TYPES.get(name, '')}"
                          for name in options)
        return f"SELECT queue.enqueue_batch(%(queue)s, {given})"

    def options(self, queue, n):
        """What is known of all messages, of each, and what to say."""
        known, each, options = {}, {}, {}
        if queue == "line":
            each["key"] = options["keys"] = [
                f"k{self.random.randint(1, 20)}" for _ in range(n)]
        elif queue == "fair":
            options["keys"] = [f"k{self.random.choice([1, 1, 1, 2, 3])}"
                               for _ in range(n)]
        elif queue == "ranks":
            options["priority"] = self.random.randint(0, 9)
        elif queue == "short":
            known["ttl"] = 2
        elif queue == "once":
            each["dedup"] = options["dedup_ids"] = [
                f"d{i}" for i in self.random.sample(range(20000), n)]
        if queue not in ("line", "short", "small"):
            delay = self.random.choice([None, None, None, 0.2, 1])
            if delay:
                known["delay"] = delay
                options["delay"] = f"{delay} s"
        return known, each, options

    def prepare(self, cursor):
        """Through PREPARE TRANSACTION; whoever finds it left commits it."""
        name = f"{self.name}-{self.sent}"
        try:
            cursor.execute("PREPARE TRANSACTION %s", (name,))
            self.connection.autocommit = True
            time.sleep(self.random.random() * 0.3)
            with self.connection.cursor() as second:
                second.execute("COMMIT PREPARED %s", (name,))
            self.connection.autocommit = False
            return "ok"
        except psycopg2.Error:
            self.forget()
            return "maybe"


class Consumer(Session):
    def step(self, cursor):
        queue = self.pick_queue()
        if self.random.random() < 0.2:
            self.pop(cursor, queue)
        else:
            self.lease(cursor, queue)

    def call(self, cursor, queue, t0, seconds, sql, *args):
        """What a claim returns; written down if nobody learns that."""
        try:
            cursor.execute(sql, args)
            return cursor.fetchall()
        except psycopg2.Error:
            self.note("unknown", t0, q=queue,
                      until=time.monotonic() + seconds)
            raise

    def pop(self, cursor, queue):
        t0 = time.monotonic()
        rows = self.call(cursor, queue, t0, 0,
                         "SELECT body->>'u', failures FROM queue.pop(%s, %s)",
                         queue, self.random.randint(1, self.batch // 2))
        result = "fail"
        try:
            if self.random.random() < 0.3:
                self.connection.rollback()
            else:
                result = self.commit()
        finally:
            if rows:
                self.note("pop", t0, q=queue, result=result,
                          us=[row[0] for row in rows],
                          each={"failures": [row[1] for row in rows]})

    def lease(self, cursor, queue):
        t0 = time.monotonic()
        seconds = self.random.choice([1, 2, 5])
        rows = self.call(
            cursor, queue, t0, seconds,
            "SELECT receipt, body->>'u', failures FROM queue.dequeue(%s, %s, "
            "make_interval(secs => %s), wait => %s)", queue,
            self.random.randint(1, self.batch), seconds,
            self.random.choice(["0", "0.1 s"]))
        if not rows:
            if self.random.random() < 0.1:
                self.note("empty", t0, q=queue)
            self.connection.commit()
            return
        names = [row[1] for row in rows]
        got = time.monotonic()
        self.note("claim", t0, t=got, q=queue, us=names, by=self.name,
                  until=t0 + seconds, each={"failures": [row[2] for row in
                                                         rows]})
        # An abort, by us or by a fault, ends the leases; the server may be
        # through with it before we know.
        if self.random.random() < 0.1:
            self.note("rollback", got, t=got + 1e-6, us=names)
            self.connection.rollback()
        elif self.commit() == "ok":
            self.settle(cursor, queue, rows)
        else:
            self.note("rollback", got, t=got + 1e-6, us=names)

    def settle(self, cursor, queue, rows):
        choice = self.random.random()
        if choice < 0.1 / self.speed:
            time.sleep(self.random.random() * 2)    # the lease may end
        if choice < 0.7:
            self.ack(cursor, queue, rows, roll_back=choice < 0.15)
        elif choice < 0.95:
            self.give_back(cursor, queue, rows)

    WAYS = [
        ("nack", "queue.nack(%(queue)s, r, '0.3 s')", {"delay": 0.3}),
        ("nack", "queue.nack(%(queue)s, r)", {}),
        ("release", "queue.release(%(queue)s, r)", {}),
        ("extend", "queue.extend(%(queue)s, r, '1 s')", {}),
        ("reject", "queue.reject(%(queue)s, r)", {})]

    def give_back(self, cursor, queue, rows):
        rejects = queue in ("mortal", "dead")
        kind, call, known = self.random.choice(
            self.WAYS if rejects else self.WAYS[:4])
        t0 = time.monotonic()
        # whether or not it is accepted, the lease may end from now on
        self.note("settle", t0, us=[row[1] for row in rows])
        cursor.execute(f"SELECT r, {call} FROM unnest(%(receipts)s::bigint[])"
                       " r", {"queue": queue,
                              "receipts": [row[0] for row in rows]})
        accepted = {receipt for receipt, ok in cursor.fetchall() if ok}
        if kind == "extend":
            known = {"until": t0 + 1}
        self.note("settled", t0, kind=kind, **known,
                  us=[row[1] for row in rows if row[0] in accepted])
        self.connection.commit()

    def ack(self, cursor, queue, rows, roll_back):
        t0 = time.monotonic()
        cursor.execute("SELECT r, queue.ack(%s, r) FROM unnest(%s::bigint[]) "
                       "r", (queue, [row[0] for row in rows]))
        accepted = {receipt for receipt, ok in cursor.fetchall() if ok}
        if roll_back:
            self.connection.rollback()
            return
        result = self.commit()
        self.note("ack", t0, result=result,
                  us=[row[1] for row in rows if row[0] in accepted])


class Mender(Session):
    """Moves messages about, where this version can."""

    def __init__(self, *args, functions=(), **more):
        super().__init__(*args, **more)
        self.functions = functions

    def step(self, cursor):
        time.sleep(self.random.uniform(0.2, 1.5) / self.speed)
        t0 = time.monotonic()
        if "redrive" in self.functions and "mortal" in self.queues:
            self.note("redrive", t0, t=t0, q="mortal")
            cursor.execute("SELECT queue.redrive('graves', max => %s)",
                           (self.random.choice([1, 50, None]),))
            self.end()
        if "move" in self.functions:
            cursor.execute("SELECT queue.move('ranks', 'work', max => %s)",
                           (self.random.randint(1, 50),))
            self.end()
        if "replay" in self.functions:
            # of nothing: copies would be duplicates to the checker
            cursor.execute("SELECT queue.replay('kept', now() + '1 h')")
            self.end()

    def end(self):
        if self.random.random() < 0.2:
            self.connection.rollback()
        else:
            self.commit()
            if self.connection is None:
                raise psycopg2.OperationalError("the connection died")
