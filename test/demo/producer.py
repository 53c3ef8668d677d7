#!/usr/bin/python3
"""Enqueue one message for each file of a directory tree.

usage: producer.py DIRECTORY MAX-FILES LIST

LIST gets the paths that were enqueued, each ended by a NUL, for sha256sum.
"""
import json
import os
import stat
import sys

import psycopg2

BATCH = 100


def files(directory):
    """The regular files below a directory that we may read, by name."""
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                path.encode('utf-8')  # a body is JSON, which is UTF-8
                if stat.S_ISREG(os.lstat(path).st_mode) \
                        and os.access(path, os.R_OK):
                    yield path
            except (OSError, UnicodeEncodeError):
                continue


def send(connection, paths, listing):
    """Enqueue a batch in a transaction of its own."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT queue.enqueue_batch('files', %s::jsonb[])",
            ([json.dumps({'path': path}) for path in paths],))
    for path in paths:
        listing.write(path.encode('utf-8') + b'\0')


def main():
    directory, limit, list_name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    connection = psycopg2.connect('application_name=producer')
    with open(list_name, 'wb') as listing:
        batch, count = [], 0
        for path in files(directory):
            batch.append(path)
            count += 1
            if len(batch) == BATCH:
                send(connection, batch, listing)
                batch = []
            if count == limit:
                break
        if batch:
            send(connection, batch, listing)
    connection.close()
    print(count)


if __name__ == '__main__':
    main()
