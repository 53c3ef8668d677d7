# Queues that found no room in shared memory: slower, but nothing crashes, and
# what cannot be kept is refused.  One queue takes all the room there is.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('no_room', conf => [ 'queue.max_queues = 1',
	'queue.max_segments = 1', 'queue.map_memory = 64kB',
	'queue.key_memory = 64kB', 'queue.segment_size = 1MB',
	'queue.truncate_grace = 0' ]);
my $db = connect_db($node, must => 1);
my %queues = (
	work => '',
	fair => ', fair => true',
	dead => ", dead_letter => 'first', max_attempts => 2",
	once => ", dedup_window => '1 h'",
	kept => ", archive => '1 h'",
	full => ', max_messages => 1000',
	fast => ", persistence => 'unlogged'");

$db->do("SELECT queue.create('first')");
$db->do("SELECT queue.enqueue('first', '1')");
is(value($db, "SELECT ready FROM queue.stats WHERE queue = 'first'"), 1,
	'the first queue has room');

# Sends 300 messages of five keys, gives one back, sees it again, settles all.
sub use_queue
{
	my ($q) = @_;
	value($db, "SELECT cardinality(queue.enqueue_batch('$q',
		(SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 300) i),
		keys => (SELECT array_agg('k' || i % 5) FROM generate_series(1, 300) i)))");
	value($db, "SELECT queue.enqueue('$q', '301', key => 'k1',
		priority => 9, ttl => '1 h', dedup_id => 'd', headers => '{\"a\": 1}')");
	value($db, "SELECT queue.enqueue('$q', '302', delay => '0.2 s')");
	is(value($db, "SELECT bool_and(queue.nack('$q', receipt, '0'))
		FROM queue.dequeue('$q')"), 1, "$q: nack");
	my %seen;
	my $end = time + 20;
	while (keys %seen < 302 && time < $end)
	{
		my @rows = column($db, "SELECT body FROM queue.dequeue('$q', 20,
			wait => '0.2 s') WHERE queue.ack('$q', receipt)");
		$seen{$_}++ for @rows;
		@rows = column($db, "SELECT body FROM queue.pop('$q', 7)");
		$seen{$_}++ for @rows;
	}
	is(scalar keys %seen, 302, "$q: all came");
	is(scalar(grep { $_ != 1 } values %seen), 0, "$q: once");
	value($db, "SELECT queue.enqueue('$q', '1', headers => '{\"a\": 1}')");
	is(value($db, "SELECT count(*) FROM queue.pop('$q', 5,
		filter => '{\"a\": 1}')"), 1, "$q: filter");
	return;
}

for my $q (sort keys %queues)
{
	$db->do("SELECT queue.create('$q'$queues{$q})");
	use_queue($q);
}

# What several sessions must agree on is refused.
for my $property ("kind => 'fifo'", 'single_active => true',
	'max_in_flight => 5')
{
	$db->do("SELECT queue.create('strict', $property)");
	$db->do("SELECT queue.enqueue('strict', '1')");
	ok(!eval { $db->do("SELECT * FROM queue.dequeue('strict')") } &&
		$db->state eq '53400', "$property says what it lacks");
	$db->do("SELECT queue.drop('strict', true)");
}

# A session keeps its own place for such a queue, but not when another queue
# has got the name.
my $other = connect_db($node, must => 1);
$other->do("SELECT queue.create('again')");
$db->do("SELECT queue.enqueue('again', '1')");
$other->do("SELECT queue.drop('again', true)");
$other->do("SELECT queue.create('again')");
my @ids = map { value($_, "SELECT queue.enqueue('again', '1')") }
  $db, $other, $db, $other;
my %times;
$times{$_}++ for @ids;
is(scalar keys %times, 4, 'a queue of the same name has ids of its own');

ok(!crashed($node), 'no process crashed');
$node->stop;

# Segments with a place, and no memory left for what is known of their pages;
# and segments without one, of queues that have theirs.
sub wait_for_delayed
{
	my ($waiting, $queue) = @_;
	my $call = begin_call($waiting,
		"SELECT body FROM queue.dequeue('$queue', wait => '20 s')");
	ok(wait_for_true(10, sub { value($db, "SELECT count(*)
		FROM pg_stat_activity WHERE wait_event_type = 'Extension'
		AND query LIKE '%wait =>%' AND pid <> pg_backend_pid()") }),
		"$queue: somebody waits");
	$db->do("SELECT queue.enqueue('$queue', '7', delay => '0.5 s')");
	ok(call_ended($call, 5), '... and gets what becomes due');
	is(end_call($call), 7, '... that message');
	return;
}

for my $conf ('queue.map_memory = 64kB', 'queue.max_segments = 1')
{
	$node = new_server('little' . length $conf, conf => [$conf]);
	$db = connect_db($node, must => 1);
	my $waiting = connect_db($node, must => 1);
	$db->do("SELECT queue.create('little' || i) FROM generate_series(1, 12) i");
	$db->do("SELECT queue.enqueue('little' || i, '1')
		FROM generate_series(1, 12) i");
	is(value($db, "SELECT count(*) FROM generate_series(1, 12) i,
		queue.pop('little' || i)"), 12, "$conf: each queue gives what it has");
	wait_for_delayed($waiting, 'little12');
	is(crashed($node), '', 'no process crashed');
	$node->stop;
}
done_testing();
