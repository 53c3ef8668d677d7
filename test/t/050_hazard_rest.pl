# Hazards that need a server of their own kind: rollbacks of serializable
# consumers, snapshots of those who wait, leases on disk, process ids that come
# again, tables under a held snapshot, bodies out of line.  The numbers are
# those of the table in doc/reliability.md.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('rest', conf => [ 'queue.segment_size = 1MB',
	'queue.truncate_grace = 0', 'autovacuum = off', 'wal_level = replica',
	'wal_writer_delay = 10s', 'bgwriter_lru_maxpages = 0',
	'checkpoint_timeout = 1h', 'full_page_writes = on' ]);
my $db = connect_db($node, must => 1);
$db->do('CREATE EXTENSION amcheck');
my ($one, $two) = map { connect_db($node, must => 1, transactions => 1) } 1 .. 2;

sub segments
{
	my ($queue) = @_;
	return column($db, "SELECT s.relation FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id WHERE d.name = '$queue'");
}

# --- 17: a serialization failure counts like any other rollback

$db->do("SELECT queue.create('serial', retry_delay => '0',
	retry_backoff => 'none', max_attempts => 4)");
$db->do("SELECT queue.enqueue('serial', '1')");
$db->do('CREATE TABLE account AS SELECT 0 AS n');
for my $i (1 .. 3)
{
	$one->do('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
	my $id = wait_for_true(10, sub {
		my ($id) = column($one, "SELECT id FROM queue.dequeue('serial')");
		return $id if $id;
		$one->rollback;
		$one->do('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
		return;
	});
	ok($id, "delivery $i");
	$db->do('UPDATE account SET n = n + 1');
	ok(!eval { $one->do('UPDATE account SET n = n + 10'); 1 }, 'it fails');
	is($one->state, '40001', '... to serialize');
	$one->rollback;
	ok(wait_for_true(10, sub { $i == value($db,
		"SELECT failures FROM queue.serial") }),
		'hazard 17: ... and is counted');
}
is(value($db, "SELECT state FROM queue.peek('serial')"), 'ready',
	'... three of four attempts');

# --- 29: who waits in a CALL holds no snapshot

$db->do("SELECT queue.create('waits')");
my $pid = value($one, 'SELECT pg_backend_pid()');
my $watch = sub {
	wait_for_true(10, sub { value($db, "SELECT count(*) FROM queue.consumers
		WHERE queue = 'waits'") });
	sleep 0.2;
	return value($db, "SELECT coalesce(backend_xmin::text, 'none')
		FROM pg_stat_activity WHERE pid = $pid");
};
for my $case ([ 'alone', 'none', '' ], [ 'in a block', 'none', 'SELECT 1' ],
	[ 'in a block with an xid', 'none', 'CREATE TEMP TABLE t ()' ])
{
	my ($name, $expected, $first) = @$case;
	local $one->{AutoCommit} = $name eq 'alone' ? 1 : 0;
	$one->do($first) if $first;
	my $call = begin_call($one, "CALL queue.receive('waits', wait => '20 s')");
	is($watch->(), $expected, "hazard 29: CALL $name");
	$db->do("SELECT queue.enqueue('waits', '1')");
	like(scalar end_call($call), qr/\(\d+,/, '... gets its message');
	$one->commit unless $one->{AutoCommit};
}
$one->rollback unless $one->{AutoCommit};
my $call = begin_call($one, "DO \$\$ DECLARE m queue.message[]; BEGIN
	CALL queue.receive('waits', messages => m, wait => '1 s'); END \$\$");
call_ended($call, 10);
my $state = eval { $one->pg_result; 'no error' } // $one->errstr;
is($state, 'no error', '... nested in PL/pgSQL it works, with a snapshot');
$one->rollback;

# --- 30: durable_claims

$db->do("SELECT queue.create('durable', visibility_timeout => '1 h')");
$db->do("SELECT queue.enqueue('durable', '1')");
$db->do('CHECKPOINT');
$db->do('SET queue.durable_claims = on');
my $receipt = value($db, "SELECT receipt FROM queue.dequeue('durable')");
crash_server($node, all => 1);
$_->disconnect for $one, $two, $db;
start_again($node);
$db = connect_db($node, must => 1);
($one, $two) = map { connect_db($node, must => 1, transactions => 1) } 1 .. 2;
is(value($db, "SELECT count(*) FROM queue.dequeue('durable')"), 0,
	'hazard 30: a durable claim survives a crash');
is(value($db, "SELECT queue.ack('durable', ?)", $receipt), 1,
	'... and its receipt is good');

# --- 31: a process id that is used again

$db->do("SELECT queue.create('holder', visibility_timeout => '1 h')");
$db->do("SELECT queue.enqueue('holder', '1')");
$db->do("SELECT queue.dequeue('holder')");
ok(defined value($db, "SELECT backend_start FROM pg_stat_activity a
	JOIN queue.in_flight f ON f.holder = a.pid AND f.queue = 'holder'
	WHERE f.application_name <> ''"), 'the holder of a lease is shown');
my $young = connect_db($node, must => 1);
my $young_pid = value($young, 'SELECT pg_backend_pid()');
for my $table (segments('holder'))
{
	$db->do("ALTER TABLE $table DISABLE TRIGGER ALL");
	$db->do("UPDATE $table SET holder = $young_pid");
}
is(value($db, "SELECT count(*) FROM queue.in_flight WHERE queue = 'holder'
	AND application_name IS NOT NULL"), 0,
	'hazard 31: a session younger than the lease is not named');

# --- 19: rotation writes no catalog rows, also under a held snapshot

$db->do("SELECT queue.create('rotating')");
my $rotate = sub {
	my $lives = value($db, 'SELECT max(life) FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id WHERE d.name = \'rotating\'');
	$db->do("SELECT queue.enqueue_batch('rotating', array_agg(
		jsonb_build_object('x', repeat('x', 500))))
		FROM generate_series(1, 2200)");
	$db->do("SELECT queue.ack_batch('rotating', array_agg(receipt))
		FROM queue.dequeue('rotating', 3000)");
	return wait_for_true(20, sub { value($db, "SELECT count(*) = 0
		FROM queue.segment_def s JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = 'rotating' AND s.state = 's'") && value($db,
		"SELECT max(life) > $lives FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = 'rotating'") });
};
$rotate->() for 1 .. 2;
my $files = sub { join ' ', map { $_ . ' ' . value($db,
	"SELECT pg_relation_filenode('$_')") } sort(segments('rotating')) };
my $before = $files->();
$one->do('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
value($one, 'SELECT count(*) FROM account');
my $size = value($db, "SELECT pg_relation_size('pg_class')");
ok($rotate->(), 'it rotates under a held snapshot') for 1 .. 4;
is($files->(), $before, 'hazard 19: in place, under the same files');
is(value($db, "SELECT pg_relation_size('pg_class')"), $size,
	'... and pg_class has not grown');
$one->rollback;

# --- 46: one message each from many connections

$db->do("SELECT queue.create('spread')");
for (1 .. 25)
{
	my $other = connect_db($node, must => 1);
	$other->do("SELECT queue.enqueue('spread', '1')");
	$other->disconnect;
}
is(value($db, 'SELECT count(DISTINCT (ctid::text::point)[0]) FROM queue.spread'),
	1, 'hazard 46: 25 connections share a tail page');

# --- 13: a large body beside small ones

$db->do("SELECT queue.create('mixed')");
$one->commit;
$db->do("CREATE TABLE body AS SELECT string_agg(sha512(i::text::bytea), '') AS b
	FROM generate_series(1, 800000) i");
$call = begin_call($one, "SELECT queue.enqueue('mixed', NULL, payload => b)
	FROM body");
my $began = time;
my @took;
until ($one->pg_ready || @took > 200_000)
{
	my $start = time;
	$db->do("SELECT queue.enqueue('mixed', '1')");
	push @took, (time - $start) * 1000;
}
end_call($call, 60);
my $large = (time - $began) * 1000;
$one->commit;
@took = sort { $a <=> $b } @took;
note sprintf '%d small messages beside one of 50 MB: p50 %.2f, p99 %.2f,'
  . ' max %.2f ms; the large one %.0f ms', scalar @took, $took[ @took / 2 ], $took[ @took * 0.99 ],
  $took[-1], $large;
cmp_ok($took[ @took * 0.99 ], '<', 100,
	'hazard 13: small messages do not wait for a large one');
cmp_ok($took[-1], '<', $large / 3 + 50, '... not even one of them');

# --- 42: bodies out of line are not deleted chunk by chunk

$db->do("SELECT queue.create('large', visibility_timeout => '1 h')");
$db->do("CREATE TABLE plain (id int PRIMARY KEY, payload bytea)");
my $body = "(SELECT string_agg(sha512((i * j)::text::bytea), '')
	FROM generate_series(1, 1600) j)";
$db->do("SELECT queue.enqueue('large', NULL, payload => $body)
	FROM generate_series(1, 100) i");
$db->do("INSERT INTO plain SELECT i, $body FROM generate_series(1, 100) i");
my @receipts = column($db, "SELECT receipt FROM queue.dequeue('large', 100)");
$db->do('CHECKPOINT');
value($db, "SELECT queue.ack('large', ?)", shift @receipts) for 1 .. 20;
my $time = time;
my $wal = explain_wal($db, sub {
	value($db, "SELECT queue.ack('large', ?)", $_) for @receipts; });
my $ack_ms = (time - $time) * 1000 / @receipts;
$db->do("DELETE FROM plain WHERE id = $_") for 1 .. 20;
$time = time;
my $plain = explain_wal($db, sub {
	$db->do("DELETE FROM plain WHERE id = $_") for 21 .. 100; });
my $plain_ms = (time - $time) * 1000 / 80;
note sprintf 'ack of a 100 kB body: %.2f ms, %d bytes of WAL;'
  . ' DELETE of such a row: %.2f ms, %d bytes', $ack_ms, $wal / @receipts,
  $plain_ms, $plain / 80;
cmp_ok($wal / @receipts, '<', 5000, 'hazard 42: an ack touches no chunk');
for my $table (segments('large'))
{
	is(value($db, "SELECT count(*) FROM verify_heapam(?)", $table), 0,
		'... and amcheck finds nothing');
	$db->do("VACUUM $table");
	is(value($db, "SELECT count(*) FROM verify_heapam(?)", $table), 0,
		'... after VACUUM neither');
}

# --- 44: full-page images

$db->do("SELECT queue.create('images', visibility_timeout => '1 h')");
for my $checkpoints (0, 1)
{
	my @wal;
	my $check = sub { $db->do('CHECKPOINT') if $checkpoints; };
	$check->();
	push @wal, explain_wal($db, sub { $db->do("SELECT queue.enqueue_batch(
		'images', array_agg(jsonb_build_object('job', i, 'x',
		repeat('x', 60)))) FROM generate_series(1, 1000) i"); });
	$check->();
	my @got;
	push @wal, explain_wal($db, sub { @got = column($db,
		"SELECT receipt FROM queue.dequeue('images', 1000)"); });
	$check->();
	push @wal, explain_wal($db, sub { value($db,
		"SELECT queue.ack_batch('images', ?)", \@got); });
	note sprintf 'WAL a message, %s: send %d, claim %d, ack %d',
	  $checkpoints ? 'a checkpoint before each' : 'no checkpoint',
	  map { $_ / 1000 } @wal;
	cmp_ok($wal[0] + $wal[1] + $wal[2], '<', $checkpoints ? 800_000 : 400_000,
		'hazard 44: WAL of 1000 messages'
		  . ($checkpoints ? ' with full-page images' : ''));
}

# --- 24: the owner's code and the worker

$db->do("CREATE ROLE mallory; CREATE TABLE caught (who text);
	GRANT INSERT ON caught TO PUBLIC;
	GRANT CREATE, USAGE ON SCHEMA queue, public TO mallory");
my $owner = connect_db($node, must => 1);
$owner->do('SET ROLE mallory');
$owner->do("SELECT queue.create('trap')");
$owner->do("CREATE FUNCTION public.spring() RETURNS int LANGUAGE plpgsql
	IMMUTABLE AS \$\$ BEGIN INSERT INTO public.caught VALUES (current_user);
	RETURN 1; END \$\$");
my @planted;
my ($table) = segments('trap');
for my $plant ('ALTER TABLE queue.trap ALTER key SET DEFAULT spring()',
	"ALTER TABLE $table ALTER key SET DEFAULT spring()",
	"CREATE INDEX ON $table ((spring()))",
	"ALTER TABLE $table ADD CHECK (spring() = 1)",
	"CREATE STATISTICS public.s ON (spring()), (id) FROM $table",
	'ALTER DEFAULT PRIVILEGES IN SCHEMA queue GRANT ALL ON TABLES TO PUBLIC')
{
	push @planted, $plant =~ s/ .*//sr if eval { $owner->do($plant); 1 };
}
note scalar(@planted) . ' traps could be set';
eval { $owner->do("SELECT queue.enqueue('trap', '1')") };
sleep 2.5;
is(value($db, "SELECT count(*) FROM caught WHERE who <> 'mallory'"), 0,
	"hazard 24: the owner's code never runs as somebody else");

# Operators and functions that come before those of the catalog, for all who
# connect to the database, the worker included.
$db->do('CREATE SCHEMA evil AUTHORIZATION mallory');
$owner->do('CREATE FUNCTION evil.catch() RETURNS void LANGUAGE plpgsql
	AS $$ BEGIN INSERT INTO public.caught VALUES (current_user); END $$');
for my $type (qw(oid int4 name text "char"))
{
	my $function = 'evil.eq_' . ($type =~ /(\w+)/)[0];
	$owner->do("CREATE FUNCTION $function($type, $type) RETURNS bool
		LANGUAGE plpgsql AS \$\$ BEGIN PERFORM evil.catch();
		RETURN \$1 OPERATOR(pg_catalog.=) \$2; END \$\$");
	$owner->do("CREATE OPERATOR evil.= (LEFTARG = $type, RIGHTARG = $type,
		FUNCTION = $function)");
}
for my $call ('nextval(regclass)|int8', 'pg_get_userbyid(oid)|name',
	'quote_ident(text)|text')
{
	my ($signature, $result) = split /\|/, $call;
	$owner->do("CREATE FUNCTION evil.$signature RETURNS $result
		LANGUAGE plpgsql AS \$\$ BEGIN PERFORM evil.catch();
		RETURN pg_catalog." . ($signature =~ s/\(.*/(\$1)/r)
		  . '; END $$');
}
$db->do('ALTER DATABASE postgres
	SET search_path = evil, pg_catalog, queue, public');
my $worker = worker_pid($node);
kill 'TERM', $worker;
wait_for_true(20, sub { ($worker != (worker_pid($node) // $worker)) });
my $victim = connect_db($node, must => 1);
is(value($victim, "SELECT 'a'::name = 'a'"), 1, 'a trap for each session');
cmp_ok(value($victim, 'SELECT count(*) FROM caught'), '>', 0, '... which works');
$victim->do('TRUNCATE caught');
$victim->disconnect;
$db->do("SELECT queue.create('bait')");
$db->do("SELECT queue.enqueue_batch('bait', array_agg(
	jsonb_build_object('x', repeat('x', 900)))) FROM generate_series(1, 3000)");
$db->do("SELECT queue.enqueue('trap', '1')");
ok(wait_for_true(20, sub { 2 < value($db, "SELECT count(*)
	FROM queue.segment_def s JOIN queue.queue_def d ON d.id = s.queue_id
	WHERE d.name = 'bait'") }), 'the worker makes a segment');
is(value($db, "SELECT count(*) FROM caught"), 0,
	'hazard 24: ... and meets no function of the owner');
$db->do('ALTER DATABASE postgres RESET search_path');

is(crashed($node), '', 'no crash');
done_testing();
