# A streaming standby: no worker and no writing there, views that work; and
# promoted in load, it delivers everything that was committed and not acked,
# with the worker starting by itself.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $primary = new_server('primary', init => { allows_streaming => 1 },
	conf => [ 'shared_buffers = 32MB', 'queue.segment_size = 1MB',
		'queue.truncate_grace = 0', 'max_wal_size = 1GB',
		'max_standby_streaming_delay = 100ms' ]);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# What was reported as committed must survive the loss of the primary.
$primary->safe_psql('postgres',
	"ALTER SYSTEM SET synchronous_standby_names = '*'");
$primary->reload;

create_load($primary, 'load');
my $db = connect_db($primary, must => 1);
$db->do("SELECT queue.create('calm')");
$db->do("SELECT queue.enqueue('calm', to_jsonb(i)) FROM generate_series(1, 3) i");
my $delayed = value($db,
	"SELECT queue.enqueue('calm', '0', delay => '5 s')");
my $due = time + 5;
$primary->wait_for_catchup($standby);

# The standby as such.
my $there = connect_db($standby, must => 1);
is(value($there, "SELECT count(*) FROM pg_stat_activity
	WHERE backend_type LIKE 'queue %'"), 0, 'no worker on a standby');
for my $view (qw(queues stats in_flight segments workers consumers))
{
	ok(eval { value($there, "SELECT count(*) FROM queue.$view"); 1 },
		"view $view works on a standby") or diag($@);
}
is(value($there, 'SELECT count(*) FROM queue.calm'), 4,
	'the messages can be read there');
for my $call ("enqueue('calm', '1')", "dequeue('calm')", "pop('calm')",
	"ack('calm', 1)", "nack('calm', 1)", "purge('calm')", "create('other')",
	"\"drop\"('calm', true)", "dequeue('calm', wait => '1 s')")
{
	ok(!eval { $there->do("SELECT * FROM queue.$call"); 1 }, "$call fails");
	is($there->state, '25006', '... as on any standby');
}
$there->disconnect;

# Claimed, by the standby's knowledge or not, on the server that will be lost.
my @receipts = column($db,
	"SELECT receipt FROM queue.dequeue('calm', 1, '3 s')");
my $top = value($db, "SELECT max(id) FROM queue.calm");

my $load = start_load($primary, 'load');
my $reader = connect_db($standby, must => 1);
for (1 .. 30)
{
	# Views and the table itself, beside replay, which may cancel a query.
	eval { value($reader, $_) for 'SELECT count(*) FROM queue.segments',
		'SELECT count(*) FROM queue.stats', 'SELECT count(*) FROM queue.load';
		1 } or $reader = connect_db($standby, must => 1);
	sleep 0.1;
}
$db->disconnect;
crash_server($primary, all => 1);
$standby->promote;
my $promoted = time;
ok(wait_for_worker($standby, 'postgres', 15), 'the worker starts there');
ok(stop_load($load), 'no consumer got a message that was done already');

$standby->safe_psql('postgres',
	"ALTER SYSTEM SET synchronous_standby_names = ''");
$standby->reload;
$db = connect_db($standby, must => 1);
cmp_ok(value($db, "SELECT queue.enqueue('calm', '9')"), '>', $top,
	'ids go on');
my %got;
wait_for_true(20, sub {
	my $rows = $db->selectall_arrayref(
		"SELECT id, receipt FROM queue.dequeue('calm', 10, '1 min', '1 s')");
	if (grep { $_->[0] == $delayed } @$rows)
	{
		cmp_ok(time, '>', $due - 0.1, 'a delayed message is not early there');
	}
	$got{ $_->[0] } = $_->[1] for @$rows;
	keys %got == 5 });
is(scalar keys %got, 5, 'all messages are delivered there');
is(value($db, "SELECT queue.ack_batch('calm', ?)", \@receipts), 0,
	'a receipt of the lost primary is good for nothing');
is(value($db, "SELECT queue.ack_batch('calm', ?)", [ values %got ]), 5,
	'the new ones are good');

# Load goes on on the new primary; all that happened is added up.
my $more = start_load($standby, 'load');
sleep 2;
ok(stop_load($more), 'the new primary under load');
push @{ $load->{files} }, @{ $more->{files} };
check_load($standby, $load, 'after promotion');
is(crashed($primary) . crashed($standby), '', 'no crash but that');
done_testing();
