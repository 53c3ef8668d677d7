# The background processes: whichever ends, however, it is there again soon,
# and consumers go on meanwhile; messages of dead consumers come back also
# while no worker is there to bring them.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('worker');
my $db = connect_db($node, must => 1);
$db->do("SELECT queue.create('q', visibility_timeout => '1 s')");

sub launcher_pid
{
	my $other = connect_db($node) or return;
	return value($other, "SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'queue launcher'");
}

# It runs, and does what only it does: announce a delayed message in time.
sub works
{
	my ($what) = @_;
	$db = wait_for_true(60, sub { connect_db($node) });
	my $id = value($db, "SELECT queue.enqueue('q', '1', delay => '200 ms')");
	my @row = $db->selectrow_array(
		"SELECT id, receipt FROM queue.dequeue('q', wait => '10 s')");
	is($row[0], $id, "$what: a waiting consumer gets a delayed message");
	$db->do("SELECT queue.ack('q', ?)", undef, $row[1]);
	return;
}

sub is_back
{
	my ($what, $find, $old) = @_;
	my $pid = wait_for_true(15, sub {
		my $new = $find->();
		$new && $new != $old ? $new : undef });
	ok($pid, "$what: there is a new one");
	return works($what);
}

sub find_worker { return worker_pid($node) }

my $pid = find_worker();
is(value($db, "SELECT pid FROM queue.workers
	WHERE database = current_database()"), $pid, 'the view names the worker');
works('at first');

value($db, 'SELECT pg_terminate_backend(?)', $pid);
is_back('worker terminated', \&find_worker, $pid);

$pid = find_worker();
kill 'KILL', $pid;
is_back('worker killed', \&find_worker, $pid);

$pid = launcher_pid();
value($db, 'SELECT pg_terminate_backend(?)', $pid);
is_back('launcher terminated', \&launcher_pid, $pid);
$pid = find_worker();
value($db, 'SELECT pg_terminate_backend(?)', $pid);
is_back('worker terminated under the new launcher', \&find_worker, $pid);

$pid = launcher_pid();
kill 'KILL', $pid;
is_back('launcher killed', \&launcher_pid, $pid);

# Both at once, and a server without a free process for a while.
$pid = find_worker();
value($db, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
	WHERE backend_type LIKE 'queue %'");
is_back('both terminated', \&find_worker, $pid);

# The worker hangs: an expired lease is delivered within two seconds of its
# end, and so is a delayed message.  The consumer polls: it is not woken.
$pid = wait_for_true(30, \&find_worker);
my $id = value($db, "SELECT queue.enqueue('q', '1')");
my $delayed = value($db, "SELECT queue.enqueue('q', '2', delay => '1 s')");
kill 'STOP', $pid;
my $receipt = value($db, "SELECT receipt FROM queue.dequeue('q')");
my $start = time;
my %got;
wait_for_true(20, sub {
	my $rows = $db->selectall_arrayref(
		"SELECT id, receipt, failures FROM queue.dequeue('q', 10, '1 min')");
	$got{ $_->[0] } = [ @$_, time - $start ] for @$rows;
	keys %got == 2 });
ok($got{$id}, 'worker hangs: the expired lease is taken over');
is($got{$id}[2], 1, 'it counts as a failure');
cmp_ok($got{$id}[3], '<', 1 + 2 + 1, 'within visibility timeout and grace');
cmp_ok($got{$id}[3], '>', 1, 'not before it has expired');
ok($got{$delayed}, 'worker hangs: the delayed message is delivered');
cmp_ok($got{$delayed}[3], '<', 1 + 2 + 1, 'within delay and grace');
is(value($db, "SELECT queue.ack('q', ?)", $receipt), 0,
	'the first receipt is stale');
is(value($db, "SELECT queue.ack('q', ?)", $got{$id}[1]), 1,
	'the second is good');
kill 'CONT', $pid;
works('worker goes on');

# Aborted transactions while it hangs are dealt with when it goes on.
$db->do("SELECT queue.purge('q')");
kill 'STOP', $pid;
$db->do("SELECT queue.enqueue('q', '3')");
my $other = connect_db($node, must => 1, transactions => 1);
value($other, "SELECT id FROM queue.dequeue('q', 1, '1 h')");
$other->rollback;
kill 'CONT', $pid;
my @row = $db->selectrow_array(
	"SELECT failures, deliveries FROM queue.dequeue('q', wait => '10 s')");
is("@row", '1 2', 'a rolled-back claim of that time comes back');

is(crashed($node), '', 'no crash but those');
done_testing();
