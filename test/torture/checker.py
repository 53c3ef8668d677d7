"""Account for every message of a history.

In the manner of Jepsen's total-queue checker: producers and consumers wrote
down what they tried and what they were told; this says what cannot be so.

An event is a dict with "op", "t0" (when the call began), "t" (when it
returned) and what else is known, all by one clock:

  queue     "q" and its properties: fifo, max_attempts, max_messages,
            max_in_flight, single_active, dedup_window, ttl, stream; slack:
            so many more than max_messages may be there, since the queue may
            have been without a place in shared memory
  send      "u", the sender's name for the message, unique; "result":
            ok | maybe | fail: committed, unknown (the connection died during
            COMMIT), rolled back; "q", "key", "delay", "ttl", "dedup";
            "i": place in its transaction
  claim     "u" leased to "by", "until" by the client's clock; "failures"
  pop, ack  "u", ok | maybe: removed by a commit
  settle    "u": nack, release or extend may be accepted from now on
  settled   "u": it was; "kind", "delay" or, of extend, "until"
  rollback  "u": its consumer's transaction aborted
  unknown   "q": a claim whose answer nobody got, perhaps live "until"
  empty     "q": a call returned nothing, and had not been disturbed
  gone      "by": its session ended between t0 and t, another one may follow
  crash     from t0 to t leases and failures may have been forgotten
  clock     from t0 to t the server's clock was set
  redrive   "q": from t0 on messages may have left it and come back with
            failures = 0
  purge     "q": from t0 on messages may have been deleted by the caller
  drain     "u", "q": found there at the end
  stats     "q", "total", "enqueued": what the view said, nothing going on
  failover  what was committed from t0 on may be lost
  read      "u", "q", "group", "offset": read from a stream and committed
"""

import collections

# What two processes on a busy machine may disagree by
SLACK = 0.05
# A message may take so long to be found: the worker is back by then, and
# without it a claim finds it after 2 s
LATE = 15


def check(events):
    """Return a list of anomalies, each (kind, message, detail)."""
    return list(History(events).anomalies())


