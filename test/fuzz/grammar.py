"""Random statements about queues, from a seed.

Functions and their parameters come from pg_proc; what is worth saying as a
value comes from the parameter's name and type.
"""

import json

NAMES = ["a", "b", "c", "d", "e", 'odd "x" \'y\'', "fifo"]
TOPICS = ["t1", "t2"]
KEYS = ["k1", "k2", "k3", ""]

# What a parameter of this name may be given, good and bad.
WORDS = {
    "kind": ["work", "work", "fifo", "stream", "topic", "direct", "hash"],
    "retry_backoff": ["none", "linear", "exponential", "x"],
    "overflow": ["reject", "drop_oldest", "block"],
    "persistence": ["logged", "logged", "unlogged"],
    "privilege": ["send", "receive", "browse", "manage"],
    "state": ["ready", "delayed", "leased", "dead", "x"],
    "start": ["latest", "earliest", "0", "5", "now"],
    "pattern": ["#", "a.*", "*.b.#", "a", "a..b"],
    "routing_key": ["a", "a.b", "a.b.c", ""],
    "cron": ["* * * * *", "0 0 31 2 *", "x"],
    "timezone": ["UTC", "Europe/Berlin", "x"],
    "consumer_group": ["g1", "g2"],
    "dedup_id": ["d1", "d2", "d3", "d4"],
    "key": KEYS,
    "reason": ["because", ""],
    "comment": ["text", ""],
}

QUEUE_PARAMETERS = {"queue", "queues", "name", "source", "target",
                    "dead_letter", "dead_letter_queue", "stream"}


# Most calls would find nothing any more.
RARE = {"queue.drop", "queue.drop_topic", "queue.pause", "queue.purge",
        "queue.revoke_access"}


class Pool:
    """What the session has seen and may use again."""

    def __init__(self):
        self.receipts = []
        self.ids = []

    def saw(self, id_, receipt):
        if receipt is not None:
            self.receipts.append(receipt)
            del self.receipts[:-200]
        if id_ is not None:
            self.ids.append(id_)
            del self.ids[:-50]


