# What a change of the server leaves valid: the ready map and leases when a
# standby is promoted, leases when the extension is updated under load.  The
# numbers are those of the table in doc/reliability.md.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

# Nothing but commits and durable claims writes WAL out.
my $primary = new_server('primary', init => { allows_streaming => 1 },
	conf => [ 'wal_writer_delay = 10s', 'checkpoint_timeout = 1h',
		'autovacuum = off', 'bgwriter_lru_maxpages = 0',
		'queue.notify_interval = -1' ]);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
my $db = connect_db($primary, must => 1);

# --- 26: views on a standby make no map, and promotion finds all

$db->do("SELECT queue.create('replayed')");
$db->do("SELECT queue.enqueue_batch('replayed', array_agg(to_jsonb(i)))
	FROM generate_series(1, 500) i");
$primary->wait_for_catchup($standby);
my $there = connect_db($standby, must => 1);
my @views = ("SELECT count(*) FROM queue.peek('replayed', 10)",
	"SELECT count(*) FROM queue.get('replayed', 1)",
	map { "SELECT count(*) FROM queue.$_" }
	  qw(stats segments in_flight consumers queues workers));
value($there, $_) for @views;
is(value($there, 'SELECT count(live) FROM queue.segments'), 0,
	'hazard 26: reading on a standby makes no ready map');
$db->do("SELECT queue.enqueue_batch('replayed', array_agg(to_jsonb(i)))
	FROM generate_series(501, 3000) i");
$db->do("SELECT queue.enqueue('replayed', '0', delay => '6 s')");
my $due = time + 6;
$primary->wait_for_catchup($standby);
value($there, $_) for @views;
is(value($there, 'SELECT count(live) FROM queue.segments'), 0,
	'... nor after more was replayed');

# --- 30: a synchronous standby, promoted right after a claim

$db->do("SELECT queue.create('$_', visibility_timeout => '1 h')")
  for qw(plain durable);
$db->do("ALTER SYSTEM SET synchronous_standby_names = '*'");
$db->do('SELECT pg_reload_conf()');
wait_for_true(10, sub { value($db, "SELECT count(*) FROM pg_stat_replication
	WHERE sync_state = 'sync'") });
$db->do("SELECT queue.enqueue('$_', '1')") for qw(plain durable);
my $receiver = value($there, 'SELECT pid FROM pg_stat_wal_receiver');
kill 'STOP', $receiver;
my $one = connect_db($primary, must => 1);
$one->do('SET queue.durable_claims = on');
my $claim = begin_call($one, "SELECT receipt FROM queue.dequeue('durable')");
ok(!call_ended($claim, 1),
	'hazard 30: a durable claim waits for the synchronous standby');
kill 'CONT', $receiver;
my $durable = end_call($claim);
like($durable, qr/^-?\d+$/, '... and returns when it is there');
# In a transaction that does not end: its end would have the claim written.
my $two = connect_db($primary, must => 1, transactions => 1);
my $plain = value($two, "SELECT receipt FROM queue.dequeue('plain')");
crash_server($primary, all => 1);
eval { $_->disconnect } for $db, $one, $two, $there;
$standby->promote;
wait_for_worker($standby);
$db = connect_db($standby, must => 1);
$db->do("ALTER SYSTEM SET synchronous_standby_names = ''");
$db->do('SELECT pg_reload_conf()');
is(value($db, "SELECT count(*) FROM queue.dequeue('durable')"), 0,
	'... the lease is known to the promoted standby');
is(value($db, "SELECT queue.ack('durable', ?)", $durable), 1,
	'... and its receipt is good');
my $again = value($db, "SELECT receipt FROM queue.dequeue('plain')");
like($again, qr/^-?\d+$/, '... another claim is forgotten, as documented');
is(value($db, "SELECT queue.ack('plain', ?)", $plain), 0,
	'... its receipt is good for nothing');
is(value($db, "SELECT queue.ack('plain', ?)", $again), 1,
	'... and the new one is');

is(value($db, "SELECT queue.ack_batch('replayed', ARRAY(SELECT receipt
	FROM queue.dequeue('replayed', 3000) ORDER BY id LIMIT 3000))"), 3000,
	'hazard 26: after promotion all replayed messages are delivered');
is(value($db, "SELECT body FROM queue.dequeue('replayed', wait => '20 s')"),
	'0', '... a delayed one too');
my $late = time - $due;
cmp_ok(abs($late), '<', 3, sprintf '... in time (%.2f s late)', $late);
is(crashed($standby), '', 'no crash');
$db->disconnect;
$standby->stop;

# --- 34: an update under load, and segments of another layout

my ($script) = glob qx($ENV{PG_CONFIG} --sharedir) =~ s/\n//r
  . '/extension/queue--*.sql';
my ($version) = $script =~ /queue--([^-]+)\.sql$/;
my $update = $script =~ s/\.sql$/--99.sql/r;
append_to_file($update, "CREATE FUNCTION queue.news() RETURNS int LANGUAGE sql
	AS 'SELECT 99';
ALTER TABLE queue.queue_def ADD COLUMN test_only int;\n");
my $node = new_server('update', conf => [ 'queue.segment_size = 1MB' ]);
$db = connect_db($node, must => 1);
is(value($db, "SELECT extversion FROM pg_extension WHERE extname = 'queue'"),
	$version, "version $version");
$db->do("SELECT queue.create('leased', visibility_timeout => '1 h')");
$db->do("SELECT queue.enqueue('leased', '1') FROM generate_series(1, 10)");
my @receipts = column($db, "SELECT receipt FROM queue.dequeue('leased', 10)");
create_load($node, 'load');
my $load = start_load($node, 'load');
sleep 1.5;
$db->do("ALTER EXTENSION queue UPDATE TO '99'");
is(value($db, 'SELECT queue.news()'), 99,
	'hazard 34: the extension is updated under load');
sleep 1.5;
ok(stop_load($load), '... which goes on');
is(value($db, "SELECT queue.ack_batch('leased', ?)", \@receipts), 10,
	'... receipts from before it are good');
check_load($node, $load, 'after an update');
unlink $update;

$db->do("SELECT queue.create('other')");
$db->do("SELECT queue.enqueue('other', '1')");
$db->do("UPDATE queue.segment_def SET layout = 2 WHERE queue_id =
	(SELECT id FROM queue.queue_def WHERE name = 'other')");
my $new = connect_db($node, must => 1);
for my $call ("dequeue('other')", "enqueue('other', '2')", "peek('other')",
	"pop('other')", "purge('other')")
{
	is(eval { $new->do("SELECT queue.$call"); 'done' } // $new->state, '55000',
		"hazard 34: $call refuses a segment of another layout");
}
$db->do('UPDATE queue.segment_def SET layout = 1');
$new = connect_db($node, must => 1);
is(value($new, "SELECT count(*) FROM queue.pop('other')"), 1,
	'... and finds it as it was');
is(crashed($node), '', 'no crash');
done_testing();