class History:
    """The events, sorted by time and by what they are about."""

    def __init__(self, events):
        self.queues = collections.defaultdict(dict)
        self.messages = collections.defaultdict(list)
        self.others = collections.defaultdict(list)
        events = sorted(events, key=lambda e: e["t"])
        doubt_failovers(events)
        for event in events:
            if event["op"] == "queue":
                self.queues[event["q"]] = event
            elif "u" in event and event["op"] != "read":
                self.messages[event["u"]].append(event)
            else:
                self.others[event["op"]].append(event)
        self.first = {}
        for op in ("redrive", "purge"):
            for event in self.others[op]:
                self.first.setdefault((op, event["q"]), event["t0"])
        self.crashes = self.others["crash"]
        self.clocks = self.others["clock"]
        self.by_queue = collections.defaultdict(list)
        self.dedups = collections.Counter()
        self.stories = {}
        for u, history in self.messages.items():
            story = self.stories[u] = Story(u, history)
            self.by_queue[story.queue].append(story)
            if story.send and story.send.get("dedup") is not None:
                self.dedups[story.queue, story.send["dedup"]] += story.present

    def anomalies(self):
        for story in self.stories.values():
            for kind, detail in self.check_message(story):
                yield kind, story.u, detail
        for name in set(self.queues) | set(self.by_queue):
            stories = self.by_queue[name]
            properties = self.queues[name]
            if properties.get("fifo"):
                yield from self.check_order(stories)
            if properties.get("dedup_window"):
                yield from check_dedup(stories, properties["dedup_window"])
            if properties.get("max_messages"):
                yield from check_limit(stories, properties["max_messages"] +
                                       properties.get("slack", 0))
            yield from self.check_leased(stories, properties)
            yield from self.check_late(name, stories, properties)
            yield from self.check_stats(name, stories)
            if properties.get("stream"):
                yield from self.check_stream(name, stories)

    def between(self, what, start, end):
        return any(e["t"] >= start and e["t0"] <= end for e in what)

    def disturbed(self, start, end):
        return (self.between(self.crashes, start, end)
                or self.between(self.clocks, start, end))

    def touched(self, op, queue, end):
        """Did anybody call this on the queue before?"""
        return (op, queue) in self.first and self.first[op, queue] <= end

    # -- one message --------------------------------------------------------

    def check_message(self, story):
        properties = self.queues[story.queue]
        yield from self.check_presence(story, properties)
        yield from self.check_removal(story)
        yield from self.check_leases(story)
        yield from self.check_early(story, properties)
        yield from self.check_attempts(story, properties)
        yield from self.check_ttl(story)

    def check_presence(self, story, properties):
        if not story.send:
            yield "phantom", "delivered but never sent"
            return
        result = story.send["result"]
        if result == "fail" and story.seen:
            yield "phantom", "its send was rolled back"
        if result == "ok" and not story.removed and not story.drained:
            if not self.may_be_gone(story, properties):
                yield "lost", ("neither removed nor left in any queue at the "
                               "end" if not story.may_be_dead else
                               "in no queue after it was declared dead")
        where = collections.Counter(e.get("q") for e in story.drained)
        for queue, count in where.items():
            if count > 1:
                yield "duplicate", f"{count} copies in {queue} at the end"
        if len(where) > 1:
            yield "in two queues", ", ".join(map(str, where))

    def may_be_gone(self, story, properties):
        """Purged, out of time, dropped for room, or never stored?"""
        return (self.touched("purge", story.queue, float("inf"))
                or story.ttl is not None
                or properties.get("overflow") == "drop_oldest"
                or self.dedups[story.queue, story.send.get("dedup")])

    def check_removal(self, story):
        if len(story.sure) > 1:
            yield "removed twice", f"{len(story.sure)} commits removed it"
        for gone in story.sure:
            for e in story.seen:
                if e is not gone and e["t0"] > gone["t"]:
                    yield "delivered after removal", (
                        f"{e['op']} began {e['t0'] - gone['t']:.3f} s later")

    def check_leases(self, story):
        """Leases that began while another was surely live."""
        live = None
        for e in story.history:
            if e["op"] in ("claim", "pop", "drain"):
                if (live and e["t0"] > live["t"]
                        and e["t"] < live["until"] - SLACK
                        and not self.disturbed(live["t0"], e["t"])):
                    yield "two live leases", (
                        f"{live['until'] - e['t']:.3f} s before the first "
                        "ended")
                live = e if e["op"] == "claim" else None
            elif e["op"] == "settled" and e["kind"] == "extend":
                live = e
            elif e["op"] in ("settle", "ack", "rollback"):
                live = None

    def check_early(self, story, properties):
        """Delivered before the delay of the send or of a nack was over.

        A nack that was the last one allowed has no delay: redrive may bring
        the message back at once.
        """
        limit = properties.get("max_attempts")
        until, since, failures = None, None, 0
        for e in story.history:
            if e["op"] == "send" and e.get("delay"):
                until, since = e["t0"] + e["delay"], e["t0"]
            elif (e["op"] == "settled" and e["kind"] != "extend"
                  and e.get("delay")):
                if (limit and failures + 1 >= limit
                        and self.touched("redrive", story.queue,
                                         float("inf"))):
                    continue
                until, since = e["t0"] + e["delay"], e["t0"]
            elif e["op"] in ("claim", "pop"):
                if (until and e["t0"] > since and e["t"] < until - SLACK
                        and not self.disturbed(since, e["t"])):
                    yield "early", f"{until - e['t']:.3f} s"
                until, failures = None, e.get("failures", 0)

    def check_attempts(self, story, properties):
        limit = properties.get("max_attempts")
        if not limit:
            return
        nacks = []
        for e in story.history:
            if e["op"] == "settled" and e["kind"] == "nack":
                nacks.append(e)
            elif e["op"] in ("claim", "pop"):
                # redrive starts the count again, a crash forgets the newest
                known = 0 if self.touched("redrive", story.queue, e["t"]) else sum(
                    1 for n in nacks if n["t"] < e["t0"]
                    and not self.between(self.crashes, n["t0"], e["t"]))
                if max(known, e.get("failures", 0)) >= limit:
                    yield "attempts over the limit", (
                        f"delivered after {known} failures, says "
                        f"{e.get('failures')}, of {limit}")

    def check_ttl(self, story):
        if story.ttl is None:
            return
        end = story.send["t"] + story.ttl + SLACK
        for e in story.history:
            # the lease of a message may outlive it
            if (e["op"] in ("claim", "pop") and e["t0"] > end
                    and e.get("q", story.queue) == story.queue
                    and not self.between(self.clocks, story.send["t0"],
                                         e["t"])):
                yield "delivered after its ttl", f"{e['t0'] - end:.3f} s"

    # -- a queue ------------------------------------------------------------

    def check_order(self, stories):
        """No delivery of a key's message while an earlier one is there.

        One call may take several of a key, which then are its own affair.
        """
        keys = collections.defaultdict(list)
        for story in stories:
            if story.send and story.send.get("key") is not None:
                keys[story.send["key"]].append(story)
        for key, line in keys.items():
            yield from check_key(key, line)

    def check_leased(self, stories, properties):
        """max_in_flight and single_active, by what was surely leased."""
        limit = properties.get("max_in_flight")
        single = properties.get("single_active")
        if not limit and not single:
            return
        edges = []
        for story in stories:
            for start, end, by in story.leases():
                if single:
                    end = min([end] + [e["t0"] for e in self.others["gone"]
                                       if e["by"] == by and e["t"] > start])
                if end > start and not self.disturbed(start, end):
                    edges += [(start, 1, by, story.u), (end, 0, by, story.u)]
        edges.sort(key=lambda edge: edge[:2])
        holders = collections.Counter()
        for _, begins, by, u in edges:
            holders[by] += 1 if begins else -1
            holders += collections.Counter()
            if limit and begins and holders.total() > limit:
                yield "over max_in_flight", u, f"{holders.total()} of {limit}"
                return
            if single and begins and len(holders) > 1:
                yield "two active consumers", u, ", ".join(map(str, holders))
                return

    def check_late(self, name, stories, properties):
        """Nothing was returned while a message was ready for long."""
        if (properties.get("fifo") or properties.get("max_in_flight")
                or properties.get("single_active") or properties.get("ttl")):
            return
        # few wait so long
        waiting = []
        for story in stories:
            ready = story.surely_ready()
            if ready and ready[1] - ready[0] > LATE:
                waiting.append((*ready, story.u))
        for empty in self.others["empty"] if waiting else []:
            start, end = empty["t0"], empty["t"]
            if (empty["q"] != name or self.disturbed(start - LATE, end)
                    or any(e["q"] == name and e["t0"] < end
                           and e["until"] + LATE > start
                           for e in self.others["unknown"])):
                continue
            for since, until, u in waiting:
                if since + LATE < start and end < until:
                    yield "late", u, (f"ready for {start - since:.1f} s, and "
                                      "a call returned nothing")
                    return

    def check_stats(self, name, stories):
        for e in self.others["stats"]:
            if e["q"] != name:
                continue
            there = sum(1 for s in self.stories.values() for d in s.drained
                        if d.get("q") == name and d["t0"] >= e["t"])
            if e["total"] != there:
                yield "stats", name, f"total is {e['total']}, found {there}"
            if e.get("enqueued") is None or self.crashes:
                continue
            sends = [s.send["result"] for s in stories if s.send]
            low = sends.count("ok")
            high = low + sends.count("maybe")
            if not low <= e["enqueued"] <= high:
                yield "stats", name, (
                    f"enqueued is {e['enqueued']}, sent {low} to {high}")

    def check_stream(self, name, stories):
        """Each group reads each message once, by ascending offset."""
        groups = collections.defaultdict(list)
        for e in self.others["read"]:
            if e["q"] == name:
                groups[e["group"]].append(e)
        for group, reads in groups.items():
            last = None
            count = collections.Counter(e["u"] for e in reads)
            for e in reads:
                if last is not None and e["offset"] <= last:
                    yield "offset repeated", e["u"], f"{group}: {e['offset']}"
                last = e["offset"]
            for story in stories:
                if story.send and story.send["result"] == "ok" \
                        and not count[story.u]:
                    yield "offset skipped", story.u, group
        # readers of a stream remove nothing: presence is judged here


