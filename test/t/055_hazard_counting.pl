# The leases of a queue with max_in_flight are counted by one session, and what
# happens when that one ends, or the queue changes, in between.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;

my $node = new_server('counting');
my $db = connect_db($node, must => 1);
need_debug_build($db);
my $first = connect_db($node, must => 1);
my $second = connect_db($node, must => 1);

# Four messages on each page.
sub fill
{
	my ($queue, $n) = @_;
	$db->do("SELECT queue.enqueue_batch(?, payloads => array_fill(
		convert_to(repeat('x', 1900), 'UTF8'), ARRAY[?::int]))", undef,
		$queue, $n);
	return;
}

# After a change of the queue the leases are counted anew.
sub change
{
	my ($queue, $comment) = @_;
	$db->do('SELECT queue.alter(?, comment => ?)', undef, $queue, $comment);
	return;
}

# --- The session that counts is ended

$db->do("SELECT queue.create('ended', max_in_flight => 10)");
fill('ended', 20);
change('ended', 'one');
stop_at($node, $first, 'looked');
my $pid = value($first, 'SELECT pg_backend_pid()');
my $call = begin_call($first, "SELECT id FROM queue.dequeue('ended')");
reached($node, 'looked');
my $waits = begin_call($second, "SELECT count(*) FROM queue.dequeue('ended',
	wait => '20 s')");
ok(!call_ended($waits, 0.5), 'another session waits meanwhile');
value($db, 'SELECT pg_terminate_backend(?)', $pid);
release($node, 'looked');
wait_for_true(20, sub { !value($db, 'SELECT count(*) FROM pg_stat_activity
	WHERE pid = ?', $pid) });
ok(call_ended($waits, 5), 'the other session is woken');
is(end_call($waits), 1, '... and counts itself');
is(value($db, "SELECT count(*) FROM queue.dequeue('ended', 3)"), 3,
	'the queue goes on');

# --- The queue changes while one counts, and another begins

# The leases are on the second page, where a claim comes last.
$first = connect_db($node, must => 1);
$db->do("SELECT queue.create('twice', max_in_flight => 8)");
fill('twice', 8);
my @receipts = column($db, "SELECT receipt FROM queue.dequeue('twice', 8)");
$db->do("SELECT queue.release_batch('twice', ?)", undef, [ @receipts[0 .. 5] ]);
$db->do("SELECT queue.alter('twice', max_in_flight => 2)");
is(value($db, "SELECT count(*) FROM queue.dequeue('twice', 8)"), 0,
	'as many are leased as the queue allows');
change('twice', 'one');
stop_at($node, $first, 'leases_counted');
$call = begin_call($first, "SELECT count(*) FROM queue.dequeue('twice', 8)");
reached($node, 'leases_counted');
change('twice', 'two');
stop_at($node, $second, 'leases_forgotten');
my $other = begin_call($second,
	"SELECT count(*) FROM queue.dequeue('twice', 8)");
reached($node, 'leases_forgotten');
release($node, 'leases_counted');
is(end_call($call), 0, 'who counted before the change takes nothing');
release($node, 'leases_forgotten');
is(end_call($other), 0, '... and neither does who counted after it');

is(value($db, "SELECT leased FROM queue.stats WHERE queue = 'twice'"), 2,
	'two are leased');

is(crashed($node), '', 'no crash');
$node->stop;
done_testing();