class Grammar:
    def __init__(self, random, functions):
        self.random = random
        self.functions = functions
        self.pool = Pool()
        self.prepared = 0
        self.depth = 0

    # -- values -------------------------------------------------------------

    def text(self, value):
        return "'" + value.replace("'", "''") + "'"

    def value(self, name, type_):
        """An SQL expression, mostly a sensible one."""
        if self.random.random() < 0.03:
            return "NULL"
        if type_.startswith("_"):
            return self.array(name, type_[1:])
        method = getattr(self, "a_" + type_, None)
        return method(name) if method else "NULL"

    def array(self, name, element):
        choice = self.random.random()
        if name == "receipts" and choice < 0.8:
            return "ARRAY[" + ",".join(
                self.receipt() for _ in range(self.random.randint(1, 20))
            ) + "]::bigint[]"
        type_ = "queue.message" if element == "message" else element
        if choice < 0.03:
            return f"'{{}}'::{type_}[]"
        if choice < 0.05:
            return f"array_fill(NULL::{type_}, ARRAY[3], ARRAY[-7])"
        n = self.random.choice([1, 2, 3, 10, 100])
        if name == "queues":
            n = self.random.randint(1, 5)
        return "ARRAY[" + ",".join(self.value(name.rstrip("s") if
                                              name.endswith("s") else name,
                                              element)
                                   for _ in range(n)) + f"]::{type_}[]"

    def receipt(self):
        if self.pool.receipts and self.random.random() < 0.9:
            receipt = self.random.choice(self.pool.receipts)
            if self.random.random() < 0.05:
                receipt ^= 1 << self.random.randrange(62)
            return f"({receipt})"
        return f"({self.random.getrandbits(63)})"

    def queue(self):
        return self.text(self.random.choice(NAMES))

    def a_text(self, name):
        if name in ("topic",):
            return self.text(self.random.choice(TOPICS))
        if name in QUEUE_PARAMETERS:
            return self.queue()
        if name in WORDS:
            return self.text(self.random.choice(WORDS[name]))
        return self.text(self.random.choice(["", "x", "y" * 300, "1"]))

    def a_int8(self, name):
        if name == "receipt":
            return self.receipt()
        if name == "id" and self.pool.ids:
            return str(self.random.choice(self.pool.ids))
        return self.random.choice(["1", "2", "5", "50", "1000", "0", "(-1)",
                                   "9223372036854775807"])

    def a_int4(self, name):
        if name == "priority":
            return str(self.random.choice([0, 0, 0, 1, 5, 9, 10]))
        return self.random.choice(["1", "1", "2", "3", "10", "100", "10000",
                                   "0", "(-1)", "2147483647"])

    def a_bool(self, _):
        return self.random.choice(["true", "false"])

    def a_interval(self, name):
        if name in ("wait", "timeout"):
            return self.text(self.random.choice(
                ["0", "0", "10 ms", "100 ms", "1 s"]))
        return self.text(self.random.choice(
            ["0", "1 ms", "50 ms", "1 s", "10 s", "10 s", "1 h", "-1 s",
             "100 years"]))

    def a_timestamptz(self, _):
        return self.random.choice(
            ["now()", "now() + '1 s'", "now() - '1 d'::interval",
             "'infinity'", "'-infinity'"])

    def a_jsonb(self, name):
        if name in ("headers", "filter", "arguments"):
            return self.text(self.random.choice(
                ['{}', '{"a": 1}', '{"a": 2}', '{"a": 1, "b": [1, 2]}',
                 '{"x-death": 5}', '[]', '1']))
        size = self.random.choice([0, 5, 100, 100, 3000, 20000])
        if size == 20000:
            return ("to_jsonb((SELECT string_agg(md5(random()::text), '') "
                    "FROM generate_series(1, 500)))")
        return self.text(json.dumps({"u": "x" * size}))

    def a_bytea(self, _):
        return self.random.choice([r"'\x00ff'", "''",
                                   "decode(repeat('ab', 5000), 'hex')"])

    def a_regrole(self, _):
        return self.text(self.random.choice(
            ["fuzz_role", "postgres", "pg_monitor"]))

    def a_message(self, _):
        return ("ROW(1, 1, NULL, NULL, NULL, NULL, 0, 1, 0, now(), now(), "
                "NULL)::queue.message")

    # -- statements ---------------------------------------------------------

    def call(self, name=None):
        """(sql, does it return messages?)"""
        if name is None:
            function = self.random.choice(self.functions)
            if (function["name"] in RARE and self.random.random() < 0.8):
                function = self.random.choice(self.functions)
        else:
            function = self.random.choice(
                [f for f in self.functions if f["name"] == name])
        arguments = []
        for i, (parameter, type_) in enumerate(
                zip(function["names"], function["types"])):
            optional = i >= function["required"]
            if optional and self.random.random() < (
                    0.9 if function["name"] in ("queue.create",
                                                "queue.alter") else 0.6):
                continue
            cast = type_[1:] + "[]" if type_.startswith("_") else type_
            if cast.startswith("message"):
                cast = "queue." + cast
            if cast == "char":
                cast = '"char"'
            arguments.append(f'"{parameter}" => CAST('
                             f'{self.value(parameter, type_)} AS {cast})')
        schema, name = function["name"].split(".")
        text = f'{schema}."{name}"({", ".join(arguments)})'
        return (text, function)

    def sql_of(self, text, function):
        if function["kind"] == "p":
            return f"CALL {text}"
        if not function["set"]:
            return self.random.choice([f"SELECT {text}",
                                       f"SELECT * FROM {text}"])
        return self.random.choice([
            f"SELECT * FROM {text}",
            f"SELECT * FROM {text}",
            f"SELECT * FROM {text} LIMIT 1",
            f"SELECT {text}",
            f"SELECT ({text}).*",
            f"SELECT x.* FROM generate_series(1, 3), LATERAL {text} x",
            f"WITH x AS MATERIALIZED (SELECT * FROM {text}) TABLE x",
            f"SELECT DISTINCT x FROM {text} x ORDER BY 1 DESC"])

    def usual(self):
        """What applications do most of the time."""
        name = self.random.choices(
            ["queue.enqueue", "queue.enqueue_batch", "queue.dequeue",
             "queue.pop", "queue.ack_batch", "queue.nack_batch",
             "queue.create"], [4, 4, 6, 2, 4, 2, 2])[0]
        return self.sql_of(*self.call(name))

    def at_once(self):
        """Several calls in one statement."""
        queue = self.queue()
        return self.random.choice([
            f"SELECT queue.ack({queue}, receipt) "
            f"FROM queue.dequeue({queue}, 10)",
            f"WITH m AS (SELECT * FROM queue.pop({queue}, 5)) "
            f"SELECT queue.enqueue({self.queue()}, m.body) FROM m",
            f"SELECT queue.enqueue({queue}, '1'), (SELECT count(*) "
            f"FROM queue.dequeue({queue}, 3))",
            f"SELECT queue.nack({queue}, receipt, '0'), "
            f"queue.ack({queue}, receipt) FROM queue.dequeue({queue}, 3)",
            f"SELECT queue.extend_batch({queue}, array_agg(receipt), '1 s') "
            f"FROM queue.dequeue({queue}, 20)",
            f"DO $$ BEGIN PERFORM queue.enqueue({queue}, '1'); "
            f"PERFORM * FROM queue.dequeue({queue}, 2); "
            f"BEGIN PERFORM * FROM queue.pop({queue}, 2); "
            "PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END; END $$",
            f"DO $$ DECLARE m queue.message[]; BEGIN "
            f"CALL queue.receive({queue}, 5, messages => m); COMMIT; "
            f"CALL queue.receive({queue}, 5, wait => '5 ms', messages => m); "
            "ROLLBACK; END $$",
            "SELECT (SELECT count(*) FROM queue.stats), "
            "(SELECT count(*) FROM queue.segments)",
            f"SELECT * FROM queue.in_flight, queue.consumers LIMIT 5",
            f"EXPLAIN (ANALYZE, COSTS OFF) SELECT * "
            f"FROM queue.dequeue({queue}, 5)",
            f"CREATE TEMP TABLE IF NOT EXISTS kept AS SELECT * "
            f"FROM queue.dequeue({queue}, 5)",
            f"SELECT id FROM queue.dequeue({queue}, 5) "
            f"WHERE 1 / (id % 2) > 0"])

    def cursor(self):
        queue = self.queue()
        hold = self.random.choice(["", "WITH HOLD "])
        yield (f"DECLARE cur{self.random.randint(1, 3)} CURSOR {hold}FOR "
               f"SELECT * FROM queue.dequeue({queue}, 20)")
        yield "FETCH 2 FROM cur1"
        if self.random.random() < 0.5:
            yield "CLOSE cur1"

    def aside(self):
        """What goes on beside: tables, settings, other sessions."""
        return self.random.choice([
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE "
            "backend_type = 'client backend' AND pid <> pg_backend_pid() "
            "ORDER BY random() LIMIT 1",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            "backend_type IN ('client backend', 'queue worker') AND pid <> "
            "pg_backend_pid() ORDER BY random() LIMIT 1",
            "SET queue.durable_claims = on",
            "RESET ALL",
            "SET search_path = pg_catalog, queue",
            "SET enable_material = off", "SET jit = off",
            "SET plan_cache_mode = force_generic_plan",
            "SET default_transaction_read_only = "
            + self.random.choice(["on", "off", "off", "off"]),
            "DISCARD PLANS", "DISCARD ALL", "CHECKPOINT",
            "SET ROLE fuzz_role", "RESET ROLE", "RESET ROLE",
            "TABLE queue.stats", "TABLE queue.queues", "TABLE queue.in_flight",
            "TABLE queue.consumers", "TABLE queue.segments",
            f"TABLE queue.\"{self.random.choice(NAMES[:5])}\"",
            f"SELECT id FROM queue.\"{self.random.choice(NAMES[:5])}\" "
            "FOR UPDATE SKIP LOCKED LIMIT 3",
            f"LOCK TABLE queue.\"{self.random.choice(NAMES[:5])}\" "
            "IN SHARE UPDATE EXCLUSIVE MODE NOWAIT",
            f"DELETE FROM queue.\"{self.random.choice(NAMES[:5])}\"",
            "NOTIFY other", "LISTEN \"queue.a\"",
            "SELECT pg_sleep(0.02)"])

    def on_segment(self, segment):
        return self.random.choice([
            f"VACUUM {segment}", f"VACUUM (FREEZE) {segment}",
            f"VACUUM FULL {segment}", f"ANALYZE {segment}",
            f"CLUSTER {segment}", f"TRUNCATE {segment}",
            f"SELECT count(*) FROM {segment}",
            f"COPY {segment} TO '/dev/null'",
            f"ALTER TABLE {segment} SET (fillfactor = 90)",
            f"LOCK TABLE {segment} IN ACCESS EXCLUSIVE MODE NOWAIT"])

    def transaction(self):
        """Statements of one transaction or none, ended somehow."""
        level = self.random.choice(["", "", "", "ISOLATION LEVEL REPEATABLE "
                                    "READ", "ISOLATION LEVEL SERIALIZABLE",
                                    "READ ONLY"])
        yield f"BEGIN {level}"
        for _ in range(self.random.randint(1, 8)):
            choice = self.random.random()
            if choice < 0.15:
                yield f"SAVEPOINT s{self.random.randint(1, 3)}"
            elif choice < 0.25:
                yield f"ROLLBACK TO s{self.random.randint(1, 3)}"
            elif choice < 0.3:
                yield f"RELEASE s{self.random.randint(1, 3)}"
            elif choice < 0.35:
                yield from self.cursor()
            elif choice < 0.5:
                yield self.at_once()
            elif choice < 0.55:
                yield self.sql_of(*self.call())
            else:
                yield self.usual()
        end = self.random.random()
        if end < 0.6:
            yield "COMMIT"
        elif end < 0.85:
            yield "ROLLBACK"
        elif end < 0.9:
            yield "COMMIT AND CHAIN"
            yield self.usual()
            yield "ROLLBACK AND CHAIN"
            yield "COMMIT"
        else:
            self.prepared += 1
            yield "PREPARE"
