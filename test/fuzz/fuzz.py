"""Random sequences of calls in several sessions, from a printed seed.

Fails when the server crashes or fails an assertion, when anything reports an
internal error (class XX) or a leak, and when a call does not come back.  Runs
against the cluster of PGDATA as its owner; run.sh prepares it.  What the
sessions say depends on the seed alone; how they meet does not.
"""

import argparse
import collections
import contextlib
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time

import psycopg2
import psycopg2.extensions

import grammar

HANG = 40
SESSIONS = 4

FUNCTIONS = """
    SELECT 'queue.' || p.proname, p.prokind::text, p.proretset,
        p.pronargs - p.pronargdefaults,
        ARRAY(SELECT p.proargnames[i] FROM generate_series(1, p.pronargs) i),
        ARRAY(SELECT t.typname::text
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY a(type, i)
            JOIN pg_type t ON t.oid = a.type ORDER BY i)
    FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
        AND d.refclassid = 'pg_extension'::regclass
        AND d.refobjid = (SELECT oid FROM pg_extension
            WHERE extname = 'queue')
        AND p.prorettype <> 'trigger'::regtype
    ORDER BY 1, p.pronargs"""


def connect(patience=60):
    deadline = time.monotonic() + patience
    while True:
        try:
            # not SET: DISCARD ALL would take it back, and a sender to a full
            # queue may wait for ever
            connection = psycopg2.connect(
                "dbname=postgres", options="-c statement_timeout=5s")
            connection.autocommit = True
            return connection
        except psycopg2.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def functions():
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(FUNCTIONS)
        return [dict(zip(("name", "kind", "set", "required", "names",
                          "types"), row)) for row in cursor.fetchall()]


