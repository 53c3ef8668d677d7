# What a restart leaves as it was and what it ends: leases that reached the
# disk go on, receipts of claims that the crash forgot are good for nothing,
# ids never go back, and a queue full of leases answers at once.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('restart', conf => [
	'queue.segment_size = 1MB', 'queue.truncate_grace = 0' ]);
my $db;

sub crash
{
	$db = crash_and_reconnect($node, $db);
	return;
}

sub receipts
{
	my ($queue, $max, $visibility) = @_;
	return column($db, 'SELECT receipt FROM queue.dequeue(?, ?, ?)', $queue,
		$max, $visibility);
}

$db = connect_db($node, must => 1);
$db->do("SELECT queue.create('q', visibility_timeout => '1 s')");
$db->do("SELECT queue.enqueue('q', to_jsonb(i)) FROM generate_series(1, 20) i");

# A claim that the crash forgets: the message is delivered again, and whoever
# held it before cannot ack it.
my @old = receipts('q', 20, undef);
is(scalar @old, 20, 'claimed before the crash');
crash();
my @new;
wait_for_true(20, sub {
	push @new, receipts('q', 20, '1 min');
	@new >= 20 });
is(scalar @new, 20, 'all are delivered again');
is(value($db, "SELECT queue.ack_batch('q', ?)", \@old), 0,
	'no receipt from before the crash acks the new delivery');
is(value($db, "SELECT queue.nack_batch('q', ?)", \@old), 0, '... or nacks it');
is(value($db, "SELECT queue.extend_batch('q', ?, '1 h')", \@old), 0,
	'... or extends it');
is(value($db, "SELECT queue.ack_batch('q', ?)", \@new), 20,
	'the new ones are good');

# A claim that was flushed goes on over a crash.
$db->do("SELECT queue.enqueue('q', '1')");
$db->do('SET queue.durable_claims = on');
my ($durable) = receipts('q', 1, '1 h');
crash();
is(scalar receipts('q', 1, undef), 0,
	'a durable claim is not forgotten in a crash');
is(value($db, "SELECT queue.ack('q', ?)", $durable), 1, 'its receipt is good');

# A clean restart keeps every lease.
$db->do("SELECT queue.enqueue('q', '2')");
my ($kept) = receipts('q', 1, '1 h');
$db->disconnect;
$node->restart;
$db = connect_db($node, must => 1);
is(scalar receipts('q', 1, undef), 0, 'a lease survives a restart');
is(value($db, "SELECT queue.ack('q', ?)", $kept), 1, 'so does its receipt');

# Ids, when nothing on disk shows any more how far they had gone.
my $segments = "SELECT count(*) FROM queue.segment_def WHERE state <> 'f'
	AND pg_relation_size(relation) > 0";
$db->do("SELECT queue.enqueue('q', to_jsonb(repeat('x', 900)))
	FROM generate_series(1, 4000)");
my $last = value($db, 'SELECT max(id) FROM queue.q');
# Sealed when something is sent after they are full.
wait_for_true(30, sub {
	$db->do("SELECT queue.enqueue('q', '3')");
	$last++;
	value($db, "SELECT count(*) FROM queue.segment_def
		WHERE chain = 'm' AND state = 's'") });
$last = value($db, 'SELECT max(id) FROM queue.q');
drain($db, 'q');
ok(wait_for_true(30, sub { value($db, "SELECT count(*) FROM queue.segment_def
		WHERE chain = 'm' AND state = 's'") == 0 }),
	'the drained segments were truncated');
crash();
my $next = value($db, "SELECT queue.enqueue('q', '4')");
cmp_ok($next, '>', $last, 'ids go on after drain, truncation and crash');
crash();
cmp_ok(value($db, "SELECT queue.enqueue('q', '5')"), '>', $next,
	'and after another crash');

# A consumer asks right after a restart, with nothing but leases in the queue.
$db->do("SELECT queue.create('busy')");
$db->do("SELECT queue.enqueue_batch('busy', array_agg(to_jsonb(i)))
	FROM generate_series(1, 100000) i GROUP BY i / 4000");
# Else the crash may forget the last of them.
$db->do('SET queue.durable_claims = on');
my $leased = 0;
while (my $n = value($db,
	"SELECT count(*) FROM queue.dequeue('busy', 100000, '1 h')"))
{
	$leased += $n;
}
is($leased, 100000, 'all are leased');
my $claimed = value($db, 'SELECT pg_current_wal_insert_lsn()');
ok(wait_for_true(10, sub { value($db, 'SELECT pg_current_wal_flush_lsn() >=
	?::pg_lsn', $claimed) || !$db->do('SELECT pg_switch_wal()') }),
	'and the leases are on disk');
my $seconds;
for (1 .. 3)
{
	crash();
	$db->do("SELECT 1 FROM queue.dequeue('q')");	# loads the library
	my $start = time;
	my @taken = receipts('busy', 1, undef);
	$seconds = time - $start;
	last if $seconds < 0.1 || @taken;
}
note sprintf 'took %.0f ms', $seconds * 1000;
cmp_ok($seconds, '<', 0.1,
	'dequeue after a restart does not read the whole queue');


# One message that can be claimed, behind all these, is found nevertheless.
$db->do("SELECT queue.enqueue('busy', '\"free\"')");
crash();
is(value($db, "SELECT body FROM queue.dequeue('busy', wait => '60 s')"),
	'"free"', 'and finds what is ready behind the leases');

is(crashed($node), '', 'no crash but those');
done_testing();
