#!/usr/bin/python3
"""Compare the stored digests with what sha256sum says.

usage: verify.py LIST

LIST has the paths that were enqueued, each ended by a NUL. Exit status 1
unless each of them is stored once, with the right digest, and nothing else.
"""
import collections
import subprocess
import sys

import psycopg2


def truth(list_name):
    """What sha256sum says: path to digest."""
    with open(list_name, 'rb') as listing:
        out = subprocess.run(['xargs', '-0', 'sha256sum', '-z', '--'],
                             stdin=listing, stdout=subprocess.PIPE,
                             check=True).stdout
    lines = out.decode('utf-8').split('\0')[:-1]
    return {line[66:]: line[:64] for line in lines}


def main():
    wanted = truth(sys.argv[1])
    with psycopg2.connect('') as connection, connection.cursor() as cursor:
        cursor.execute('SELECT path, sha256 FROM digest')
        rows = cursor.fetchall()
        cursor.execute("SELECT total FROM queue.stats WHERE queue = 'files'")
        left = cursor.fetchone()[0]

    times = collections.Counter(path for path, _ in rows)
    findings = {
        'missing': [path for path in wanted if not times[path]],
        'stored more than once': [p for p, n in times.items() if n > 1],
        'with another digest': [path for path, digest in rows
                                if wanted.get(path, digest) != digest],
        'not asked for': [path for path in times if path not in wanted],
    }
    print(f'  {len(wanted)} files, {len(rows)} digests, '
          f'{left} messages left in the queue')
    for what, paths in findings.items():
        print(f'  {len(paths):6} {what}')
        for path in paths[:5]:
            print(f'         {path}')
    good = wanted and not left and not any(findings.values())
    print('  Every digest is there once and equal to what sha256sum says.'
          if good else '  VERIFICATION FAILED')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
