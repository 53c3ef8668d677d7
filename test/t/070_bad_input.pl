# Bad input: every function of the extension, taken from pg_proc, with NULLs,
# extremes, odd arrays, queues of the wrong kind, names that attack quoting,
# forged receipts, and with tables and catalogs that somebody damaged.  An
# error is fine; a crash, a call that does not end and an internal error
# (XX000) are not.  QUEUE_BAD_INPUT_CALLS sets how many random calls are made
# of each function, QUEUE_BAD_INPUT_SEED which.
use strict;
use warnings;

use BadInput;
use QueueTest;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{QUEUE_BAD_INPUT_SEED} // time % 1_000_000;
my $calls = $ENV{QUEUE_BAD_INPUT_CALLS} // 15;
note "seed $seed";
srand $seed;

my $node = new_server('bad_input',
	conf => [ 'fsync = off', 'queue.truncate_grace = 0',
		"log_line_prefix = '%m [%p] %e '" ]);
my $db = connect_db($node, must => 1);
$db->do('SET client_min_messages = error');
$db->do("SET statement_timeout = '10 s'");
$db->do('CREATE EXTENSION pageinspect');
my @functions = functions($db);
cmp_ok(scalar @functions, '>', 30, 'functions are found');

# One report for many calls.
my @failures;

