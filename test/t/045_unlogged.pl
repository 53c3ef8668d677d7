# An unlogged queue is empty after a crash and on a promoted standby, and keeps
# everything through a clean restart.  Ids go on, old receipts fit nothing, and
# a logged queue beside it loses nothing.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('unlogged', init => { allows_streaming => 1 },
	conf => [ 'queue.segment_size = 1MB', 'queue.truncate_grace = 0',
		'shared_buffers = 64MB', 'max_wal_size = 1GB',
		'wal_writer_delay = 10s', 'wal_writer_flush_after = 1GB' ]);
my $db = connect_db($node, must => 1);
$db->do("SELECT queue.create('fast', persistence => 'unlogged',
	archive => '1 h'), queue.create('safe')");

# Fills both: ready, delayed and leased ones, several segments, long bodies.
sub fill
{
	for my $q (qw(fast safe))
	{
		$db->do("SELECT queue.enqueue_batch('$q',
			array_agg(to_jsonb(repeat('f', 400)))) FROM generate_series(1, 6000)");
		value($db, "SELECT count(*) FROM queue.pop('$q', 5000)");
		$db->do("SELECT queue.enqueue('$q', to_jsonb(string_agg(md5(i::text), '')))
			FROM generate_series(1, 1000) i");
		$db->do("SELECT queue.enqueue('$q', '1', delay => '2 h')");
	}
	return column($db, "SELECT receipt FROM queue.dequeue('fast', 3)");
}

sub states
{
	my ($q) = @_;
	return join ' ', column($db, "SELECT state || '=' || count(*)
		FROM queue.peek('$q', 10000) GROUP BY state ORDER BY state");
}

sub empty_and_usable
{
	my ($what, $top, @receipts) = @_;
	is(value($db, 'SELECT count(*) FROM queue.fast'), 0, "$what: empty");
	is(value($db, "SELECT total FROM queue.stats WHERE queue = 'fast'"), 0,
		"$what: and stats say so");
	is(value($db, "SELECT count(*) FROM queue.archived('fast')"), 0,
		"$what: the archive too");
	is(value($db, "SELECT queue.ack_batch('fast', ?)", \@receipts), 0,
		"$what: receipts are stale");
	cmp_ok(value($db, "SELECT queue.enqueue('fast', '2')"), '>', $top,
		"$what: ids go on");
	is(value($db, "SELECT body FROM queue.dequeue('fast')"), '2',
		"$what: sent and received");
	ok(wait_for_true(30, sub { value($db, "SELECT count(*) = 0
		FROM queue.segments WHERE queue = 'fast' AND state = 'sealed'
		AND chain <> 'archive'") }),
		"$what: closed segments are free again");
	return;
}

# A clean restart loses nothing.
my @receipts = fill();
ok(wait_for_true(20, sub { value($db, "SELECT count(*) > 3
	FROM queue.segments WHERE queue = 'fast'") }), 'several segments');
my $before = states('fast');
is($before, 'delayed=1 leased=3 ready=998', 'filled');
my $archived = value($db,
	"SELECT count(*) FROM queue.archived('fast', max => 10000)");
$db->disconnect;
$node->restart;
wait_for_worker($node);
$db = connect_db($node, must => 1);
is(states('fast'), $before, 'a clean restart loses nothing');
is(value($db, "SELECT count(*) FROM queue.archived('fast', max => 10000)"),
	$archived, 'also of the archive');
ok(value($db, "SELECT queue.ack('fast', ?)", shift @receipts),
	'and receipts stay good');

# A crash, also with the last id not used by anything that is left.
my $top = value($db, 'SELECT max(id) FROM queue.fast');
my $safe = states('safe');
$db = crash_and_reconnect($node, $db);
wait_for_worker($node);
is(states('safe'), $safe, 'a crash takes nothing from the logged queue');
empty_and_usable('a crash', $top, @receipts);

# Twice, with a checkpoint between: what was empty is written again.
@receipts = fill();
$db->do('CHECKPOINT');
$top = value($db, 'SELECT max(id) FROM queue.fast');
$db = crash_and_reconnect($node, $db);
wait_for_worker($node);
empty_and_usable('a second crash', $top, @receipts);

# Ids with nothing that makes anybody write the WAL.  One record of the sequence
# is for 32 reservations, 131072 ids: these need a second one.
my $last = 0;
$db->do('SET synchronous_commit = off');
for (1 .. 30)
{
	($last) = column($db, "SELECT ids[5000] FROM queue.enqueue_batch('fast',
		array_fill('1'::jsonb, '{5000}')) ids");
}
$db = crash_and_reconnect($node, $db);
cmp_ok(value($db, "SELECT queue.enqueue('fast', '2')"), '>', $last,
	'ids do not go back when nothing else was flushed');

# A standby has nothing of it, says so, and works when it is promoted.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
@receipts = fill();
$top = value($db, 'SELECT max(id) FROM queue.fast');
$safe = states('safe');
$node->wait_for_catchup($standby);
my $there = connect_db($standby, must => 1);
for my $call ("peek('fast')", "get('fast', 1)", "archived('fast')")
{
	ok(!eval { $there->do("SELECT * FROM queue.$call"); 1 },
		"$call fails on a standby");
	is($there->state, '0A000', '... as reading any unlogged table');
}
is(value($there, "SELECT count(*) FROM queue.$_"), 2, "$_ works there")
  for qw(stats queues);
is(value($there, "SELECT total FROM queue.stats WHERE queue = 'fast'"), undef,
	'stats do not know');
ok(eval { value($there, "SELECT count(*) FROM queue.$_"); 1 },
	"$_ works there") for qw(segments in_flight consumers);
$there->disconnect;
$db->disconnect;
crash_server($node, all => 1);
$standby->promote;
wait_for_worker($standby);
$db = connect_db($standby, must => 1);
is(states('safe'), $safe, 'the logged queue is complete after promotion');
empty_and_usable('a promotion', $top, @receipts);
is(crashed($standby), '', 'no crash there');
$db->disconnect;
is(crashed($node), '', 'no crash but ours');

done_testing();
