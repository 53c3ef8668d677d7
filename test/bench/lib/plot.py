#!/usr/bin/env python3
"""plot.py JSON DIR: data and gnuplot scripts for the plots of a run.

Each plot is a NAME.gp and one NAME.N.dat for each curve. What the run did
not measure is left out.
"""
import json
import os
import re
import sys

# The same contestant has the same look in all plots.
STYLE = {
    'queue': ('#c0392b', 7), 'table': ('#2980b9', 5),
    'vt_table': ('#16a085', 9), 'pgq': ('#8e44ad', 11),
    'redis': ('#d68910', 13), 'rabbitmq': ('#229954', 4),
    'insert': ('#7f8c8d', 6), 'copy': ('#aab7b8', 8), 'pgmq': ('#2c3e50', 1),
    'row+notify': ('#7f8c8d', 6), 'notify': ('#aab7b8', 8),
}


class Plots:
    def __init__(self, run, out):
        self.run = run
        self.out = out

    def cases(self, pattern, metric='main'):
        """(match of the key, case) of all cases whose key fits."""
        for case in self.run['cases']:
            match = re.fullmatch(pattern, case['key'])
            if match and case['metric'] == metric:
                yield match, case

    def by_number(self, pattern, metric='main'):
        """{contestant: [(number in the key, median)]}"""
        curves = {}
        for match, case in self.cases(pattern, metric):
            for who, value in case['median'].items():
                curves.setdefault(who, []).append(
                    (float(match.group(1)), float(value)))
        return {who: sorted(points) for who, points in curves.items()}

    def over_time(self, key, metric):
        curves = {}
        for point in self.run.get('series', []):
            if point['key'] == key and point['metric'] == metric:
                curves.setdefault(point['contestant'], []).append(
                    (float(point['second']), float(point['value'])))
        return {who: sorted(points) for who, points in curves.items()}

    def draw(self, name, curves, title, xlabel, ylabel, settings=''):
        curves = {who: points for who, points in curves.items()
                  if len(points) > 1}
        if not curves:
            return
        lines = []
        order = sorted(curves, key=lambda who: (who != 'queue', who))
        for i, who in enumerate(order):
            data = f'{name}.{i}.dat'
            with open(os.path.join(self.out, data), 'w') as f:
                f.writelines(f'{x} {y}\n' for x, y in curves[who])
            color, point = STYLE.get(who, ('#000000', 2))
            width = 3 if who == 'queue' else 1.5
            lines.append(f"'{data}' with linespoints lc rgb '{color}' "
                         f"lw {width} pt {point} ps 0.7 title '{who}' "
                         'noenhanced')
        with open(os.path.join(self.out, name + '.gp'), 'w') as f:
            f.write(f"set title '{title}'\nset xlabel '{xlabel}'\n"
                    f"set ylabel '{ylabel}'\nset key outside right top\n"
                    "set grid xtics ytics lt 1 lw 0.5 lc rgb '#dddddd'\nset border 3\n"
                    f"set tics nomirror\n{settings}\n"
                    'plot ' + ', \\\n     '.join(lines) + '\n')


LOG = 'set logscale y\nset format y "%.0s%c"'
CLIENTS = LOG + '\nset logscale x 2\nset xtics (1, 8, 32, 128)'
BATCHES = LOG + '\nset logscale x\nset xtics (1, 10, 100, 1000)'


def main():
    with open(sys.argv[1]) as f:
        run = json.load(f)
    p = Plots(run, sys.argv[2])
    for workload, title in (('enqueue', 'Enqueue'),
                            ('drain_bodies', 'Claim and ack')):
        for batch in (100, 1):
            p.draw(f'{workload}-clients-{batch}',
                   p.by_number(rf'{workload} b={batch} c=(\d+) s=98'),
                   f'{title}, batches of {batch}, 98 bytes', 'connections',
                   'messages a second', CLIENTS)
        p.draw(f'{workload}-batch',
               p.by_number(rf'{workload} b=(\d+) c=8 s=98'),
               f'{title}, 8 connections, 98 bytes', 'batch',
               'messages a second', BATCHES)
    for metric, words in (('main', 'median'), ('p99', '99th percentile')):
        p.draw('latency-load' + ('' if metric == 'main' else '-' + metric),
               p.by_number(r'duplex r=(\d+)', metric),
               f'End to end, 4 producers, 4 consumers: {words}',
               'messages a second', 'milliseconds',
               'set logscale xy\nset xrange [450:4400]\n'
               'set xtics (500, 1000, 2000, 4000)')
    for key, words in (('snapshot', 'a held snapshot'),
                       ('idle_xact', 'an idle transaction')):
        p.draw(f'{key}-claim', p.over_time(key, 'claim'),
               f'Claim of 100 messages beside {words}', 'seconds',
               'milliseconds, median', 'set logscale y')
        p.draw(f'{key}-size', p.over_time(key, 'size'),
               f'Size of the queue beside {words}', 'seconds', 'MB',
               'set yrange [0:*]')


if __name__ == '__main__':
    main()
