"""Account for every message of a history.

In the manner of Jepsen's total-queue checker: producers and consumers wrote
down what they tried and what they were told; this says what cannot be so.

An event is a dict with "t" (when the call returned), "t0" (when it began),
"op" and, where it concerns one message, "u", the sender's name for it:

  send ok | maybe | fail    committed, unknown (the connection died during
                            COMMIT), rolled back
  claim                     leased to "by", "until" by the client's clock
  pop / ack ok | maybe      removed by a commit
  settle                    nack, release or extend was accepted
  crash                     from t0 to t: leases may have been forgotten
  drain                     found at the end, when all leases had ended
"""

import collections


def check(events):
    """Return a list of anomalies, each (kind, message, detail)."""
    found = []
    messages = collections.defaultdict(list)
    crashes = []
    for event in sorted(events, key=lambda e: e["t"]):
        if event["op"] == "crash":
            crashes.append(event)
        else:
            messages[event["u"]].append(event)
    for u, history in messages.items():
        found.extend((kind, u, detail)
                     for kind, detail in check_message(history, crashes))
    return found


def check_message(history, crashes):
    """Yield the anomalies of one message."""
    sends = [e for e in history if e["op"] == "send"]
    seen = [e for e in history if e["op"] in ("claim", "pop", "drain")]
    removed = [e for e in history if e["op"] in ("ack", "pop")
               and e["result"] in ("ok", "maybe")]
    sure = [e for e in removed if e["result"] == "ok"]
    drained = [e for e in history if e["op"] == "drain"]

    if not sends:
        yield "phantom", "delivered but never sent"
        return
    result = sends[0]["result"]
    if result == "fail" and seen:
        yield "phantom", "its send was rolled back"
    if result == "ok" and not removed and not drained:
        yield "lost", "neither removed nor left at the end"
    if len(sure) > 1:
        yield "removed twice", f"{len(sure)} commits removed it"
    if len(drained) > 1:
        yield "duplicate", f"{len(drained)} copies at the end"
    for gone in sure:
        for e in seen:
            if e is not gone and e["t0"] > gone["t"]:
                yield "delivered after removal", (
                    f"{e['op']} began {e['t0'] - gone['t']:.3f} s later")
    yield from check_leases(history, crashes)


def check_leases(history, crashes):
    """Yield leases that began while another was surely live."""
    live = None
    for e in history:
        if e["op"] == "claim":
            if (live and e["t0"] > live["t"] and e["t"] < live["until"]
                    and not any(c["t"] >= live["t0"] and c["t0"] <= e["t"]
                                for c in crashes)):
                yield "two live leases", (
                    f"{live['until'] - e['t']:.3f} s before the first ended")
            live = e
        elif e["op"] in ("settle", "ack", "pop"):
            live = None