class Session:
    """One connection that says what the grammar says."""

    def __init__(self, number, seed, stop_at, directory, known):
        self.number = number
        self.random = random.Random(f"{seed}/{number}")
        self.grammar = grammar.Grammar(self.random, known)
        self.stop_at = stop_at
        self.path = f"{directory}/session{number}.sql"
        self.busy = multiprocessing.Value("d", 0)
        self.connection = None
        self.states = collections.Counter()
        self.segments = []

    def run(self):
        with open(self.path, "w", buffering=1, encoding="utf-8") as self.log:
            while time.time() < self.stop_at:
                if self.connection is None:
                    self.connection = connect()
                try:
                    self.turn()
                except (psycopg2.OperationalError,
                        psycopg2.InterfaceError):
                    self.forget()
            self.forget()
            self.log.write("-- states "
                           + " ".join(f"{k}={v}" for k, v in
                                      sorted(self.states.items())) + "\n")

    def forget(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def turn(self):
        choice = self.random.random()
        if choice < 0.35:
            for sql in self.grammar.transaction():
                if self.failed() and not sql.startswith("ROLLBACK"):
                    continue
                if sql == "PREPARE":
                    self.prepare()
                else:
                    self.say(sql)
            if self.connection.info.transaction_status:
                self.say("ROLLBACK")
        elif choice < 0.6:
            self.say(self.grammar.usual())
        elif choice < 0.85:
            self.say(self.grammar.sql_of(*self.grammar.call()))
        elif choice < 0.93:
            self.say(self.grammar.at_once())
        elif choice < 0.97:
            self.say(self.grammar.aside())
        elif choice < 0.99:
            rows = self.say("SELECT relation::text FROM queue.segment_def")
            if rows:
                self.say(self.grammar.on_segment(
                    self.random.choice(sorted(rows))[0]))
        else:
            for (gid,) in self.say("SELECT gid FROM pg_prepared_xacts") or []:
                self.say(self.random.choice(["COMMIT", "ROLLBACK"])
                         + f" PREPARED '{gid}'")

    def failed(self):
        """In a failed transaction, where most statements are refused?"""
        return (self.connection.info.transaction_status
                == psycopg2.extensions.TRANSACTION_STATUS_INERROR
                and self.random.random() < 0.95)

    def prepare(self):
        name = f"f{self.number}_{self.grammar.prepared}"
        self.say(f"PREPARE TRANSACTION '{name}'")
        if self.random.random() < 0.9:
            self.say(self.random.choice(["COMMIT", "ROLLBACK"])
                     + f" PREPARED '{name}'")

    def say(self, sql):
        self.log.write(sql + ";\n")
        self.busy.value = time.time()
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                rows = cursor.fetchall() if cursor.description else []
                if cursor.description:
                    self.remember(cursor.description, rows)
                return rows
        except psycopg2.Error as error:
            state = error.pgcode or "none"
            self.states[state] += 1
            self.log.write(f"-- {state}\n")
            if self.connection.closed:
                raise psycopg2.InterfaceError("closed") from None
            return []
        finally:
            self.busy.value = 0

    def remember(self, description, rows):
        names = [column.name for column in description]
        if "receipt" not in names:
            return
        receipt = names.index("receipt")
        id_ = names.index("id") if "id" in names else None
        for row in rows:
            self.grammar.pool.saw(row[id_] if id_ is not None else None,
                                  row[receipt])


class Faults:
    """What the log says that must not be."""

    FATAL = re.compile(
        r"PANIC: |TRAP: |terminated by signal| (XX\d\d\d) |"
        r"(?:reference|refcount|snapshot|cache) .*leak|you don't own a lock|"
        r"not closed|allocation in a transaction callback")

    def __init__(self, path):
        self.path = path

    def found(self):
        with open(self.path, encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")
        found = []
        for n, line in enumerate(lines):
            if self.FATAL.search(line):
                text = "\n".join(lines[n:n + 4])
                found.append(text[:1000])
        return found


def check_end():
    """Everything still works, and nothing is damaged or stuck."""
    complaints = []
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT gid FROM pg_prepared_xacts")
        for (gid,) in cursor.fetchall():
            cursor.execute(f"ROLLBACK PREPARED '{gid}'")
        cursor.execute("SET statement_timeout = '20 s'")
        cursor.execute("SELECT queue.create('at_the_end')")
        cursor.execute("SELECT queue.enqueue('at_the_end', '1')")
        cursor.execute("SELECT count(queue.ack('at_the_end', receipt)) "
                       "FROM queue.dequeue('at_the_end', wait => '5 s')")
        if cursor.fetchone()[0] != 1:
            complaints.append("a new queue does not work")
        cursor.execute("SELECT s.relation::text FROM queue.segment_def s "
                       "JOIN pg_class c ON c.oid = s.relation")
        for (segment,) in cursor.fetchall():
            cursor.execute("SELECT count(*) FROM verify_heapam(%s)",
                           (segment,))
            if cursor.fetchone()[0]:
                complaints.append(f"{segment} is damaged")
    return complaints


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", default=None)
    parser.add_argument("--log", required=True)
    options = parser.parse_args()
    seed = options.seed or str(random.randrange(10 ** 6))
    print(f"fuzz: seed {seed}, {options.seconds} s", flush=True)

    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION queue; CREATE EXTENSION amcheck; "
                       "CREATE ROLE fuzz_role; "
                       "SELECT queue.create('a'), queue.create('b'); "
                       "SELECT queue.grant_access('a', 'fuzz_role', 'send')")
    directory = tempfile.mkdtemp()
    stop_at = time.time() + options.seconds
    sessions = [Session(i, seed, stop_at, directory, functions())
                for i in range(SESSIONS)]
    processes = [multiprocessing.Process(target=s.run) for s in sessions]
    for process in processes:
        process.start()

    faults = Faults(options.log)
    complaints = []
    while any(p.is_alive() for p in processes):
        time.sleep(0.5)
        for session in sessions:
            since = session.busy.value
            if since and time.time() - since > HANG:
                complaints.append(f"session {session.number} hangs")
        if time.time() > stop_at + HANG:
            complaints.append("a session does not end")
        if faults.found() or complaints:
            break
    for process in processes:
        if process.exitcode:
            complaints.append("a session of the fuzzer itself failed")
        process.terminate()
        process.join()
    complaints += faults.found()
    if not complaints:
        complaints += check_end()
        complaints += faults.found()

    for complaint in complaints[:10]:
        print(f"FAILED: {complaint}")
    states = collections.Counter()
    statements = 0
    for session in sessions:
        with open(session.path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        statements += sum(1 for line in lines if not line.startswith("--"))
        states.update(line[3:] for line in lines
                      if re.fullmatch(r"-- \w{4,5}", line))
        if complaints:
            print(f"-- last of session {session.number}:")
            print("\n".join(line[:400] for line in lines[-25:]))
    print(f"fuzz: {statements} statements,",
          ", ".join(f"{k} {v}" for k, v in states.most_common(30)))
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