sub report
{
	my ($what) = @_;
	is(join("\n", @failures[ 0 .. ($#failures > 5 ? 5 : $#failures) ]), '',
		$what);
	@failures = ();
	return;
}

sub attempt
{
	my ($sql, $short) = @_;
	$db->do("SET statement_timeout = '50 ms'") if $short;
	my $failure = try_call($db, $sql);
	push @failures, $failure if $failure;
	if ($failure && $db->ping <= 0)
	{
		$db = undef;
		wait_for_true(30, sub { $db = connect_db($node) });
		$db->do('SET client_min_messages = error');
	}
	$db->do("SET statement_timeout = '10 s'") if $short;
	return;
}

# Good values of the parameters, and where a name of a queue goes.
sub is_queue_parameter
{
	my ($name) = @_;
	return $name =~ /^(?:queue|queues|name|source|target|dead_letter_queue|
		dead_letter|topic|stream)$/x;
}

sub good
{
	my ($function, $i, $queue) = @_;
	my ($name, $type) = ($function->{names}[$i], $function->{types}[$i]);
	my $quoted = $db->quote($queue);
	return $type eq '_text' ? "ARRAY[$quoted]" : $quoted
	  if is_queue_parameter($name);
	return $i < $function->{required} ? values_of($type)->[0] : undef;
}

sub waits
{
	my ($function) = @_;
	return scalar grep { /^(?:wait|timeout)$/ } @{ $function->{names} };
}

# The parameters that are undef, and all after, keep their defaults.
sub call_with
{
	my ($function, %given) = @_;
	my @arguments;
	for my $i (0 .. $#{ $function->{names} })
	{
		my $value = $given{$i};
		my $type = $function->{types}[$i] =~ s/^_(.*)/$1\[]/r;
		$type = "queue.$type" if $type =~ /^message/;
		$type = '"char"' if $type eq 'char';
		push @arguments, qq{"$function->{names}[$i]" => CAST($value AS $type)}
		  if defined $value;
	}
	my $list = join ', ', @arguments;
	return $function->{kind} eq 'p'
	  ? "CALL $function->{name}($list)"
	  : "SELECT * FROM $function->{name}($list) LIMIT 100";
}

my @queues = make_fixtures($db);
note "queues: @queues";
for my $function (@functions)
{
	next if $function->{trigger};
	my @types = @{ $function->{types} };
	my @unknown = grep { !values_of($_) } @types;
	is("@unknown", '', "$function->{name}: its types are known to this test");
	next if @unknown;

	my $began = time;
	# one bad value at a time
	for my $i (0 .. $#types)
	{
		make_fixtures($db);
		for my $bad (@{ values_of($types[$i]) })
		{
			my %given = map { $_ => good($function, $_, 'plain') } 0 .. $#types;
			$given{$i} = $bad;
			attempt(call_with($function, %given), waits($function));
		}
	}
	# each kind of queue
	for my $queue (@queues)
	{
		attempt(call_with($function,
				map { $_ => good($function, $_, $queue) } 0 .. $#types));
	}
	# anything, and all NULL
	attempt(call_with($function, map { $_ => 'NULL' } 0 .. $#types));
	for (1 .. @types ? $calls : 1)
	{
		my %given;
		for my $i (0 .. $#types)
		{
			my @choice = @{ values_of($types[$i]) };
			$given{$i} = rand() < 0.4
			  ? good($function, $i, $queues[ rand @queues ])
			  : rand() < 0.3 && $i >= $function->{required}
			  ? undef : $choice[ rand @choice ];
		}
		attempt(call_with($function, %given), waits($function));
	}
	report(sprintf '%s: no crash, no XX000, no endless call (%.1f s)',
		$function->{name}, time - $began);
}
# The trigger function, called and put where it does not belong.
for my $function (grep { $_->{trigger} } @functions)
{
	attempt("SELECT $function->{name}()");
	$db->do('CREATE TABLE odd_table (a int)');
	$db->do("CREATE TRIGGER t BEFORE INSERT ON odd_table FOR EACH ROW
		EXECUTE FUNCTION $function->{name}('x')");
	attempt('INSERT INTO odd_table VALUES (1)');
	$db->do('DROP TABLE odd_table');
}
report('trigger functions where they do not belong');
is(crashed($node), '', 'no crash');

# Forged receipts by the million: no error, no effect, not a bit of the pages.
$db->do("SELECT queue.create('forged', visibility_timeout => '1 h')");
value($db, "SELECT queue.enqueue('forged', to_jsonb(i))
	FROM generate_series(1, 2000) i");
my @leased = column($db, "SELECT receipt FROM queue.dequeue('forged', 1000)");
my $table = value($db, "SELECT relation FROM queue.segments
	WHERE queue = 'forged' AND chain = 'main' AND state = 'open'");
# Sets the hint bits, which wait for the worker's asynchronous commits.
$db->do('CHECKPOINT');
value($db, 'SELECT count(*) FROM queue.forged');
my $image = "SELECT md5(string_agg(get_raw_page('$table', b::int), ''
		ORDER BY b))
	FROM generate_series(0, pg_relation_size('$table') / 8192 - 1) b";
my $before = value($db, $image);
$db->do("CREATE TABLE image AS SELECT b, get_raw_page('$table', b::int) AS page
	FROM generate_series(0, pg_relation_size('$table') / 8192 - 1) b");
$db->do("CREATE TABLE forgeries AS
	SELECT (random() * 9223372036854775000)::bigint *
		CASE WHEN random() < 0.5 THEN -1 ELSE 1 END AS r
	FROM generate_series(1, 600000)
	UNION ALL SELECT (r & (-33554432)::bigint) |
		(((r & 33554431) + 1 + i * 7919) % 33554432)
	FROM unnest(?::bigint[]) r, generate_series(1, 399) i
	UNION ALL SELECT unnest(ARRAY[0, 1, -1, 9223372036854775807,
		-9223372036854775808, 33554431, 33554432]::bigint[])", undef,
	\@leased);
for my $function (receipt_functions($db))
{
	my %given = map { $_ => good($function, $_, 'forged') }
	  0 .. $#{ $function->{types} };
	my ($i) = grep { $function->{names}[$_] =~ /^receipts?$/ }
	  0 .. $#{ $function->{names} };
	my $many = $function->{types}[$i] eq '_int8';
	$given{$i} = $many ? '(SELECT array_agg(r) FROM forgeries)'
	  : '(SELECT r FROM forgeries ORDER BY random() LIMIT 1)';
	my $sql = call_with($function, %given);
	my $accepted = 0;
	$accepted += value($db, $sql) ? 1 : 0 for 1 .. $many ? 1 : 200;
	is($accepted, 0, "$function->{name}: forged receipts do nothing");
}
is(value($db, $image), $before, 'not a bit of the pages has changed')
  or diag join "\n", column($db, "SELECT format('page %s byte %s: %s, was %s',
		b, i, get_byte(get_raw_page('$table', b::int), i), get_byte(page, i))
	FROM image, generate_series(0, 8191) i
	WHERE get_byte(get_raw_page('$table', b::int), i) <> get_byte(page, i)
	LIMIT 40");
is(value($db, "SELECT queue.ack_batch('forged', ?)", \@leased), 1000,
	'the true ones are good');

# What a queue is called is a name and nothing else.
for my $name (q{a"b}, q{a'b}, q{a\\b}, q{'; DROP TABLE queue.queue_def; --},
	q{$$; x $$}, "tab\there", "line\nbreak", '%s%n', '"', q{''}, ' ',
	"\x{20ac}\x{1F600}", 'SELECT', 'pg_class', 'queue_def', 'message',
	'x' x 255, "\x{e9}" x 127)
{
	utf8::encode(my $bytes = $name);
	$db->{pg_enable_utf8} = 0;
	my @ok = eval {
		$db->do('SELECT queue.create(?)', undef, $bytes);
		my $id = value($db, "SELECT queue.enqueue(?, '1', key => ?)", $bytes,
			$bytes);
		my ($got, $key, $receipt) = $db->selectrow_array(
			'SELECT id, key, receipt FROM queue.dequeue(?)', undef, $bytes);
		my $acked = value($db, 'SELECT queue.ack(?, ?)', $bytes, $receipt);
		$db->do("SELECT queue.grant_access(?, 'pg_monitor', 'send')", undef,
			$bytes);
		my $seen = value($db,
			'SELECT count(*) FROM queue.stats WHERE queue = ?', $bytes);
		$db->do('SELECT queue.purge(?), queue.pause(?), queue.resume(?)',
			undef, $bytes, $bytes, $bytes);
		$db->do('SELECT queue.drop(?)', undef, $bytes);
		($got == $id, $key eq $bytes, $acked, $seen == 1);
	};
	is(scalar(grep { $_ } @ok), 4,
		'queue called ' . ($bytes =~ s/[^ -~]/?/gr) =~ s/(.{40}).*/$1/r)
	  or diag $@;
}

# Text that is no text: a database without an encoding takes any bytes.
$db->do("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C'
	TEMPLATE template0");
{
	my $ascii = connect_db($node, must => 1, dbname => 'ascii');
	$ascii->do('CREATE EXTENSION queue');
	for my $bytes ('\xff\xfe', '\xc3', '\xed\xa0\x80\xf5', '\x80' x 255)
	{
		my $key = value($ascii, "SELECT queue.create(E'$bytes'),
			queue.enqueue(E'$bytes', key => E'$bytes')") // '';
		is(value($ascii, "SELECT count(*) FROM queue.pop(E'$bytes')
			WHERE key = E'$bytes'"), 1,
			'bytes that are no text: ' . substr $bytes, 0, 16);
		my $failure = try_call($ascii, "SELECT queue.enqueue(E'$bytes'
			|| 'x', '1')");
		is($failure, '', 'and in an error message');
	}
	is(try_call($ascii, 'SELECT * FROM queue.stats, queue.in_flight'), '',
		'and in views');
	$ascii->disconnect;
}

# Hostile or clumsy DDL on a queue's tables, and damaged catalogs.  Each is
# done to a queue of its own that has ready, leased, delayed and dead
# messages; then every function is called with it.  $p is its parent, $s its
# segment, $t the segment's TOAST table, $i the queue's number.
my %damage = (
	'a row trigger on the parent' => q{CREATE TRIGGER h BEFORE INSERT OR
		UPDATE OR DELETE ON $p FOR EACH ROW EXECUTE FUNCTION hostile()},
	'a row trigger on the segment' => q{CREATE TRIGGER h BEFORE INSERT OR
		UPDATE OR DELETE ON $s FOR EACH ROW EXECUTE FUNCTION hostile()},
	'a rule on the parent' => q{CREATE RULE h AS ON INSERT TO $p
		DO INSTEAD NOTHING},
	'a rule on the segment' => q{CREATE RULE h AS ON DELETE TO $s
		DO INSTEAD NOTHING},
	'row-level security on the parent' =>
	  q{ALTER TABLE $p ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY},
	'row-level security on the segment' =>
	  q{ALTER TABLE $s ENABLE ROW LEVEL SECURITY},
	'a column more' => q{ALTER TABLE $p ADD COLUMN more int DEFAULT 5},
	'a column more, generated' => q{ALTER TABLE $s ADD COLUMN more int
		GENERATED ALWAYS AS (1 / (priority + 1)) STORED},
	'a column less' => q{ALTER TABLE $p DROP COLUMN body},
	'a fixed column less' => q{ALTER TABLE $p DROP COLUMN lease},
	'another name of a column' => q{ALTER TABLE $p RENAME COLUMN lease TO x},
	'another type' => q{ALTER TABLE $p ALTER COLUMN id TYPE int},
	'a longer type' => q{ALTER TABLE $p ALTER COLUMN lease TYPE text},
	'NULL allowed' => q{ALTER TABLE $p ALTER COLUMN visible_at DROP NOT NULL},
	'a check' => q{ALTER TABLE $s ADD CHECK (hostile_check(id)) NOT VALID},
	'an index on the segment' => q{CREATE INDEX ON $s (hostile_key(id))},
	'an index on the parent' => q{CREATE INDEX ON $p (id)},
	'a default' => q{ALTER TABLE $s ALTER COLUMN key SET DEFAULT hostile_key(1)},
	'no inheritance' => q{ALTER TABLE $s NO INHERIT $p},
	'another child' => q{CREATE TABLE other_child () INHERITS ($p);
		ALTER TABLE other_child DISABLE TRIGGER ALL},
	'a segment dropped' => q{DROP TABLE $s},
	'the parent dropped' => q{DROP TABLE $p CASCADE},
	'a view in place of the segment' => q{DROP TABLE $s;
		CREATE VIEW $s AS SELECT 1 AS id},
	'a view in place of the parent' => q{DROP TABLE $p CASCADE;
		CREATE VIEW $p AS SELECT 1 AS id},
	'another name of the segment' => q{ALTER TABLE $s RENAME TO renamed},
	'another schema' => q{ALTER TABLE $s SET SCHEMA public},
	'an unlogged segment' => q{ALTER TABLE $s SET UNLOGGED},
	'the sequence dropped' => q{DROP SEQUENCE queue.queue_$i_ids CASCADE},
	'the sequence at its end' =>
	  q{SELECT setval('queue.queue_$i_ids', 9223372036854775807)},
	'the sequence set back' => q{SELECT setval('queue.queue_$i_ids', 1)},
	'the sequence with another step' =>
	  q{ALTER SEQUENCE queue.queue_$i_ids INCREMENT -1 MINVALUE -5 RESTART 3},
	'VACUUM FULL' => q{VACUUM FULL $s},
	'rows of plain SQL' => q{SET session_replication_role = replica;
		ALTER TABLE $s DISABLE TRIGGER ALL;
		INSERT INTO $s SELECT g, 'infinity', -5, -1, 2147483647, 99, -1, -1,
			'-infinity', '-infinity', NULL, 'null', NULL, '[]'
			FROM generate_series(1, 20) g;
		UPDATE $s SET visible_at = '-infinity', failures = 2147483647,
			deliveries = 2147483647;
		RESET session_replication_role},
	'no triggers' => q{ALTER TABLE $s DISABLE TRIGGER ALL},
	'TRUNCATE' => q{SET session_replication_role = replica;
		ALTER TABLE $s DISABLE TRIGGER ALL;
		TRUNCATE $s; RESET session_replication_role},
	'queue_def: no relation' =>
	  q{UPDATE queue.queue_def SET relation = 0 WHERE id = $i},
	'queue_def: relation of the catalog' =>
	  q{UPDATE queue.queue_def SET relation = 'pg_class' WHERE id = $i},
	'queue_def: relation is an index' =>
	  q{UPDATE queue.queue_def SET relation = 'pg_class_oid_index'
		WHERE id = $i},
	'queue_def: no ids' => q{UPDATE queue.queue_def SET ids = 0 WHERE id = $i},
	'queue_def: ids is a table' =>
	  q{UPDATE queue.queue_def SET ids = 'pg_class' WHERE id = $i},
	'queue_def: kind' => q{UPDATE queue.queue_def SET kind = 'x' WHERE id = $i},
	'queue_def: numbers' => q{UPDATE queue.queue_def SET max_attempts = -1,
		next_life = -1, partitions = 0, max_messages = -1, max_in_flight = -1,
		retention_bytes = -1, max_message_bytes = -1 WHERE id = $i},
	'queue_def: durations' => q{UPDATE queue.queue_def SET
		visibility_timeout = '-1 s', retry_delay = '178000000 years',
		delay = '-178000000 years', ttl = '0', dedup_window = '-1 s',
		retention = '-1 s', archive = '-1 s' WHERE id = $i},
	'queue_def: words' => q{UPDATE queue.queue_def SET retry_backoff = 'x',
		overflow = 'y', persistence = 'z', dead_letter = 'no such'
		WHERE id = $i},
	'segment_def: no relation' =>
	  q{UPDATE queue.segment_def SET relation = life WHERE queue_id = $i},
	'segment_def: relation of the catalog' => q{UPDATE queue.segment_def SET
		relation = 'pg_class', relfilenode = pg_relation_filenode('pg_class')
		WHERE queue_id = $i AND life = 1},
	'segment_def: another queue' => q{UPDATE queue.segment_def SET
		queue_id = 1, life = 4000 + life WHERE queue_id = $i},
	'segment_def: life' => q{UPDATE queue.segment_def SET life = -life
		WHERE queue_id = $i},
	'segment_def: letters' => q{UPDATE queue.segment_def SET chain = 'x',
		state = 'y', layout = -1 WHERE queue_id = $i},
	'segment_def: another file' => q{UPDATE queue.segment_def SET
		relfilenode = 1, system_identifier = 0 WHERE queue_id = $i},
	'segment_def: empty' => q{DELETE FROM queue.segment_def
		WHERE queue_id = $i},
	'forwarding in a circle' => q{INSERT INTO queue.forwarding
		SELECT $i, r, r FROM forgeries LIMIT 1000});

$db->do(q{
	CREATE FUNCTION hostile() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION ''hostile trigger''; END';
	CREATE FUNCTION hostile_check(bigint) RETURNS boolean LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION ''hostile check''; END';
	CREATE FUNCTION hostile_key(bigint) RETURNS text LANGUAGE plpgsql
		IMMUTABLE AS 'BEGIN RETURN $1::text; END';
	CREATE ROLE victim;
	GRANT victim TO CURRENT_USER});
my $n = 0;
for my $what (sort keys %damage)
{
	my $queue = 'damaged_' . ++$n;
	$db->do("SELECT queue.create('$queue', retry_delay => '0',
		max_attempts => 3)");
	value($db, "SELECT queue.enqueue('$queue', to_jsonb(i))
		FROM generate_series(1, 50) i");
	my @receipts = column($db, "SELECT receipt
		FROM queue.dequeue('$queue', 20, '1 h')");
	value($db, "SELECT queue.reject('$queue', ?)", $receipts[0]);
	$db->do("SELECT queue.enqueue('$queue', delay => '1 h')");
	my ($id, $parent, $segment) = $db->selectrow_array(
		"SELECT d.id, d.relation::regclass, s.relation::regclass
		FROM queue.queue_def d JOIN queue.segment_def s ON s.queue_id = d.id
		WHERE d.name = ? AND s.chain = 'm'", undef, $queue);
	my $sql = $damage{$what} =~ s/\$p/$parent/gr =~ s/\$s/$segment/gr
	  =~ s/\$i/$id/gr;
	eval { $db->do($_) or 1 } or diag "$what: $@" for split /;\s*/, $sql;
	$db->do('RESET session_replication_role');

	my $list = '{' . join(',', @receipts) . '}';
	for my $function (@functions)
	{
		next if $function->{trigger} || $function->{name} =~ /drop"?$/;
		my %given = map { $_ => good($function, $_, $queue) }
		  0 .. $#{ $function->{types} };
		for my $i (0 .. $#{ $function->{names} })
		{
			$given{$i} = "'$list'" if $function->{names}[$i] eq 'receipts';
			$given{$i} = $receipts[ rand @receipts ]
			  if $function->{names}[$i] eq 'receipt';
		}
		attempt(call_with($function, %given));
	}
	attempt("SELECT * FROM queue.$_")
	  for column($db, "SELECT relname FROM pg_class
		WHERE relnamespace = 'queue'::regnamespace AND relkind = 'v'
		AND relname !~ '^(damaged|q[0-9])'");
	attempt("SELECT queue.drop('$queue', true)");
	# put away what could not be dropped, so that the rest goes on
	$db->do('DELETE FROM queue.segment_def WHERE queue_id = ? OR life > 4000',
		undef, $id);
	$db->do('DELETE FROM queue.queue_def WHERE id = ?', undef, $id);
	$db->do('DELETE FROM queue.forwarding WHERE queue_id = ?', undef, $id);
	eval { $db->do("DROP VIEW IF EXISTS $_ CASCADE") } for $parent, $segment;
	eval { $db->do("DROP TABLE IF EXISTS $_ CASCADE") } for $parent, $segment;
	report("$what: an error at most");
}
ok(wait_for_worker($node), 'the worker is there');
is(crashed($node), '', 'no crash');
# Also in the worker, which nobody asks.
my %internal = map { s/^.*? XX/XX/r => 1 }
  grep { /^[^a-z]+ XX\d\d\d / } split /\n/, server_log($node);
is(join("\n", sort keys %internal), '', 'no internal error in the log');
my %states;
$states{$_}++ for server_log($node) =~ /^[-0-9:. ]+ \S+ \[\d+\] (\w{5}) ERROR/gm;
note join ', ', map { "$_ $states{$_}" } sort keys %states;
cmp_ok(scalar keys %states, '>', 7, 'many kinds of errors were met');
value($db, "SELECT queue.enqueue('plain', '\"last\"')");
is(value($db, "SELECT count(*) FROM queue.dequeue('plain', 100000)
	WHERE body = '\"last\"'"), 1, 'queues that nobody damaged work');
done_testing();
