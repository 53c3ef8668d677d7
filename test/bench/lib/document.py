#!/usr/bin/env python3
"""document.py JSON MARKDOWN: puts a run's figures between the markers.
document.py --instructions TABLE MARKDOWN: the same with a finished table.

A block begins with "<!-- figures: NAME -->" and ends with "<!-- end -->".
"""
import json
import re
import sys

BLOCK = re.compile(r'(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)', re.S)


def number(value):
    """Three digits that count, thousands apart."""
    value = float(value)
    if abs(value) >= 100:
        return f'{value:,.0f}'
    if abs(value) >= 10:
        return f'{value:.1f}'
    return f'{value:.2f}' if abs(value) >= 1 else f'{value:.3f}'


def table(head, rows):
    if not rows:
        return 'Not measured in this run.\n'
    lines = [head, ['---'] + ['---:'] * (len(head) - 1)] + rows
    return ''.join('| ' + ' | '.join(line) + ' |\n' for line in lines)


class Document:
    def __init__(self, run):
        self.run = run
        self.limits = run['machine'].get('limits', '').split()

    def order(self, cases):
        """The contestants of these cases: queue first, limits last."""
        found = {who for case in cases for who in case['median']}
        return sorted(found, key=lambda who: (
            who != 'queue', who in self.limits, who))

    def compare(self, pattern, metric='main', unit=''):
        """A row for each case whose key fits, a column for each contestant."""
        cases = [c for c in self.run['cases']
                 if c['metric'] == metric and re.fullmatch(pattern, c['key'])]
        columns = self.order(cases)
        others = [w for w in columns if w != 'queue' and w not in self.limits]
        rows = []
        for case in cases:
            title = case['title']
            row = [title]
            for who in columns:
                value = case['median'].get(who)
                row.append('' if value is None else number(value))
            ratios = [float(case['ratio_of_queue_to'][w]) for w in others
                      if w in case['ratio_of_queue_to']]
            row.append(f'{min(ratios):.2f}' if ratios else '')
            rows.append(row)
        unit = unit or (cases[0]['unit'] if cases else '')
        return table([unit] + columns + ['ratio'], rows)

    def block_machine(self):
        machine = self.run['machine']
        rows = [[name, f'`{machine[name]}`'] for name in (
            'date', 'commit', 'queue', 'postgresql', 'cpu', 'cores',
            'memory_mb', 'kernel', 'file_system', 'commit_ms', 'rounds',
            'seconds', 'backlog') if name in machine]
        rows += [[k.replace('version.', ''), f'`{v}`']
                 for k, v in sorted(machine.items()) if k.startswith('version.')]
        rows += [[k, f'`{v}`'] for k, v in sorted(self.run['settings'].items())]
        return table(['what', 'value'], rows)

    def block_warnings(self):
        return ''.join(f'- {w}\n' for w in self.run['warnings']) or 'None.\n'

    def block_targets(self):
        rows = []
        for case in self.run['cases']:
            for t in case['targets']:
                of = t['against']
                of = case['unit'] if of == 'value' else 'ratio to ' + \
                    of.lstrip('@')
                title = case['title']
                if case['metric'] != 'main':
                    title += ', ' + case['metric']
                rows.append([title, of, f"{t['op']} {t['threshold']}",
                             number(t['value']),
                             'met' if t['met'] == 'yes' else '**missed**'])
        text = table(['target', 'of', 'wanted', 'found', ''], rows)
        missing = self.run.get('targets_not_measured', [])
        if missing:
            text += '\nNot measured in this run: ' + '; '.join(missing) + '.\n'
        return text

    def block_enqueue(self):
        return self.compare(r'enqueue(_server)? b=.*')

    def block_claim(self):
        return self.compare(r'(drain_\w+|pop|claim) b=.*')

    def block_cost(self):
        rows = []
        for case in self.run['cases']:
            if not case['key'].startswith(('cycle', 'enqueue b', 'drain_b')):
                continue
            if case['metric'] in ('wal', 'cpu', 'pages'):
                rows.append(case)
        columns = self.order(rows)
        unit = {'wal': 'bytes of WAL', 'cpu': 'µs of CPU',
                'pages': 'pages dirtied per 1,000'}
        return table(['a message'] + columns, [
            [f"{c['title']}: {unit[c['metric']]}"] +
            [number(c['median'][w]) if w in c['median'] else ''
             for w in columns] for c in rows])

    def block_wakeup(self):
        return self.latencies(r'wakeup r=\d+')

    def block_duplex(self):
        return self.latencies(r'duplex r=\d+')

    def latencies(self, pattern):
        rows = []
        for case in self.run['cases']:
            if case['metric'] != 'main' or \
                    not re.fullmatch(pattern, case['key']):
                continue
            tails = {c['metric']: c['median'] for c in self.run['cases']
                     if c['key'] == case['key']}
            for who in self.order([case]):
                rows.append([case['title'].replace(', median', ''), who] + [
                    number(tails[m][who]) if m in tails else ''
                    for m in ('main', 'p99', 'p99.9')])
        return table(['ms', 'who', 'p50', 'p99', 'p99.9'], rows)

    def block_bloat(self):
        rows = []
        for key in ('snapshot', 'idle_xact', 'straggler', 'delayed'):
            found = {c['metric']: c for c in self.run['cases']
                     if c['key'] == key}
            if 'main' not in found:
                continue
            for who in self.order([found['main']]):
                rows.append([found['main']['title'], who] + [
                    number(found[m]['median'][who]) if m in found else ''
                    for m in ('main', 'flat', 'size', 'growth', 'rate')])
        return table(['case', 'who', 'claim at the end, ms', 'against the start',
                      'MB', 'growth', 'messages/s'], rows)

    def block_queues(self):
        return self.compare(r'many_queues q=\d+')

    def block_idle(self):
        rows = []
        for case in self.run['cases']:
            if case['key'].startswith('idle queues'):
                for who in self.order([case]):
                    rows.append([case['title'], who, case['unit'],
                                 number(case['median'][who])])
        return table(['case', 'who', 'unit', 'figure'], rows)

    def block_restart(self):
        rows = []
        for case in self.run['cases']:
            if case['key'] == 'restart':
                title = case['title'] if case['metric'] == 'main' \
                    else case['metric']
                rows += [[title, who, case['unit'],
                          number(case['median'][who])]
                         for who in self.order([case])]
        return table(['restart', 'who', 'unit', 'figure'], rows)


def put_instructions(table_file, page):
    with open(table_file) as f:
        rows = [line for line in f if line.startswith('|')]
    with open(page) as f:
        text = f.read()
    start, end = '<!-- instructions -->\n', '<!-- end instructions -->'
    before, rest = text.split(start)
    with open(page, 'w') as f:
        f.write(before + start + ''.join(rows) + end + rest.split(end)[1])


def main():
    if sys.argv[1] == '--instructions':
        put_instructions(*sys.argv[2:4])
        return
    with open(sys.argv[1]) as f:
        document = Document(json.load(f))
    with open(sys.argv[2]) as f:
        text = f.read()

    def fill(match):
        make = getattr(document, 'block_' + match.group(2).replace('-', '_'))
        return match.group(1) + make() + match.group(3)

    with open(sys.argv[2], 'w') as f:
        f.write(BLOCK.sub(fill, text))


if __name__ == '__main__':
    main()
