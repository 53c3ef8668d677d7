"""The checker must find each anomaly in a history made to have it."""

import unittest

from checker import check


def event(op, t, u="a", **more):
    return {"op": op, "t": t, "t0": more.pop("t0", t - 0.01), "u": u, **more}


SENT = event("send", 1, result="ok")
CLAIM = event("claim", 2, until=9)
ACK = event("ack", 3, result="ok")
DRAIN = event("drain", 20)


class CheckerTest(unittest.TestCase):
    def kinds(self, *events):
        return sorted({kind for kind, _, _ in check(events)})

    def test_clean(self):
        self.assertEqual(self.kinds(SENT, CLAIM, ACK), [])
        self.assertEqual(self.kinds(SENT, DRAIN), [])
        self.assertEqual(self.kinds(event("send", 1, result="fail")), [])
        self.assertEqual(self.kinds(event("send", 1, result="maybe")), [])

    def test_lost(self):
        self.assertEqual(self.kinds(SENT, CLAIM), ["lost"])

    def test_phantom(self):
        self.assertEqual(self.kinds(CLAIM, ACK), ["phantom"])
        self.assertEqual(
            self.kinds(event("send", 1, result="fail"), DRAIN), ["phantom"])

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

    def test_two_live_leases(self):
        second = event("claim", 5, until=12)
        self.assertEqual(self.kinds(SENT, CLAIM, second, DRAIN),
                         ["two live leases"])

    def test_lease_ended_by_settling_or_crash(self):
        second = event("claim", 5, until=12)
        self.assertEqual(self.kinds(SENT, CLAIM, event("settle", 4), second,
                                    DRAIN), [])
        self.assertEqual(self.kinds(SENT, CLAIM, event("crash", 4, t0=3),
                                    second, DRAIN), [])

    def test_duplicate(self):
        self.assertEqual(self.kinds(SENT, DRAIN, event("drain", 21)),
                         ["duplicate"])


if __name__ == "__main__":
    unittest.main()
