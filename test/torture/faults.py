"""Faults, from a seed: one, or several at once.

Each fault is a method; what it says to the checker it writes to the log.
"""

import collections
import contextlib
import glob
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import time

import psycopg2

from server import children, query

# Leases live at most so long: a set clock is felt by those it met.
LONGEST_LEASE = 5

# Prepared transactions are left open for so long, since others wait for them
PREPARED_SECONDS = 20

# Without ready maps a claim reads the whole backlog, which grows meanwhile: for
# longer than this, next to nothing would be consumed.
LITTLE_MEMORY_SECONDS = 15


class Faults:
    def __init__(self, server, seed, log, points):
        self.server = server
        self.random = random.Random(f"{seed}/faults")
        self.log = log
        self.points = points
        self.counts = collections.Counter()
        self.kills = 0
        self.held = []
        self.finish_at = 0
        self.enough_at = None
        self.shim = None
        if os.environ.get("QUEUE_SHIM"):
            with open(os.environ["QUEUE_SHIM"], "r+b") as file:
                self.shim = mmap.mmap(file.fileno(), 16)

    # -- crashes ------------------------------------------------------------

    def kill_children_called(self, what):
        pids = query("SELECT pid FROM pg_stat_activity WHERE pid <> "
                     "pg_backend_pid() AND backend_type = %s", what)
        if pids:
            os.kill(self.random.choice(sorted(pids))[0], signal.SIGKILL)
            self.kills += 1
            time.sleep(0.2)

    def kill_backend(self):
        self.kill_children_called("client backend")

    def kill_worker(self):
        self.kill_children_called("queue worker")

    def kill_launcher(self):
        self.kill_children_called("queue launcher")

    def kill_postmaster(self):
        os.kill(self.server.pid(), signal.SIGKILL)
        self.kills += 1
        time.sleep(0.3)
        self.server.start()

    def kill_all(self):
        pid = self.server.pid()
        # so that it starts no more of them
        os.kill(pid, signal.SIGSTOP)
        for victim in children(pid) + [pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self.kills += 1
        self.server.start()

    def immediate_restart(self):
        self.server.stop("immediate")
        self.kills += 1
        self.server.start()

    def fast_restart(self):
        self.server.stop("fast")
        self.server.start()

    def kill_at_point(self):
        """The worker or somebody else, at a named place in the source."""
        point = self.random.choice(self.points)
        reached = f"{self.server.data}/queue.{point}.reached"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(reached)
        query(f"ALTER SYSTEM SET queue.debug_pause = '{point}=400'")
        query("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 2
        while not os.path.exists(reached) and time.monotonic() < deadline:
            time.sleep(0.02)
        if os.path.exists(reached):
            self.counts["reached " + point] += 1
        # whatever is there: of the worker's points, mostly the worker
        self.kill_children_called(self.random.choice(
            ["queue worker", "queue worker", "client backend"]))
        query("ALTER SYSTEM RESET queue.debug_pause")
        query("SELECT pg_reload_conf()")

    CRASHES = {kill_backend: 3, kill_worker: 2, kill_launcher: 1,
               kill_postmaster: 1, kill_all: 2, immediate_restart: 2,
               fast_restart: 1, kill_at_point: 3}

    # -- a standby takes over -----------------------------------------------

    def promote(self):
        """Build a standby under load, kill the server, let it take over.

        Asynchronous: what was answered since the standby was last seen to
        have everything may be lost.  Synchronous: nothing may.
        """
        synchronous = self.random.random() < 0.5
        standby = self.server.make_standby()
        if standby is None:
            return
        self.counts["promoted sync" if synchronous else
                    "promoted async"] += 1
        try:
            caught_up = self.server.wait_for_standby(synchronous)
            time.sleep(self.random.uniform(0.2, 1))
            if not synchronous:
                caught_up = self.server.wait_for_standby(False)
        except psycopg2.Error:
            caught_up = None
        pid = self.server.pid()
        for victim in [pid] + children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self.kills += 1
        if caught_up is None:
            self.server.start()
            shutil.rmtree(standby, ignore_errors=True)
            return
        self.server.take_over(standby)
        if not synchronous:
            self.log.append({"op": "failover", "t0": caught_up,
                             "t": time.monotonic()})

    CRASHES[promote] = 1

    # -- no room ------------------------------------------------------------

    def set_shim(self, offset, value):
        self.shim[offset:offset + len(value)] = value

    def full_disk(self):
        """For WAL, which ends in a PANIC, or for data, which does not."""
        wal = self.random.random() < 0.4
        self.counts["full: WAL" if wal else "full: data"] += 1
        self.set_shim(8 if wal else 9, b"\1")
        time.sleep(self.random.uniform(0.5, 1.5))
        self.set_shim(8 if wal else 9, b"\0")
        time.sleep(0.2)
        if not self.server.is_up():
            self.kills += 1
            self.server.start()

    CRASHES[full_disk] = 2

    def little_memory(self):
        """Restart with shared memory for next to nothing, for a while."""
        for name, value in (("map_memory", "64kB"), ("max_queues", "3"),
                            ("max_segments", "4")):
            query(f"ALTER SYSTEM SET queue.{name} = '{value}'")
        self.enough_at = time.monotonic() + LITTLE_MEMORY_SECONDS
        self.server.stop("immediate")
        self.kills += 1
        self.server.start()

    CRASHES[little_memory] = 1

    def enough_memory(self):
        """What has no place in shared memory may not be drained."""
        for name in ("map_memory", "max_queues", "max_segments"):
            query(f"ALTER SYSTEM RESET queue.{name}")
        self.enough_at = None
        self.server.stop("fast")
        self.server.start()

    def no_locks(self):
        with contextlib.closing(self.server.connect()) as connection:
            connection.autocommit = False
            cursor = connection.cursor()
            with contextlib.suppress(psycopg2.Error):
                cursor.execute("SAVEPOINT s")
                cursor.execute("SELECT pg_advisory_xact_lock(i) FROM "
                               "generate_series(1, 100000) i")
            with contextlib.suppress(psycopg2.Error):
                # as many as fit, so that others find none
                cursor.execute("ROLLBACK TO s")
                cursor.execute("""DO $$ BEGIN FOR i IN 1 .. 100000 LOOP
                    BEGIN PERFORM pg_advisory_lock(i);
                    EXCEPTION WHEN OTHERS THEN EXIT; END; END LOOP; END $$""")
            time.sleep(0.5)

    def no_connections(self):
        taken = []
        with contextlib.suppress(psycopg2.Error):
            for _ in range(200):
                taken.append(psycopg2.connect("dbname=postgres"))
        time.sleep(0.3)
        for connection in taken:
            connection.close()

    # -- time ---------------------------------------------------------------

    def set_clock(self):
        t0 = time.monotonic()
        step = self.random.choice([-3, -1, 1, 3, 6])
        self.set_shim(0, struct.pack("q", step * 1000000))
        time.sleep(self.random.uniform(0.5, 2))
        self.set_shim(0, struct.pack("q", 0))
        self.log.append({"op": "clock", "t0": t0,
                         "t": time.monotonic() + abs(step) + LONGEST_LEASE})

    # -- from outside -------------------------------------------------------

    def terminate(self):
        query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
              "WHERE pid <> pg_backend_pid() AND backend_type IN "
              "('client backend', 'queue worker') "
              "ORDER BY random() LIMIT 2")

    def cancel(self):
        query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
              "WHERE pid <> pg_backend_pid() AND backend_type = "
              "'client backend' ORDER BY random() LIMIT 3")

    def table(self):
        names = query("SELECT relation::text FROM queue.segments")
        return self.random.choice(sorted(names))[0]

    def vacuum_freeze(self):
        query(f"VACUUM (FREEZE) {self.table()}")

    def vacuum_full(self):
        query(f"VACUUM FULL {self.table()}")

    def hold(self, *statements):
        """A session that sits in a transaction, until the next one does."""
        while self.held:
            self.held.pop().close()
        connection = self.server.connect()
        connection.autocommit = False
        connection.set_session("REPEATABLE READ")
        self.held.append(connection)
        for statement in statements:
            connection.cursor().execute(statement)

    def hold_snapshot(self):
        self.hold("SELECT 1")

    def dead_listener(self):
        """Its transaction keeps what it does not read in the queue."""
        with contextlib.closing(self.server.connect()) as connection:
            connection.cursor().execute('LISTEN "queue.work"')
            self.hold('LISTEN "queue.work"', "SELECT 1")

    def checkpoint(self):
        query("CHECKPOINT")

    def alter(self):
        query("SELECT queue.alter('work', visibility_timeout => "
              "make_interval(secs => %s), max_message_bytes => %s)",
              self.random.randint(1, 60), 10 ** 6)

    def purge(self):
        self.log.append({"op": "purge", "q": "scrap",
                         "t0": time.monotonic(), "t": time.monotonic()})
        query("SELECT queue.purge('scrap')")

    def drop(self):
        self.log.append({"op": "purge", "q": "scrap",
                         "t0": time.monotonic(), "t": time.monotonic()})
        query("SELECT queue.drop('scrap', true)")
        time.sleep(self.random.random() * 0.5)
        query("SELECT queue.create('scrap')")

    def pause(self):
        query("SELECT queue.pause('work')")
        time.sleep(self.random.random())
        query("SELECT queue.resume('work')")

    def dump(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["pg_dump", "-f", "/dev/null", "postgres"],
                           check=False, stderr=subprocess.DEVNULL, timeout=60)

    def create_database(self):
        """Refused while the load is connected; the worker gives way."""
        for sql in ("CREATE DATABASE copy TEMPLATE postgres",
                    "DROP DATABASE IF EXISTS copy WITH (FORCE)"):
            with contextlib.suppress(psycopg2.Error):
                query(sql)

    def update_extension(self):
        query("ALTER EXTENSION queue UPDATE")

    def finish_prepared(self):
        for (gid,) in query("SELECT gid FROM pg_prepared_xacts "
                            "WHERE prepared < now() - interval '1 s'"):
            with contextlib.suppress(psycopg2.Error):
                query(f"COMMIT PREPARED '{gid}'")

    OTHERS = {terminate: 4, cancel: 4, vacuum_freeze: 2, vacuum_full: 2,
              hold_snapshot: 2, dead_listener: 1, checkpoint: 1, alter: 1,
              purge: 1, drop: 1, pause: 1, dump: 1, create_database: 1,
              update_extension: 1, finish_prepared: 2, no_locks: 1,
              no_connections: 1, set_clock: 2}

    # -- all of it ----------------------------------------------------------

    def strike(self):
        """One fault, or up to three at once."""
        if time.monotonic() > self.finish_at:
            self.finish_at = time.monotonic() + PREPARED_SECONDS
            self.run(Faults.finish_prepared, False)
        if self.enough_at and time.monotonic() > self.enough_at:
            self.run(Faults.enough_memory, True)
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            crashes = self.random.random() < 0.45
            faults = self.CRASHES if crashes else self.OTHERS
            names = list(faults)
            fault = self.random.choices(names, faults.values())[0]
            if self.shim is None and fault in (Faults.full_disk,
                                               Faults.set_clock):
                continue
            self.run(fault, crashes)

    def run(self, fault, crashes):
        t0 = time.monotonic()
        started = self.server.started_at()
        self.counts[fault.__name__] += 1
        try:
            fault(self)
        except psycopg2.Error:
            pass
        # a crash is felt until the server answers again
        again = self.server.started_at()
        if crashes or again != started:
            self.log.append({"op": "crash", "t0": t0, "t": time.monotonic()})

    def end(self):
        while self.held:
            self.held.pop().close()
        if self.shim is not None:
            self.set_shim(0, b"\0" * 16)
        if self.counts["little_memory"]:
            self.run(Faults.enough_memory, True)


def point_names(directory):
    """The names of the places that the sources have."""
    names = set()
    for path in glob.glob(f"{directory}/*.c"):
        with open(path, encoding="utf-8") as file:
            for part in file.read().split('QUEUE_DEBUG_POINT("')[1:]:
                names.add(part.split('"')[0])
    return sorted(names)
