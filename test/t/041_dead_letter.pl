# Dead-lettering where crashes, time and quantity matter: whatever is killed in
# the middle of it, each message is in exactly one queue; what expired is gone
# within a second, also deep in a backlog, and also when the worker hangs it is
# not delivered; queues that dead-letter into each other come to rest.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('dead_letter');
my $db = connect_db($node, must => 1);
need_debug_build($db);

sub count
{
	my ($queue, $state) = @_;
	return value($db, "SELECT count(*) FROM queue.peek(?, 1000000, ?)",
		$queue, $state);
}

# How many messages there are of how many numbers, in both queues together.
sub census
{
	my ($from, $to) = @_;
	return value($db, "SELECT count(*) || ' ' || count(DISTINCT body) FROM (
		SELECT body FROM queue.$from UNION ALL SELECT body FROM queue.$to) s");
}

sub fill
{
	my ($queue, $n, $options) = @_;
	$db->do("SELECT queue.enqueue_batch('$queue', array_agg(to_jsonb(i))
		" . ($options // '') . ") FROM generate_series(1, $n) i");
	return;
}

sub reject
{
	my ($queue, $n) = @_;
	return value($db, "SELECT queue.reject_batch('$queue', array_agg(receipt))
		FROM queue.dequeue('$queue', $n)");
}

$db->do("SELECT queue.create('dead')");

# --- how soon

$db->do("SELECT queue.create('soon', dead_letter => 'dead')");
my @took;
for my $i (1 .. 20)
{
	my $id = value($db, "SELECT queue.enqueue('soon', '1')");
	reject('soon', 1);
	my $start = time;
	my ($there) = column($db, "SELECT body FROM queue.dequeue('dead',
		wait => '5 s')");
	push @took, time - $start;
	is($there, 1, 'a rejected message') if $i == 1;
	sleep 0.01 * ($i % 5);
}
note(sprintf 'from reject to the dead-letter queue: median %.1f ms, at most '
	  . '%.1f ms', 1000 * median(@took), 1000 * (sort { $a <=> $b } @took)[-1]);
cmp_ok(median(@took), '<', 0.3, 'is in the dead-letter queue soon');
$db->do("SELECT queue.purge('dead')");

# --- 100,000 others around

$db->do("SELECT queue.create('deep', dead_letter => 'dead', ttl => '1 h')");
fill('deep', 50000);
# The worker has looked at all there was.
wait_for_true(20, sub { value($db, "SELECT bool_and(pending_pages = 0) AND
	min(next_due) > now() FROM queue.segments WHERE queue = 'deep'") });
my $start = time;
$db->do("SELECT queue.enqueue('deep', '0', ttl => '1 s')");
fill('deep', 50000);
note(sprintf 'sent after %.1f s', time - $start);
wait_for_true(20, sub { count('dead') == 1 });
my $after = time - $start;
note(sprintf 'expired after %.2f s', $after);
cmp_ok($after, '>=', 1, 'it lives as long as it may');
cmp_ok($after, '<', 2, 'and expires within a second, deep in a backlog');
ok(wait_for_true(10, sub { value($db, "SELECT ready = 100000
	FROM queue.stats WHERE queue = 'deep'") }), 'the others are there');
$db->do("SELECT queue.purge('dead')");
$db->do("SELECT queue.drop('deep', force => true)");

# Many at once.
$db->do("SELECT queue.create('many', dead_letter => 'dead')");
sub arrived
{
	return value($db, "SELECT enqueued FROM queue.stats WHERE queue = 'dead'");
}

my $earlier = arrived();
$start = time;
fill('many', 20000, ", ttl => '1 s'");
wait_for_true(30, sub { arrived() == $earlier + 20000 });
my $late = time - $start - 1;
note(sprintf '20,000 expired and were moved %.2f s after their time', $late);
cmp_ok($late, '<', 5, 'a burst of them is moved soon');
is(census('many', 'dead'), '20000 20000', 'all that expire are moved');
$db->do("SELECT queue.purge('dead')");

# --- the worker hangs

my $worker = pause_worker($node);
fill('many', 20000, ", ttl => '10 ms'");
sleep 0.05;
$db->do("SELECT queue.enqueue('many', '0')");
is(join(' ', column($db, "SELECT body FROM queue.dequeue('many', 10)")), '0',
	'nothing that has expired is delivered, also without the worker');
sleep 2.1;    # deadlines that nobody sees to are looked at after 2 s
column($db, "SELECT body FROM queue.dequeue('many', 10)");
$start = time;
column($db, "SELECT body FROM queue.dequeue('many', 10)") for 1 .. 100;
note(sprintf 'an empty dequeue then takes %.2f ms', 10 * (time - $start));
cmp_ok(time - $start, '<', 1, 'and what has expired is not met again');
continue_worker($worker);
ok(wait_for_true(30, sub { count('dead') == 20000 }), 'it is moved later');
is(count('many'), 1, '... all of it');
$db->do("SELECT queue.purge('dead')");

# --- killed in the middle

$db->do("SELECT queue.create('work', dead_letter => 'dead',
	visibility_timeout => '1 h')");

sub settles
{
	my ($what) = @_;
	$db = wait_for_true(60, sub { connect_db($node) });
	# A crash may forget the newest rejections: those are leased, or ready.
	ok(wait_for_true(60, sub { count('work', 'dead') == 0 }),
		"$what: nothing is left dead");
	is(census('work', 'dead'), '5000 5000',
		"$what: each message is in one queue");
	ok(count('dead') > 0, "$what: some are in the dead-letter queue");
	is(value($db, "SELECT count(*) FROM queue.dead
		WHERE headers->'x-death'->0->>'count' <> '1'"), 0,
		"$what: and died once");
	$db->do("SELECT queue.purge('dead'), queue.purge('work')");
	return;
}

for my $place ('reaped', 'dead_lettered')
{
	for my $whom ('worker', 'server')
	{
		fill('work', 5000);
		worker_stop_at($node, $db, $place);
		sleep 1;    # until the worker has read it
		# Half of them before it is stopped, half after.
		reject('work', 2500);
		reached($node, $place);
		reject('work', 2500);
		$db->do('CHECKPOINT');
		$db->do('ALTER SYSTEM RESET queue.debug_pause');
		$db->do('SELECT pg_reload_conf()');
		sleep 1;    # until the postmaster has
		if ($whom eq 'worker')
		{
			kill 'KILL', worker_pid($node);
		}
		else
		{
			crash_server($node, all => 1);
			start_again($node);
		}
		settles("$whom killed at $place");
	}
}

# At any moment.
for my $i (1 .. 3)
{
	fill('work', 5000);
	reject('work', 1000) for 1 .. 5;
	$db->do('CHECKPOINT') if $i % 2;
	sleep 0.03 * $i;
	crash_server($node, all => 1);
	start_again($node);
	settles("server killed after a while ($i)");
}

# --- cycles

$db->do("SELECT queue.create('one', ttl => '100 ms', visibility_timeout => '1 h')");
$db->do("SELECT queue.create('two', ttl => '100 ms', dead_letter => 'one',
	visibility_timeout => '1 h')");
$db->do("SELECT queue.alter('one', dead_letter => 'two')");
fill('one', 3000);
ok(wait_for_true(20, sub { value($db, "SELECT sum(dropped) = 3000
	FROM queue.stats WHERE queue IN ('one', 'two')") }),
	'what goes round by expiry alone ends');
is(value($db, "SELECT string_agg(total::text, ' ')
	FROM queue.stats WHERE queue IN ('one', 'two')"), '0 0', 'nothing is left');

# --- a dead-letter queue that takes nothing

my $lines = () = server_log($node) =~ /\n/g;
$db->do("SELECT queue.drop('dead', force => true)");
fill('work', 100);
reject('work', 100);
sleep 3;
is(count('work', 'dead'), 100, 'without a target they stay');
my $more = () = server_log($node) =~ /\n/g;
cmp_ok($more - $lines, '<', 20, '... and the log is not filled');
$db->do("SELECT queue.create('dead')");
ok(wait_for_true(20, sub { count('dead') == 100 }), 'with it they go');

# --- a failure that is counted late, of a pop that was rolled back

$db->do("SELECT queue.create('slow', max_attempts => 2,
	visibility_timeout => '1 h')");
$db->do("SELECT queue.enqueue('slow', '1')");
my $worker = pause_worker($node);
$db->begin_work;
value($db, "SELECT count(*) FROM queue.pop('slow')");
$db->rollback;
ok(value($db, "SELECT queue.nack('slow', receipt, '0.7 s')
	FROM queue.dequeue('slow')"), 'the next delivery fails as well');
continue_worker($worker);
is(value($db, "SELECT count(*) FROM queue.dequeue('slow', wait => '2 s')"), 0,
	'it is not delivered a third time');
is(count('slow', 'dead'), 1, '... but dead');

# --- a change that the worker hears of before it can see it

$db->do("SELECT queue.create('late', visibility_timeout => '1 h')");
fill('late', 1);
reject('late', 1);
sleep 1.5;    # until the worker has done with it
my $other = connect_db($node, must => 1);
stop_at($node, $other, 'announced');
my $call = begin_call($other,
	"SELECT queue.alter('late', dead_letter => 'dead')");
reached($node, 'announced');
sleep 0.3;
release($node, 'announced');
end_call($call);
ok(wait_for_true(10, sub { count('late') == 0 }),
	'a new dead-letter queue gets what was dead before');

is(crashed($node), '', 'no crash but those wanted');
$node->stop;
done_testing();