def doubt_failovers(events):
    """An answer that came while a standby lagged proves nothing."""
    failovers = [e for e in events if e["op"] == "failover"]
    for n, event in enumerate(events if failovers else []):
        if event.get("result") == "ok" and any(
                f["t0"] <= event["t"] and event["t0"] <= f["t"]
                for f in failovers):
            events[n] = dict(event, result="maybe")


class Story:
    """What happened to one message."""

    def __init__(self, u, history):
        self.u = u
        self.history = history
        self.send = next((e for e in history if e["op"] == "send"), None)
        self.queue = self.send.get("q") if self.send else None
        self.seen = [e for e in history
                     if e["op"] in ("claim", "pop", "drain")]
        self.removed = [e for e in history if e["op"] in ("ack", "pop")
                        and e["result"] in ("ok", "maybe")]
        self.sure = [e for e in self.removed if e["result"] == "ok"]
        self.drained = [e for e in history if e["op"] == "drain"]
        self.present = bool(self.removed or self.drained or self.seen)
        self.ttl = self.send.get("ttl") if self.send else None
        # a nack, an end of a lease or a reject may have been the last
        self.may_be_dead = any(
            e["op"] == "settled" and e["kind"] in ("nack", "reject")
            for e in history) or any(
                e.get("q") != self.queue for e in self.drained)

    def surely_there(self):
        """The last moment at which the message surely was in its queue."""
        if self.may_be_dead or self.ttl is not None:
            return float("-inf")
        if self.removed:
            return min(e["t0"] for e in self.removed)
        if self.drained:
            return self.drained[0]["t0"]
        return float("-inf")

    def calls(self):
        """(t0, t) of the calls that delivered it."""
        return {(e["t0"], e["t"]) for e in self.history
                if e["op"] in ("claim", "pop")}

    def precedes(self, other):
        """Was it surely sent before the other one?"""
        if self.send.get("tx") is not None \
                and self.send["tx"] == other.send.get("tx"):
            return self.send["i"] < other.send["i"]
        return self.send["t"] < other.send["t0"]

    def surely_ready(self):
        """From when until when it can surely be claimed, or None."""
        if not self.send or self.send["result"] != "ok" \
                or self.send.get("dedup"):
            return None
        end = min((e["t0"] for e in self.history if e["op"] != "send"),
                  default=None)
        if end is None:
            return None
        return self.send["t"] + self.send.get("delay", 0), end

    def leases(self):
        """(start, end, by) of what was surely leased."""
        for n, e in enumerate(self.history):
            if e["op"] != "claim":
                continue
            end = min([e["until"] - SLACK]
                      + [f["t0"] for f in self.history[n + 1:]
                         if f["op"] in ("settle", "ack", "rollback", "claim",
                                        "pop", "drain")])
            if end > e["t"]:
                yield e["t"], end, e.get("by")


