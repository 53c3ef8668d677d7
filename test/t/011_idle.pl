# An idle server: with a hundred queues, and messages that wait in them, the
# background processes write no WAL, use no xid, and next to no CPU.
# QUEUE_IDLE_SECONDS says for how long that is watched.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{QUEUE_IDLE_SECONDS} // 20;
my $node = new_server('idle',
	conf => [ 'autovacuum = off', 'checkpoint_timeout = 1h' ]);
my $db = connect_db($node, must => 1);

# Some are empty, some have ready, leased, delayed and dead messages.
$db->do("SELECT queue.create('q' || i) FROM generate_series(1, 100) i");
for my $i (1 .. 40)
{
	$db->do("SELECT queue.enqueue('q$i', '1') FROM generate_series(1, 3)");
	$db->do("SELECT queue.dequeue('q$i', 1, '1 h')") if $i > 10;
	$db->do("SELECT queue.reject('q$i', receipt) FROM queue.dequeue('q$i')")
	  if $i > 20;
	$db->do("SELECT queue.enqueue('q$i', '2', delay => '1 h')") if $i > 30;
}
ok(wait_for_true(10, sub { value($db, "SELECT count(*) FROM queue.workers
	WHERE pid IS NOT NULL") }), 'the worker runs');

# Neither statement uses an xid itself.
sub state_of_server
{
	return value($db, "SELECT pg_current_wal_insert_lsn() || ' ' ||
		pg_current_wal_lsn() || ' ' ||
		pg_snapshot_xmax(pg_current_snapshot())");
}

sub cpu_seconds
{
	my $sum = 0;
	for my $pid (column($db, "SELECT pid FROM pg_stat_activity
		WHERE backend_type LIKE 'queue %'"))
	{
		my ($ns) = PostgreSQL::Test::Utils::slurp_file(
			"/proc/$pid/schedstat") =~ /^(\d+)/;
		$sum += $ns / 1e9;
	}
	return $sum;
}

# What the preparations left to do is done first: the worker's, and what
# anybody who reads the catalogs would clean up in passing.
$db->do('VACUUM');
my $quiet = state_of_server();
my $since = time;
wait_for_true(60, sub {
	sleep 0.3;
	my $now = state_of_server();
	($quiet, $since) = ($now, time) if $now ne $quiet;
	return time - $since > 4 });

my $before = state_of_server();
my $cpu = cpu_seconds();
sleep $seconds;
is(state_of_server(), $before,
	"no WAL is written and no xid used in $seconds seconds");
my $load = (cpu_seconds() - $cpu) / $seconds * 100;
note sprintf 'CPU of launcher and worker: %.3f %%', $load;
cmp_ok($load, '<', 0.5, 'next to no CPU is used');
is(value($db, "SELECT count(*) FROM queue.dequeue_any(
	ARRAY(SELECT 'q' || i FROM generate_series(1, 100) i), 1000)"), 10 * 3 + 10 * 2 + 10 + 10,
	'what was ready all the time is delivered');
is(crashed($node), '', 'no crash');
done_testing();
