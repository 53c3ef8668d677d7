# Values that functions do not expect, for each type of parameter, and calls of
# every function of the extension with them.  What there is to call is taken
# from pg_proc, so that a new function is covered by being there.
package BadInput;

use strict;
use warnings;

use Exporter 'import';
use QueueTest;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(functions values_of call_sql try_call make_fixtures
  receipt_functions long_name);

sub long_name
{
	return 'n' x $_[0];
}

# SQL expressions.  The first of each is a good value.
my %values = (
	bool => [ 'true', 'false', 'NULL' ],
	int4 => [ '1', '0', '-1', '2', '2147483647', '(-2147483648)', 'NULL' ],
	int8 => [ '1', '0', '-1', '33554431', '33554432', '4503599627370496',
		'9223372036854775807', '(-9223372036854775808)', 'NULL' ],
	oid => [ '0', '1', '4294967295', 'NULL' ],
	float8 => [ '1', '0', '-1', "'NaN'", "'Infinity'", "'-Infinity'",
		'1e308', 'NULL' ],
	text => [ "'plain'", "''", "' '", "'no such queue'", "'queue_def'",
		"'pg_class'", "'work'", "'fifo'", "'stream'", "'topic'",
		"'%s%n%d'", "'a;b'", q{'"'}, q{''''}, q{'"; DROP TABLE x; --'},
		q{E'line\nbreak\t\\\\'}, q{E'\u202Eright\u0301\U0001F600'},
		q{'$$'}, "repeat('x', 63)", "repeat('x', 255)", "repeat('x', 256)",
		"repeat(chr(8364), 85)", "repeat('x', 1000000)", "'-1'", "'#.*.#'",
		"'infinity'", "'* * * * *'", 'NULL' ],
	interval => [ "'1 s'", "'0'", "'-1 s'", "'1 microsecond'", "'100 years'",
		"'101 years'", "'178000000 years'", "'-178000000 years'",
		"'1 month -30 days'", "'-1 month 40 days'",
		"'2147483647 days'", "'9223372036854775807 microseconds'", 'NULL' ],
	timestamptz => [ 'now()', "'infinity'", "'-infinity'",
		"'4713-01-01 BC'", "'294276-12-31 23:59:59'", "'epoch'", 'NULL' ],
	jsonb => [ q('{"a": 1}'), "'{}'", "'null'", "'[]'", "'1'",
		q('"s"'), q('{"x-death": 1}'), q('{"x-death": [null, {}, [1]]}'),
		q('{"x-death": [{"queue": 5, "count": "x", "first": {}}]}'),
		q('{"a": {"b": [1, {"c": null}]}}'),
		"(repeat('[', 1000) || repeat(']', 1000))",
		"to_jsonb(repeat('x', 1000000))",
		"jsonb_build_object(repeat('k', 10000), repeat('v', 10000))",
		'NULL' ],
	bytea => [ q('\x00ff'), "''", "decode(repeat('00', 1000000), 'hex')",
		'NULL' ],
	regrole => [ "'postgres'", "'pg_monitor'", '0::oid', '4294967295::oid',
		'1::oid', "'-'", 'NULL' ],
	name => [ "'plain'", "''", 'NULL' ],
	regclass => [ "'pg_class'", '0::oid', '4294967295::oid', 'NULL' ],
	char => [ "'a'", "''", 'NULL' ]);

# NULLs, empty, several dimensions, other bounds, many.
sub array_values
{
	my ($element) = @_;
	my $first = "(($values{$element}[0])::$element)";
	my @bad = map { "ARRAY[($_)::$element]" }
	  grep { !/1000000|\[', 1000/ } @{ $values{$element} };
	return [ "ARRAY[$first]", 'NULL', "'{}'",
		"ARRAY[NULL]::$element\[]", "ARRAY[$first, NULL]",
		"ARRAY[NULL, $first, NULL]",
		"ARRAY[[$first, $first], [$first, $first]]",
		"ARRAY[[NULL]]::$element\[]",
		"ARRAY[[[$first]]]",
		"array_fill($first, ARRAY[2], ARRAY[5])",
		"array_fill($first, ARRAY[2], ARRAY[-2147483648])",
		"array_fill($first, ARRAY[3], ARRAY[2147483644])",
		"array_fill($first, ARRAY[1, 2], ARRAY[0, -7])",
		"array_fill($first, ARRAY[30000])",
		"array_fill(NULL::$element, ARRAY[300000])",
		@bad ];
}

# What to try for a type as pg_proc has it; undef for one not known here.
sub values_of
{
	my ($type) = @_;
	return $values{$type} if $values{$type};
	return array_values($1) if $type =~ /^_(.*)/ && $values{$1};
	return [ 'NULL', "'{}'", "ARRAY[NULL]::queue.message[]",
		"ARRAY[ROW(1, 1, NULL, NULL, NULL, NULL, 0, 1, 0, now(), now(), NULL)"
		  . '::queue.message]' ]
	  if $type eq '_message';
	return [ 'NULL', 'ROW(1, 1, NULL, NULL, NULL, NULL, 0, 1, 0, now(), '
		. 'now(), NULL)',
		q{ROW(NULL, NULL, '1', '', '{"reply_to": 5}', '', -1, -1, -1,
			'infinity', '-infinity', NULL)},
		'ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '
		. 'NULL, NULL)' ]
	  if $type eq 'message';
	return;
}

# All functions and procedures that belong to the extension: name, kind,
# names and types of the input parameters, and how many have no default.
sub functions
{
	my ($db) = @_;
	my $rows = $db->selectall_arrayref(q{
		SELECT 'queue.' || quote_ident(p.proname) AS name, p.prokind AS kind,
			p.pronargs - p.pronargdefaults AS required,
			p.prorettype = 'trigger'::regtype AS trigger,
			ARRAY(SELECT p.proargnames[i]
				FROM generate_series(1, p.pronargs) i) AS names,
			ARRAY(SELECT t.typname::text
				FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY a(type, i)
				JOIN pg_type t ON t.oid = a.type ORDER BY i) AS types
		FROM pg_depend d
		JOIN pg_proc p ON p.oid = d.objid
		WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = (SELECT oid FROM pg_extension
				WHERE extname = 'queue')
		ORDER BY 1, p.pronargs}, { Slice => {} });
	return @$rows;
}

# Those of them that take receipts.
sub receipt_functions
{
	my ($db) = @_;
	return grep {
		grep { /^receipts?$/ } @{ $_->{names} }
	} functions($db);
}

# Runs it.  Returns '' or what must not be: an internal error, a lost
# connection, a call that does not end.  A call that waits may be cancelled.
sub try_call
{
	my ($db, $sql, $limit) = @_;
	$limit //= 10;
	my $began = time;
	return '' if eval { $db->do($sql); 1 };
	my $error = $db->errstr // $@;
	my $state = $db->state // '';
	my $short = substr $sql, 0, 300;
	return "$state: $error: $short"
	  if $state =~ /^XX|^08|^57P|^58/ || $db->ping <= 0;
	return "took " . (time - $began) . " s: $short"
	  if time - $began > $limit;
	return '';
}

# Queues of every kind that this version can make, with something in them.
my %made = (
	plain => '', work => '', fifo => "kind => 'fifo'",
	stream => "kind => 'stream'",
	limited => 'max_messages => 100, max_message_bytes => 1000',
	dropping => "max_messages => 10, overflow => 'drop_oldest'",
	mortal => "max_attempts => 1, dead_letter => 'work', ttl => '1 s'",
	dedup => "dedup_window => '1 h'", single => 'single_active => true',
	flight => 'max_in_flight => 2', fair => 'fair => true',
	archived => "archive => '1 h'",
	unlogged => "persistence => 'unlogged'",
	q{odd "name" ' ;--} => '');

# Makes those that are missing; returns the names of all.
sub make_fixtures
{
	my ($db) = @_;
	my @there;
	# what a queue refers to comes first
	for my $name ('work', sort grep { $_ ne 'work' } keys %made)
	{
		my $quoted = $db->quote($name);
		push @there, $name;
		next if value($db,
			'SELECT EXISTS (SELECT FROM queue.queue_def WHERE name = ?)',
			$name);
		my $properties = $made{$name} ? ", $made{$name}" : '';
		if (!eval { $db->do("SELECT queue.create($quoted$properties)"); 1 })
		{
			die $@ unless $db->state eq '0A000';
			pop @there;
			next;
		}
		eval { $db->do("SELECT queue.enqueue($quoted, to_jsonb(i), key => 'k')
			FROM generate_series(1, 10) i") };
	}
	return @there;
}

1;