def check_key(key, line):
    """Deliveries in the order of time, beside what surely was there."""
    edges = []
    for story in line:
        there = story.surely_there()
        if story.send["result"] == "ok" and there > story.send["t"]:
            edges += [(story.send["t"], 0, story), (there, 1, story)]
        edges += [(t, 2, story, (t0, t)) for t0, t in story.calls()]
    edges.sort(key=lambda edge: edge[:2])
    present = {}
    for _, what, story, *call in edges:
        if what == 0:
            present[story.u] = story
        elif what == 1:
            present.pop(story.u)
        else:
            for other in present.values():
                if other.precedes(story) and call[0] not in other.calls():
                    yield "order", story.u, (
                        f"key {key}: delivered while {other.u} was there")
                    break


def check_dedup(stories, window):
    groups = collections.defaultdict(list)
    for story in stories:
        if story.send and story.send.get("dedup") is not None \
                and story.present:
            groups[story.send["dedup"]].append(story)
    for dedup, stored in groups.items():
        stored.sort(key=lambda s: s.send["t0"])
        for first, second in zip(stored, stored[1:]):
            if second.send["t"] < first.send["t0"] + window - SLACK:
                yield "dedup_id stored twice", second.u, (
                    f"{dedup}, as {first.u} is")


def check_limit(stories, limit):
    """More messages at a moment than the queue may have."""
    edges = []
    for story in stories:
        if story.send and story.send["result"] == "ok":
            end = story.surely_there()
            if end > story.send["t"]:
                edges += [(story.send["t"], 1, story.u), (end, 0, story.u)]
    edges.sort()
    count = 0
    for _, begins, u in edges:
        count += 1 if begins else -1
        if begins and count > limit:
            yield "over max_messages", u, f"{count} of {limit}"
            return
