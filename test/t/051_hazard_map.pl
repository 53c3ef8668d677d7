# Races of the ready map and of moved messages that need several steps, each
# forced: a message moved twice while its receipt is settled, pages added
# behind the worker's walk, producers on an old and a new segment, a segment
# that nobody closes.  The numbers are those of the table in
# doc/reliability.md.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('map', conf => [ 'queue.segment_size = 1MB',
	'queue.truncate_grace = 0', 'autovacuum = off', 'shared_buffers = 256MB',
	'max_wal_size = 10GB', 'checkpoint_timeout = 1h' ]);
my $db = connect_db($node, must => 1);
need_debug_build($db);
my ($a, $b) = map { connect_db($node, must => 1) } 1 .. 2;

sub segments
{
	my ($queue, $condition) = @_;
	return column($db, "SELECT s.relation FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = '$queue' AND $condition ORDER BY life");
}

# Sends messages of half a kilobyte; returns their ids.
sub enqueue
{
	my ($queue, $n, $delay) = @_;
	return @{ value($db, "SELECT queue.enqueue_batch('$queue', array_agg(
		jsonb_build_object('n', i, 'x', repeat('x', 500))), delay => ?)
		FROM generate_series(1, $n) i", $delay) };
}

# Where the messages of a queue are.
sub place
{
	my ($queue) = @_;
	return value($db,
		"SELECT string_agg(DISTINCT tableoid::text, ' ') FROM queue.$queue");
}

# --- 10: moved twice while its receipt is settled

$db->do("SELECT queue.create('twice', visibility_timeout => '1 h')");
enqueue('twice', 2500);
my @receipts = column($db, "SELECT receipt FROM queue.dequeue('twice', 2500)");
my $last = pop @receipts;
my $first_place = place('twice');
value($db, "SELECT queue.ack_batch('twice', ?)", \@receipts);
ok(wait_for_true(30, sub { place('twice') ne $first_place }),
	'a leased message is parked');
my $parked = place('twice');
stop_at($node, $a, 'forwarded');
my $ack = begin_call($a, "SELECT queue.ack('twice', ?)", $last);
reached($node, 'forwarded');
# Its new segment is filled and emptied, and it moves on.
my @delayed = enqueue('twice', 2500, '1 h');
value($db, "SELECT count(*) FILTER (WHERE queue.cancel('twice', id))
	FROM unnest(?::bigint[]) id", \@delayed);
ok(wait_for_true(30, sub { place('twice') !~ /\b$parked\b/ }),
	'... and moves a second time');
release($node, 'forwarded');
is(end_call($ack), 1,
	'hazard 10: the receipt of a message that moves twice is good');
is(value($db, 'SELECT count(*) FROM queue.twice'), 0, '... and it is gone');
$db->do("SELECT queue.drop('twice', force => true)");

# --- 4: pages added behind the worker's walk stay stale

$db->do("SELECT queue.create('behind')");
enqueue('behind', 30);
sleep 1.5;
worker_stop_at($node, $db, 'walk_begun');
$_->do("SET queue.debug_pause = ''") for $db, $a, $b;
my $sent = 1030;
ok(wait_for_true(20, sub {
	$sent += enqueue('behind', 1);
	sleep 0.3;
	-e Hazard::mark($node, 'walk_begun', 'reached') }),
	'the worker looks at stale pages');
enqueue('behind', 1000);
$db->do('ALTER SYSTEM RESET queue.debug_pause');
$db->do('SELECT pg_reload_conf()');
release($node, 'walk_begun');
is(wait_for_true(10, sub { value($db,
	"SELECT total FROM queue.stats WHERE queue = 'behind'") == $sent }), 1,
	'hazard 4: pages added behind a walk are looked at in the next');
$db->do("SELECT queue.drop('behind', force => true)");

# --- 8: producers on the old and the new segment of a chain

$db->do("SELECT queue.create('tails')");
enqueue('tails', 1500);
my ($old) = segments('tails', "s.chain = 'm' AND s.state = 'o'");
stop_at($node, $a, 'append');
my $send = begin_call($a, "SELECT cardinality(queue.enqueue_batch('tails',
	array_agg(jsonb_build_object('n', i, 'x', repeat('x', 500)))))
	FROM generate_series(1, 1000) i");
reached($node, 'append');
enqueue('tails', 1000);
ok(wait_for_true(20, sub { (segments('tails',
	"s.chain = 'm' AND s.state = 'o'"))[0] ne $old }), 'a new segment');
# Some of the pages that it got at once are not used yet.
enqueue('tails', 750);
release($node, 'append');
enqueue('tails', 100) for 1 .. 3;
is(end_call($send), 1000,
	'hazard 8: a producer goes on in the old segment beside the new one');
enqueue('tails', 100) for 1 .. 3;
is(value($db, "SELECT count(*) FROM queue.dequeue('tails', 10000)"), 4850,
	'... and all is delivered');
for my $segment (segments('tails', "s.chain = 'm' AND s.state <> 'f'"))
{
	note join ' ', 'segment', $db->selectrow_array("SELECT count(*),
		max((ctid::text::point)[0]) + 1,
		count(DISTINCT (ctid::text::point)[0]) FROM $segment");
	is(value($db, "SELECT coalesce(max((ctid::text::point)[0]) + 1
		- count(DISTINCT (ctid::text::point)[0]), 0) FROM $segment"), 0,
		"... and no page of $segment is given away");
}
$db->do("SELECT queue.drop('tails', force => true)");

# --- 15: a segment that nobody closes

$db->do("ALTER SYSTEM SET queue.segment_size = '256MB'");
$db->do('SELECT pg_reload_conf()');
$db->do("SELECT queue.create('full')");
my $worker = pause_worker($node);
my $state;
for (1 .. 40)
{
	eval { $db->do("SELECT queue.enqueue_batch('full', array_agg(
		jsonb_build_object('x', repeat('x', 1850))))
		FROM generate_series(1, 10000)"); 1 } or $state = $db->state, last;
}
is($state, '53400',
	'hazard 15: without a worker a segment grows to its limit, and not beyond');
my $pages = value($db, "SELECT max(pg_relation_size(relation)) / 8192
	FROM queue.segment_def");
cmp_ok($pages, '<=', 65536, "... which the map covers ($pages pages)");
cmp_ok($pages, '>', 60000, '... and which is not left empty');
my $start = time;
ok(!defined value($db, "SELECT id FROM queue.pop('full', wait => '1 s')
	WHERE id = 0"), 'a pop');
$start = time;
$db->do("SELECT queue.purge('full')");
value($db, "SELECT count(*) FROM queue.pop('full', wait => '1 s')");
cmp_ok(time - $start, '>', 0.9, '... a pop waits on it like on any other');
continue_worker($worker);
is(wait_for_true(30, sub { eval {
	value($db, "SELECT queue.enqueue('full', '1') > 0") } }), 1,
	'... and the worker, when it is there again, makes room');

is(crashed($node), '', 'no crash');
done_testing();
