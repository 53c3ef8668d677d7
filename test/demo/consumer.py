#!/usr/bin/python3
"""Take files from the queue, store their SHA-256 together with the ack.

usage: consumer.py NAME

Runs until SIGTERM. consumer.pl does the same in Perl.
"""
import hashlib
import signal
import sys

import psycopg2

CLAIM = """
    SELECT receipt, body->>'path', deliveries
    FROM queue.dequeue('files', max => 10, wait => '500 ms')"""

# The result and the ack commit together. A message whose lease went to
# another consumer in the meantime is not acked, and then not stored either.
STORE = """
    INSERT INTO digest (path, sha256, consumer, deliveries)
    SELECT path, sha256, %s, deliveries
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::int[])
         AS done(receipt, path, sha256, deliveries)
    WHERE queue.ack('files', receipt)"""


def main():
    name = sys.argv[1]
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    connection = psycopg2.connect(application_name=name)
    while not stop:
        with connection, connection.cursor() as cursor:
            cursor.execute(CLAIM)
            messages = cursor.fetchall()
        if not messages:
            continue
        receipts, paths, deliveries = map(list, zip(*messages))
        digests = []
        for path in paths:
            with open(path, 'rb') as file:
                digests.append(hashlib.sha256(file.read()).hexdigest())
        with connection, connection.cursor() as cursor:
            cursor.execute(STORE, (name, receipts, paths, digests, deliveries))
    connection.close()


if __name__ == '__main__':
    main()
