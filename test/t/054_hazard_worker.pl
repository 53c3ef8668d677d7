# What the worker does beside other sessions, forced: news of the catalog, a
# message appended late, a lock and a vacuum in between, at named places of
# rotation.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('worker', conf => [ 'queue.segment_size = 1MB',
	'queue.truncate_grace = 0', 'queue.park_after = 2s', 'autovacuum = off' ]);
my $db = connect_db($node, must => 1);
need_debug_build($db);
my $other = connect_db($node, must => 1);

# Four messages on each page.
sub fill
{
	my ($queue, $n) = @_;
	$db->do("SELECT queue.enqueue_batch(?, payloads => array_fill(
		convert_to(repeat('x', 1900), 'UTF8'), ARRAY[?::int]))", undef,
		$queue, $n);
	return;
}

sub loops
{
	return value($db, 'SELECT loops FROM queue.workers');
}

sub worker_goes_on
{
	my ($point) = @_;
	$db->do('ALTER SYSTEM RESET queue.debug_pause');
	$db->do('SELECT pg_reload_conf()');
	release($node, $point);
	return;
}

sub bytes
{
	my ($queue) = @_;
	return value($db, 'SELECT sum(bytes) FROM queue.segments
		WHERE queue = ?', $queue);
}

sub segments
{
	my ($queue, $condition) = @_;
	return column($db, "SELECT s.relation::regclass FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = '$queue' AND $condition ORDER BY life");
}

# --- Space comes back although the catalog changes between look and lock

$db->do("SELECT queue.create('news')");
worker_stop_at($node, $db, 'verified');
fill('news', 1000);
value($db, "SELECT count(*) FROM queue.pop('news', 1000)");
reached($node, 'verified');
$other->do("SELECT queue.alter('news', comment => 'changed')");
worker_goes_on('verified');
ok(wait_for_true(20, sub { bytes('news') < 100000 }),
	'a drained segment is emptied after a change of the queue');
is(crashed($node), '', 'the worker lives');

# --- A message that is appended late, to a page added during the check

$db->do("SELECT queue.create('late')");
fill('late', 4);
stop_at($node, $other, 'append');
my $call = begin_call($other, "SELECT queue.enqueue('late', payload =>
	convert_to(repeat('y', 1900), 'UTF8'))");
reached($node, 'append');
fill('late', 1000);
ok(wait_for_true(20, sub { segments('late', "state = 's'") > 0 }),
	'the segment is sealed before the message is there');
worker_stop_at($node, $db, 'counted');
value($db, "SELECT count(*) FROM queue.pop('late', 2000)");
reached($node, 'counted');
release($node, 'append');
ok(end_call($call) > 0, 'it is stored');
worker_goes_on('counted');
sleep 3;
is(value($db, "SELECT count(*) FROM queue.pop('late')"), 1,
	'it is not truncated');

# --- A chain without a tail gets one, also when that failed at first

$db->do("SELECT queue.create('tail')");
worker_stop_at($node, $db, 'tails');
$db->do("VACUUM FULL $_") for segments('tail', "chain = 'm'");
reached($node, 'tails');
$other->begin_work;
$other->do('LOCK TABLE queue.tail IN SHARE UPDATE EXCLUSIVE MODE');
worker_goes_on('tails');
sleep 3;
$other->commit;
ok(eval { value($db, "SELECT queue.enqueue('tail', '1')") > 0 },
	'there is a segment to write to');

# --- A lock on the parking segment does not keep others waiting

$db->do("SELECT queue.create('park', visibility_timeout => '1 h')");
$db->do("SELECT queue.create('prompt')");
fill('park', 600);
my @receipts = column($db, "SELECT receipt FROM queue.dequeue('park', 600)");
$other->begin_work;
$other->do("LOCK TABLE $_ IN ACCESS EXCLUSIVE MODE")
  for segments('park', "chain = 'p'");
pop @receipts;
value($db, "SELECT queue.ack_batch('park', ?)", \@receipts);
ok(wait_for_true(20, sub { segments('park', "chain = 'm' AND state = 's'") }),
	'one message of a sealed segment is left');
sleep 3;
$db->do("SELECT queue.enqueue('prompt', '1', delay => '0.3 s')");
my $begin = time;
is(value($db, "SELECT count(*) FROM queue.dequeue('prompt', wait => '5 s')"),
	1, 'a delayed message of another queue comes');
cmp_ok(time - $begin, '<', 1.5, '... in time');
$other->commit;
ok(wait_for_true(20, sub { value($db, "SELECT count(*) FROM queue.park
		WHERE tableoid = (SELECT s.relation FROM queue.segment_def s JOIN
		queue.queue_def d ON d.id = s.queue_id WHERE d.name = 'park'
		AND chain = 'p' AND state = 'o')") == 1 }),
	'the straggler is moved when the lock is gone');

# --- Pages that VACUUM cuts off have no deadlines

$db->do("SELECT queue.create('cut', visibility_timeout => '3 s')");
fill('cut', 400);
@receipts = column($db, "SELECT receipt FROM queue.dequeue('cut', 400)");
value($db, "SELECT queue.ack_batch('cut', ?)", \@receipts);
# mostly before the worker looks again
$db->do('VACUUM (TRUNCATE) ' . (segments('cut', "state = 'o' AND
	chain = 'm'"))[0]);
cmp_ok(bytes('cut'), '<', 200000, 'the file is shorter');
sleep 4;
my $loops = loops();
sleep 2;
cmp_ok(loops() - $loops, '<', 40, 'the worker does not spin');
fill('cut', 40);
is(value($db, "SELECT count(*) FROM queue.pop('cut', 100)"), 40,
	'the queue goes on');

# --- A queue that is being made keeps its place in shared memory

$other->begin_work;
$other->do("SELECT queue.create('young', max_messages => 5)");
$other->do("SELECT queue.enqueue('young', '1')");
# a new worker looks first for places that nobody uses
my $old = worker_pid($node);
$db->do("SELECT pg_terminate_backend($old)");
wait_for_worker($node);
sleep 2;
$db->do("SELECT queue.create('neighbour', max_messages => 5)");
$db->do("SELECT queue.enqueue('neighbour', '1')");
$other->do("SELECT queue.enqueue('young', '2')");
$other->commit;
for my $queue (qw(young neighbour))
{
	my $sent = 0;
	$sent += eval { $db->do("SELECT queue.enqueue('$queue', '3')"); 1 } // 0
	  for 1 .. 8;
	is($sent + ($queue eq 'young' ? 2 : 1), 5, "$queue: the limit holds");
	value($db, "SELECT count(*) FROM queue.pop('$queue', 5)");
	ok(eval { $db->do("SELECT queue.enqueue('$queue', '3')"); 1 },
		'... and there is room again');
}

is(crashed($node), '', 'no crash');
$node->stop;
done_testing();
