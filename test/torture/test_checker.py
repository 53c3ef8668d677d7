"""The checker must find each anomaly in a history made to have it."""

import unittest

from checker import LATE, check


def event(op, t, u="a", **more):
    return {"op": op, "t": t, "t0": more.pop("t0", t - 0.01), "u": u, **more}


def about(op, t, **more):
    return {"op": op, "t": t, "t0": more.pop("t0", t - 0.01), "q": "q", **more}


def queue(**properties):
    return about("queue", 0, **properties)


def send(t, u="a", **more):
    return event("send", t, u, **{"result": "ok", "q": "q", **more})


SENT = send(1)
CLAIM = event("claim", 2, until=9)
ACK = event("ack", 3, result="ok")
DRAIN = event("drain", 20, q="q")


class CheckerTest(unittest.TestCase):
    def kinds(self, *events):
        return sorted({kind for kind, _, _ in check(events)})

    def test_clean(self):
        self.assertEqual(self.kinds(SENT, CLAIM, ACK), [])
        self.assertEqual(self.kinds(SENT, DRAIN), [])
        self.assertEqual(self.kinds(send(1, result="fail")), [])
        self.assertEqual(self.kinds(send(1, result="maybe")), [])

    def test_lost(self):
        self.assertEqual(self.kinds(SENT, CLAIM), ["lost"])
        self.assertEqual(self.kinds(SENT), ["lost"])
        self.assertEqual(self.kinds(SENT, about("purge", 5)), [])

    def test_lost_in_dead_lettering(self):
        nack = event("settled", 4, kind="nack")
        found = check([SENT, CLAIM, event("settle", 4), nack])
        self.assertEqual([f[0] for f in found], ["lost"])
        self.assertIn("in no queue", found[0][2])
        self.assertEqual(self.kinds(SENT, CLAIM, event("settle", 4), nack,
                                    event("drain", 20, q="graves")), [])

    def test_in_two_queues(self):
        self.assertEqual(
            self.kinds(SENT, DRAIN, event("drain", 21, q="graves")),
            ["in two queues"])

    def test_phantom(self):
        self.assertEqual(self.kinds(CLAIM, ACK), ["phantom"])
        self.assertEqual(self.kinds(send(1, result="fail"), DRAIN),
                         ["phantom"])

    def test_removed_twice(self):
        again = event("pop", 3.5, t0=2.5, result="ok")
        self.assertIn("removed twice", self.kinds(SENT, CLAIM, ACK, again))

    def test_delivered_after_removal(self):
        late = event("claim", 5, until=9)
        self.assertEqual(self.kinds(SENT, CLAIM, ACK, late),
                         ["delivered after removal"])

    def test_maybe_is_no_proof(self):
        maybe = event("ack", 3, result="maybe")
        late = event("claim", 5, until=9)
        self.assertEqual(self.kinds(SENT, maybe, late), [])
        self.assertEqual(self.kinds(SENT, maybe), [])

    def test_failover(self):
        failover = about("failover", 1.5, t0=0.5)
        self.assertEqual(self.kinds(SENT, failover), [])
        self.assertEqual(self.kinds(SENT, about("failover", 9, t0=8)),
                         ["lost"])

    def test_two_live_leases(self):
        second = event("claim", 5, until=12)
        self.assertEqual(self.kinds(SENT, CLAIM, second, DRAIN),
                         ["two live leases"])
        self.assertEqual(
            self.kinds(SENT, CLAIM, event("pop", 5, result="ok")),
            ["two live leases"])

    def test_lease_ended_by_settling_or_crash(self):
        second = event("claim", 5, until=12)
        for cause in (event("settle", 4), about("crash", 4, t0=3),
                      about("clock", 4, t0=3), event("rollback", 4)):
            self.assertEqual(self.kinds(SENT, CLAIM, cause, second, DRAIN),
                             [])

    def test_lease_ends_by_itself(self):
        self.assertEqual(self.kinds(SENT, CLAIM, event("claim", 9.5, until=12),
                                    DRAIN), [])

    def test_extended(self):
        extended = event("settled", 4, kind="extend", until=15)
        self.assertEqual(
            self.kinds(SENT, CLAIM, event("settle", 4), extended,
                       event("claim", 12, until=18), DRAIN),
            ["two live leases"])

    def test_duplicate(self):
        self.assertEqual(self.kinds(SENT, DRAIN, event("drain", 21, q="q")),
                         ["duplicate"])

    def test_early(self):
        self.assertEqual(self.kinds(send(1, delay=5), CLAIM, ACK), ["early"])
        self.assertEqual(self.kinds(send(1, delay=0.5), CLAIM, ACK), [])
        self.assertEqual(
            self.kinds(SENT, CLAIM, event("settle", 3),
                       event("settled", 3, kind="nack", delay=4),
                       event("claim", 5, until=9), DRAIN), ["early"])
        self.assertEqual(self.kinds(send(1, delay=5), about("clock", 1.5),
                                    CLAIM, ACK), [])
        # the last failure allowed, and a redrive; not the last one
        for failures, found in ((1, []), (0, ["early"])):
            self.assertEqual(
                self.kinds(queue(max_attempts=2), SENT,
                           event("claim", 2, until=9, failures=failures),
                           event("settle", 3),
                           event("settled", 3, kind="nack", delay=4),
                           about("redrive", 4),
                           event("claim", 5, until=9, failures=0), DRAIN),
                found)

    def test_late(self):
        end = 1 + 2 * LATE
        taken = [event("claim", end + 1, until=end + 9),
                 event("ack", end + 2, result="ok")]
        empty = about("empty", end)
        self.assertEqual(self.kinds(SENT, empty, *taken), ["late"])
        self.assertEqual(self.kinds(SENT, about("empty", 3), *taken), [])
        self.assertEqual(self.kinds(send(1, delay=end), empty,
                                    event("ack", 2 * end, result="ok")), [])
        self.assertEqual(self.kinds(SENT, about("unknown", 3, until=end),
                                    empty, *taken), [])
        self.assertEqual(self.kinds(SENT, about("crash", end - 1), empty,
                                    *taken), [])

    def test_order(self):
        fifo = queue(fifo=True)
        one, two = send(1, "a", key="k"), send(1.5, "b", key="k")
        acks = [event("ack", 3, "a", result="ok"),
                event("ack", 6, "b", result="ok")]
        self.assertEqual(self.kinds(
            fifo, one, two, event("claim", 2, "b", until=9), *acks),
            ["order"])
        self.assertEqual(self.kinds(
            fifo, one, two, event("claim", 4, "b", until=9), *acks), [])
        self.assertEqual(self.kinds(
            fifo, one, send(1.5, "b", key="l"),
            event("claim", 2, "b", until=9), *acks), [])
        # sent at the same time: any order will do
        self.assertEqual(self.kinds(
            fifo, one, send(1.5, "b", key="k", t0=0.5),
            event("claim", 2, "b", until=9), *acks), [])

    def test_order_of_a_run(self):
        fifo = queue(fifo=True)
        one, two = send(1, "a", key="k"), send(1.5, "b", key="k")
        acks = [event("ack", 3, "a", result="ok"),
                event("ack", 6, "b", result="ok")]
        # both by one call, or the second by another, once more
        claims = [event("claim", 2, "a", until=9),
                  event("claim", 2, "b", until=9)]
        self.assertEqual(self.kinds(fifo, one, two, *claims, *acks), [])
        again = [event("settle", 2.1, "b"),
                 event("claim", 2.5, "b", until=9)]
        self.assertEqual(self.kinds(fifo, one, two, *claims, *again, *acks),
                         ["order"])

    def test_order_in_a_batch(self):
        fifo = queue(fifo=True)
        one = send(1, "a", key="k", tx=1, i=0)
        two = send(1, "b", key="k", tx=1, i=1)
        acks = [event("ack", 3, "a", result="ok"),
                event("ack", 6, "b", result="ok")]
        self.assertEqual(self.kinds(
            fifo, two, one, event("claim", 2, "b", until=9), *acks),
            ["order"])
        self.assertEqual(self.kinds(
            fifo, two, one, event("claim", 4, "b", until=9), *acks), [])

    def test_attempts(self):
        limit = queue(max_attempts=2)
        self.assertEqual(
            self.kinds(limit, SENT, event("claim", 2, until=9, failures=2),
                       ACK), ["attempts over the limit"])
        nacks = []
        for t in (2, 3):
            nacks += [event("claim", t, until=9), event("settle", t + 0.1),
                      event("settled", t + 0.2, kind="nack")]
        last = event("claim", 4, until=9)
        self.assertEqual(self.kinds(limit, SENT, *nacks, last, DRAIN),
                         ["attempts over the limit"])
        self.assertEqual(self.kinds(limit, SENT, *nacks, DRAIN), [])
        self.assertEqual(self.kinds(limit, SENT, *nacks, about("crash", 3.5),
                                    last, DRAIN), [])
        self.assertEqual(self.kinds(limit, SENT, *nacks,
                                    about("redrive", 3.5), last, DRAIN), [])

    def test_ttl(self):
        self.assertEqual(self.kinds(send(1, ttl=0.5), CLAIM, ACK),
                         ["delivered after its ttl"])
        self.assertEqual(self.kinds(send(1, ttl=5), CLAIM, ACK), [])
        self.assertEqual(self.kinds(send(1, ttl=5)), [])

    def test_stats(self):
        self.assertEqual(self.kinds(SENT, about("stats", 10, total=2), DRAIN),
                         ["stats"])
        self.assertEqual(self.kinds(SENT, about("stats", 10, total=1), DRAIN),
                         [])
        self.assertEqual(
            self.kinds(SENT, about("stats", 10, total=1, enqueued=2), DRAIN),
            ["stats"])

    def test_dedup(self):
        window = queue(dedup_window=60)
        one = send(1, "a", dedup="x")
        two = send(5, "b", dedup="x")
        a = event("drain", 200, "a", q="q")
        b = event("drain", 200, "b", q="q")
        self.assertEqual(self.kinds(window, one, two, a, b),
                         ["dedup_id stored twice"])
        self.assertEqual(self.kinds(window, one, two, a), [])
        self.assertEqual(self.kinds(window, one, send(90, "b", dedup="x"),
                                    a, b), [])
        self.assertEqual(self.kinds(window, one, two), ["lost"])

    def test_limit(self):
        events = [send(t, str(t)) for t in (1, 2, 3)]
        events += [event("drain", 20, str(t), q="q") for t in (1, 2, 3)]
        self.assertEqual(self.kinds(queue(max_messages=2), *events),
                         ["over max_messages"])
        self.assertEqual(self.kinds(queue(max_messages=3), *events), [])
        self.assertEqual(self.kinds(queue(max_messages=2, slack=1), *events),
                         [])

    def test_in_flight(self):
        events = [SENT, send(1, "b"), CLAIM,
                  event("claim", 2.5, "b", until=9, by=2), DRAIN,
                  event("drain", 20, "b", q="q")]
        self.assertEqual(self.kinds(queue(max_in_flight=1), *events),
                         ["over max_in_flight"])
        self.assertEqual(self.kinds(queue(max_in_flight=2), *events), [])
        self.assertEqual(self.kinds(queue(single_active=True), *events),
                         ["two active consumers"])
        # its session may have ended before the other's claim, or came later
        ended = {"op": "gone", "by": None}
        self.assertEqual(self.kinds(queue(single_active=True), *events,
                                    {**ended, "t0": 1.9, "t": 4}), [])
        self.assertEqual(self.kinds(queue(single_active=True), *events,
                                    {**ended, "t0": 1, "t": 1.5}),
                         ["two active consumers"])

    def test_stream(self):
        stream = queue(stream=True)
        one, two = send(1, "a"), send(2, "b")
        gone = [event("drain", 20, u, q="q") for u in "ab"]

        def read(t, u, offset):
            return event("read", t, u, q="q", group="g", offset=offset)

        self.assertEqual(self.kinds(stream, one, two, *gone, read(3, "a", 1),
                                    read(4, "b", 2)), [])
        self.assertEqual(self.kinds(stream, one, two, *gone, read(3, "a", 1),
                                    read(4, "b", 2), read(5, "b", 2)),
                         ["offset repeated"])
        self.assertEqual(self.kinds(stream, one, two, *gone,
                                    read(4, "b", 2)), ["offset skipped"])


if __name__ == "__main__":
    unittest.main()
