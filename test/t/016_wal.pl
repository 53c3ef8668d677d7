# The WAL of every operation replays to the same pages, as the server itself
# checks with wal_consistency_checking: on a standby and in crash recovery.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep);

my $primary = new_server('primary', init => { allows_streaming => 1 },
	conf => [ 'shared_buffers = 64MB', 'wal_consistency_checking = all',
		'queue.segment_size = 1MB', 'queue.truncate_grace = 0',
		'max_wal_size = 2GB', 'hot_standby_feedback = on' ]);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

create_load($primary, 'load');
my $load = start_load($primary, 'load');
# Hint bits are what differs: read on both sides, and vacuum, which also makes
# pages all-visible that messages are then taken from.
my $db = connect_db($primary, must => 1);
my $there = connect_db($standby, must => 1);
for (1 .. 15)
{
	for my $table (column($db, "SELECT relation FROM queue.segment_def
		WHERE state <> 'f'"))
	{
		eval { $db->do("VACUUM $table") };
	}
	value($db, 'SELECT count(*) FROM queue.load');
	eval { value($there, 'SELECT count(*) FROM queue.load') };
	sleep 0.2;
}

# Messages on pages that are all-visible, taken in each way.
$db->do("SELECT queue.create('frozen', retry_delay => '0')");
$db->do("SELECT queue.enqueue('frozen', to_jsonb(i))
	FROM generate_series(1, 1000) i");
for my $call ('SELECT queue.ack(q, receipt) FROM queue.dequeue(q, 10)',
	'SELECT * FROM queue.pop(q, 10)',
	"SELECT queue.nack(q, receipt, '0') FROM queue.dequeue(q, 10)",
	"SELECT queue.extend(q, receipt, '0.01 s') FROM queue.dequeue(q, 10)",
	'SELECT queue.cancel(q, min(id)) FROM queue.frozen',
	'SELECT queue.purge(q)')
{
	$db->do("VACUUM (FREEZE) $_")
	  for column($db, "SELECT s.relation FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id WHERE d.name = 'frozen'");
	ok(eval { $db->do($call =~ s/\bq\b/'frozen'/gr); 1 },
		"$call, all-visible") or diag($@);
}
ok(stop_load($load), 'no consumer got a message that was done already');
$primary->wait_for_catchup($standby);
is(crashed($standby), '', 'the standby replayed everything');
$_->disconnect for $db, $there;
crash_server($primary, all => 1);
start_again($primary);
is(crashed($primary), '', 'so did crash recovery');
check_load($primary, $load, 'after it');
$primary->wait_for_catchup($standby);
is(crashed($standby), '', 'the standby goes on');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM queue.load'), 0,
	'and has what the primary has');
done_testing();
