# Segments come and go: bodies kept out of line survive it, the space comes
# back, and a message that stays behind is moved with its lease, also over a
# crash.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('rotation', conf => [
	'queue.segment_size = 1MB', 'queue.truncate_grace = 0',
	'queue.park_after = 2s' ]);
my $db = connect_db($node, must => 1);
$db->do('CREATE EXTENSION amcheck');

sub crash
{
	$db = crash_and_reconnect($node, $db);
	return;
}

# Long bodies, 20 MB in all, half of them taken when the segments are sealed;
# with a crash between.
$db->do("SELECT queue.create('long', visibility_timeout => '2 s')");
my $empty = queue_bytes($db, 'long');
$db->do('CREATE TABLE expected (id bigint PRIMARY KEY, digest text)');
for my $round (1 .. 10)
{
	$db->do("WITH m AS MATERIALIZED (SELECT i, (SELECT string_agg(md5(
				(i * 1000 + j)::text || random()), '')
			FROM generate_series(1, 1500) j) AS body
		FROM generate_series(1, 40) i)
		INSERT INTO expected
		SELECT queue.enqueue('long', to_jsonb(body)), md5(body) FROM m");
	# The worker closes full segments once a second.
	sleep 0.4;
	crash() if $round == 5;
}
my $sealed = "SELECT count(*) FROM queue.segment_def s
	JOIN queue.queue_def d ON d.id = s.queue_id
	WHERE d.name = ? AND s.chain = 'm' AND s.state = ?";
ok(wait_for_true(10, sub { value($db, $sealed, 'long', 's') >= 2 }),
	'there are several segments');
my ($right, $got) = (0, 0);
sub take
{
	my ($n) = @_;
	my $rows = $db->selectall_arrayref("SELECT m.id, m.receipt, e.digest,
			md5(m.body #>> '{}')
		FROM queue.dequeue('long', $n) m LEFT JOIN expected e USING (id)");
	for my $row (@$rows)
	{
		$got++;
		$right++ if $row->[2] eq $row->[3];
		value($db, "SELECT queue.ack('long', ?)", $row->[1]);
	}
	return scalar @$rows;
}
take(50) for 1 .. 4;
is($got, 200, 'half of it is taken');
crash();
wait_for_true(20, sub { take(50); $got >= 400 });
is($got, 400, 'the rest after a crash');
is($right, 400, 'every body is what was sent');
ok(wait_for_true(20, sub {
	queue_bytes($db, 'long') < $empty + 4 * 1024 * 1024 }),
	'the space comes back, that of the long bodies too')
  or diag(queue_bytes($db, 'long') - $empty);
for my $table (column($db, "SELECT c.oid::regclass FROM pg_class c
	JOIN pg_namespace n ON n.oid = relnamespace
	WHERE nspname = 'queue' AND relkind = 'r'"))
{
	is(value($db, "SELECT count(*) FROM verify_heapam(?)", $table), 0,
		"$table is sound");
}

# Segments are used again, so that their number does not grow.
my $tables = value($db, "SELECT count(*) FROM queue.segment_def");
for my $round (1 .. 4)
{
	$db->do("SELECT queue.enqueue('long', to_jsonb(repeat('x', 900)))
		FROM generate_series(1, 2500)");
	sleep 1.2;
	drain($db, 'long');
}
ok(wait_for_true(20, sub { value($db, $sealed, 'long', 's') == 0 }),
	'drained segments are truncated');
cmp_ok(value($db, 'SELECT count(*) FROM queue.segment_def'), '<=', $tables + 2,
	'and used again');

# Stragglers: leased for long while the others of their segment are done.
$db->do("SELECT queue.create('parked', retry_delay => '0')");
my @ids = column($db, "SELECT queue.enqueue('parked', to_jsonb(i))
	FROM generate_series(1, 8) i");
my @leases = @{ $db->selectall_arrayref(
	"SELECT id, receipt FROM queue.dequeue('parked', 8, '1 h')") };
my $where = "SELECT DISTINCT tableoid::regclass::text FROM queue.parked
	WHERE id <= ? ORDER BY 1";
my ($before) = column($db, $where, $ids[-1]);
# Whoever passes them, until they have been moved.
sub pass_by
{
	$db->do("SELECT queue.enqueue('parked', to_jsonb(repeat('x', 900)))
		FROM generate_series(1, 2500)");
	$db->do("SELECT queue.ack_batch('parked',
		ARRAY(SELECT receipt FROM queue.dequeue('parked', 5000)))");
	return;
}
ok(wait_for_true(30, sub {
	pass_by();
	sleep 1;
	join(' ', column($db, $where, $ids[-1])) ne $before }),
	'stragglers are moved');
is(value($db, 'SELECT count(*) FROM queue.parked WHERE id <= ?', $ids[-1]), 8,
	'all of them');
is(value($db, "SELECT count(*) FROM queue.dequeue('parked', 10)"), 0,
	'nobody else gets them');
ok(wait_for_true(20, sub {
	value($db, "SELECT pg_relation_size(?::regclass)", $before) == 0 }),
	'their old segment is truncated');
is(value($db, "SELECT queue.ack('parked', ?)", $leases[0][1]), 1,
	'ack by the old receipt');
is(value($db, "SELECT queue.ack('parked', ?)", $leases[0][1]), 0, 'once');
is(value($db, "SELECT queue.extend('parked', ?, '2 h')", $leases[1][1]), 1,
	'extend by the old receipt');
is(value($db, "SELECT queue.nack('parked', ?)", $leases[2][1]), 1,
	'nack by the old receipt');
is(value($db, "SELECT queue.release('parked', ?)", $leases[3][1]), 1,
	'release by the old receipt');
is(value($db, "SELECT queue.reject('parked', ?)", $leases[4][1]), 1,
	'reject by the old receipt');
my @again = column($db, "SELECT id FROM queue.dequeue('parked', 10, '1 h', '5 s')");
push @again, column($db, "SELECT id FROM queue.dequeue('parked', 10, '1 h')");
is(join(' ', sort @again), join(' ', sort $leases[2][0], $leases[3][0]),
	'what was given back is delivered');
is(value($db, "SELECT queue.ack_batch('parked', ?)",
		[ $leases[2][1], $leases[3][1] ]), 0,
	'and the old receipts are stale');
$db->begin_work;
is(value($db, "SELECT queue.ack('parked', ?)", $leases[5][1]), 1,
	'ack by the old receipt, in a transaction');
$db->rollback;
crash();
is(value($db, "SELECT queue.ack_batch('parked', ?)",
		[ $leases[1][1], $leases[5][1], $leases[6][1] ]), 3,
	'after a crash the old receipts still reach them');
is(value($db, "SELECT count(*) FROM queue.parked WHERE id <= ?", $ids[-1]), 4,
	'and nothing else is gone');

# Far-delayed messages are parked from the start, and delivered in time.
my $id = value($db, "SELECT queue.enqueue('parked', '\"later\"',
	delay => '4 s')");
my $start = time;
pass_by();
is(value($db, "SELECT id FROM queue.dequeue('parked', wait => '10 s')"), $id,
	'a parked message is delivered');
cmp_ok(abs(time - $start - 4), '<', 1, 'when its time has come');
is(crashed($node), '', 'no crash');
done_testing();
