# Recovery to a point in time: the queue is what it was at that moment, with
# the leases of that moment and their receipts; what was sent, claimed or acked
# later did not happen, and no receipt of that other future is good.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use QueueTest;
use Test::More;

my $node = new_server('past', init => { has_archiving => 1,
	allows_streaming => 1 }, conf => [ 'queue.segment_size = 1MB',
	'queue.truncate_grace = 0' ]);
my $db = connect_db($node, must => 1);
$db->do("SELECT queue.create('q', visibility_timeout => '1 h')");
$db->do("SELECT queue.create('later', dedup_window => '1 h')");
$node->backup('base');

sub fill
{
	my ($from, $to) = @_;
	return $db->do("SELECT queue.enqueue('q', to_jsonb(i))
		FROM generate_series(?::int, ?::int) i", undef, $from, $to);
}

# 1..10 acked, 11..20 leased, 21..1000 ready
fill(1, 1000);
value($db, "SELECT count(queue.ack('q', receipt))
	FROM queue.dequeue('q', 10)");
my @leased = column($db, "SELECT receipt FROM queue.dequeue('q', 10)");
value($db, "SELECT queue.enqueue('later', '1', dedup_id => 'before')");
my $top = value($db, 'SELECT max(id) FROM queue.q');
$db->do("SELECT pg_create_restore_point('then')");

# The future that shall not be: a lease acked, others taken, segments emptied
# and used again.
ok(value($db, "SELECT queue.ack('q', ?)", $leased[0]), 'acked afterwards');
my @taken = column($db, "SELECT receipt FROM queue.dequeue('q', 100)");
fill(1001, 3000);
value($db, "SELECT queue.enqueue('later', '2', dedup_id => 'after')");
value($db, "SELECT count(*) FROM queue.pop('q', 10000)");
push @taken, column($db, "SELECT receipt FROM queue.dequeue('q', 10)");
$db->do('SELECT pg_switch_wal()');
$db->disconnect;
$node->stop;

my $then = PostgreSQL::Test::Cluster->new('then');
$then->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
$then->append_conf('postgresql.conf', "recovery_target_name = 'then'
recovery_target_action = promote");
$then->start;
$db = wait_for_true(30, sub { my $c = connect_db($then);
	$c && value($c, 'SELECT NOT pg_is_in_recovery()') ? $c : undef });
ok(wait_for_worker($then), 'the worker starts there');
is(value($db, "SELECT string_agg(state || ' ' || n, ', ' ORDER BY state)
	FROM (SELECT state, count(*) AS n FROM queue.peek('q', 5000)
		GROUP BY 1) s"), 'leased 10, ready 980',
	'the queue is as it was, with its leases');
is(value($db, "SELECT queue.ack_batch('q', ?)", \@taken), 0,
	'receipts of the other future are good for nothing');
ok(value($db, "SELECT queue.ack('q', ?)", $leased[0]),
	'an ack of afterwards has not happened: it is possible again');
ok(value($db, "SELECT queue.release('q', ?)", $leased[1]),
	'the leases of that moment are good');
my @got = column($db, "SELECT body FROM queue.dequeue('q', 5000)
	WHERE queue.ack('q', receipt) ORDER BY id");
is("@got", join(' ', 12, 21 .. 1000), 'all that was there is delivered');
cmp_ok(value($db, "SELECT queue.enqueue('q', '0')"), '>', $top, 'ids go on');
value($db, "SELECT queue.enqueue('later', '3', dedup_id => '$_')")
  for qw(before after);
is(value($db, "SELECT string_agg(body::text, ' ' ORDER BY id)
	FROM queue.peek('later')"), '1 3',
	'a dedup_id of before counts, one of afterwards does not');
is(crashed($then), '', 'no crash');
$db->disconnect;
done_testing();
