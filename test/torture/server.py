"""The server under torture, which may be another one after a failover."""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import time

import psycopg2


def connect(patience=90):
    """A connection, waiting for a server that recovers."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection = psycopg2.connect("dbname=postgres",
                                          connect_timeout=10)
            connection.autocommit = True
            return connection
        except psycopg2.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def query(sql, *args):
    with contextlib.closing(connect()) as connection:
        cursor = connection.cursor()
        # what waits for a prepared transaction makes all others wait
        cursor.execute("SET statement_timeout = '60 s'; "
                       "SET lock_timeout = '2 s'")
        cursor.execute(sql, args or None)
        return cursor.fetchall() if cursor.description else []


def children(parent):
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            if int(text.rpartition(")")[2].split()[1]) == parent:
                found.append(int(text.split()[0]))
    return found


class Server:
    def __init__(self, data):
        self.data = data
        self.log = data + ".log"
        self.number = 0

    connect = staticmethod(connect)

    def pg_ctl(self, *args, data=None):
        return subprocess.run(
            ["pg_ctl", "-D", data or self.data, "-w", "-s", "-t", "60", "-l",
             self.log, *args], check=False,
            stderr=subprocess.DEVNULL).returncode

    def pid(self):
        with open(f"{self.data}/postmaster.pid", encoding="ascii") as file:
            return int(file.readline())

    def is_up(self):
        return subprocess.run(["pg_isready", "-q", "-t", "5"],
                              check=False).returncode == 0

    def start(self):
        # what is left of a killed server goes within moments, but for who
        # waits for a lock of a killed process
        for attempt in range(300):
            if self.is_up():
                return
            if self.pg_ctl("start") != 0 and attempt % 50 == 49:
                self.kill_orphans()
            time.sleep(0.1)
        raise RuntimeError("the server does not start again")

    def kill_orphans(self):
        """Those of a server whose postmaster is gone."""
        for path in glob.glob("/proc/[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if os.readlink(path) == self.data:
                    os.kill(int(path.split("/")[2]), signal.SIGKILL)

    def stop(self, mode):
        self.pg_ctl("-m", mode, "stop")

    def started_at(self):
        """Changes with each crash, also of one that restarts by itself."""
        return query("SELECT pg_postmaster_start_time(), "
                     "(SELECT backend_start FROM pg_stat_activity "
                     "WHERE backend_type = 'checkpointer')")[0]

    # -- standby ------------------------------------------------------------

    def make_standby(self):
        self.number += 1
        standby = f"{self.data.rpartition('/')[0]}/standby{self.number}"
        try:
            subprocess.run(
                ["pg_basebackup", "-D", standby, "-R", "-c", "fast", "-X",
                 "stream", "--no-sync"], check=True,
                stderr=subprocess.DEVNULL, timeout=120)
        except subprocess.SubprocessError:
            shutil.rmtree(standby, ignore_errors=True)
            return None
        port = 1 + int(os.environ["PGPORT"])
        with open(f"{standby}/postgresql.conf", "a",
                  encoding="utf-8") as file:
            file.write(f"\nport = {port}\nhot_standby = on\n")
        if self.pg_ctl("start", data=standby) != 0:
            shutil.rmtree(standby, ignore_errors=True)
            return None
        return standby

    def wait_for_standby(self, synchronous):
        """The moment up to which it surely has everything, or None."""
        if synchronous:
            query("ALTER SYSTEM SET synchronous_standby_names = '*'")
            query("SELECT pg_reload_conf()")
        began = time.monotonic()
        while time.monotonic() < began + 20:
            t0 = time.monotonic()
            # the position goes first: what was answered before t0 lies below
            position = query("SELECT pg_current_wal_insert_lsn()")[0][0]
            for _ in range(50):
                rows = query("SELECT flush_lsn >= %s::pg_lsn AND (NOT %s OR "
                             "sync_state = 'sync') "
                             "FROM pg_stat_replication WHERE state = "
                             "'streaming'", position, synchronous)
                if rows and rows[0][0]:
                    return t0
                time.sleep(0.05)
        return None

    def take_over(self, standby):
        """The standby becomes the server, under the old one's address."""
        self.pg_ctl("-m", "fast", "stop", data=standby)
        old, self.data = self.data, standby
        port = os.environ["PGPORT"]
        with open(f"{standby}/postgresql.conf", "a",
                  encoding="utf-8") as file:
            file.write(f"\nport = {port}\n")
        for _ in range(100):
            if self.pg_ctl("start") == 0:
                break
            time.sleep(0.1)
        self.pg_ctl("promote")
        shutil.rmtree(old, ignore_errors=True)
        os.environ["PGDATA"] = standby
