"""Producers and consumers that write down all they do."""

import json
import random
import time

import psycopg2

QUEUE = "torture"


class Session:
    """A connection that comes back, and the history of what it did."""

    def __init__(self, name, seed, stop_at, path):
        self.name = name
        self.random = random.Random(f"{seed}/{name}")
        self.stop_at = stop_at
        self.log = open(path, "w", buffering=1)
        self.connection = None
        self.sent = 0

    def note(self, op, t0, **event):
        event.update(op=op, t0=t0, t=time.monotonic())
        self.log.write(json.dumps(event) + "\n")

    def connect(self):
        while self.connection is None and time.monotonic() < self.stop_at + 60:
            try:
                self.connection = psycopg2.connect("dbname=postgres")
            except psycopg2.Error:
                time.sleep(0.05)
        return self.connection

    def forget(self):
        if self.connection is not None:
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
        self.connection = None

    def run(self):
        while time.monotonic() < self.stop_at:
            if self.connect() is None:
                return
            try:
                with self.connection.cursor() as cursor:
                    self.step(cursor)
            except psycopg2.Error:
                self.recover()
        self.forget()

    def recover(self):
        try:
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


class Producer(Session):
    def step(self, cursor):
        t0 = time.monotonic()
        kind = self.random.random()
        names = [f"{self.name}/{self.sent + i}"
                 for i in range(1 if kind < 0.5 else
                                self.random.randint(1, 200))]
        self.sent += len(names)
        size = self.random.choice([0, 20, 20, 20, 500, 5000])
        bodies = [json.dumps({"u": u, "x": "x" * size}) for u in names]
        delay = self.random.choice([None, None, None, "0.2 s", "1 s"])
        result = "fail"
        try:
            if kind < 0.1:
                cursor.execute("SAVEPOINT s")
            cursor.execute("SELECT queue.enqueue_batch(%s, %s::jsonb[], "
                           "delay => %s)", (QUEUE, bodies, delay))
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
            for u in names:
                self.note("send", t0, u=u, result=result)
        time.sleep(self.random.random() * 0.2)

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
        if self.random.random() < 0.2:
            self.pop(cursor)
        else:
            self.lease(cursor)

    def pop(self, cursor):
        t0 = time.monotonic()
        cursor.execute("SELECT body->>'u' FROM queue.pop(%s, %s)",
                       (QUEUE, self.random.randint(1, 20)))
        names = [row[0] for row in cursor.fetchall()]
        if self.random.random() < 0.3:
            self.connection.rollback()
            result = "fail"
        else:
            result = self.commit()
        for u in names:
            self.note("pop", t0, u=u, result=result)

    def lease(self, cursor):
        t0 = time.monotonic()
        seconds = self.random.choice([1, 2, 5])
        abort = self.random.random() < 0.1
        cursor.execute(
            "SELECT receipt, body->>'u' FROM queue.dequeue(%s, %s, "
            "make_interval(secs => %s), wait => %s)",
            (QUEUE, self.random.randint(1, 50), seconds,
             self.random.choice(["0", "0.1 s"])))
        rows = cursor.fetchall()
        if not abort:
            self.connection.commit()
        for _, u in rows:
            self.note("claim", t0, u=u,
                      until=t0 if abort else t0 + seconds)
        if abort:
            self.connection.rollback()
        elif rows:
            self.settle(cursor, rows)

    def settle(self, cursor, rows):
        choice = self.random.random()
        receipts = [receipt for receipt, _ in rows]
        t0 = time.monotonic()
        if choice < 0.1:
            time.sleep(self.random.random() * 2)    # the lease may end
        if choice < 0.7:
            self.ack(cursor, rows, roll_back=choice < 0.15)
            return
        if choice < 0.95:
            sql = self.random.choice([
                "SELECT queue.nack_batch(%s, %s, '0.1 s')",
                "SELECT queue.nack_batch(%s, %s)",
                "SELECT queue.release_batch(%s, %s)",
                "SELECT queue.extend_batch(%s, %s, '1 s')"])
            # whether or not it is accepted, the lease ends early from now on
            for _, u in rows:
                self.note("settle", t0, u=u)
            cursor.execute(sql, (QUEUE, receipts))
            self.connection.commit()

    def ack(self, cursor, rows, roll_back):
        t0 = time.monotonic()
        cursor.execute("SELECT r, queue.ack(%s, r) FROM unnest(%s::bigint[]) "
                       "r", (QUEUE, [receipt for receipt, _ in rows]))
        accepted = {receipt for receipt, ok in cursor.fetchall() if ok}
        if roll_back:
            self.connection.rollback()
            return
        result = self.commit()
        for receipt, u in rows:
            if receipt in accepted:
                self.note("ack", t0, u=u, result=result)
