# Truncation and those who read with an older snapshot: a dump or a report
# that was begun before an ack has the message or its result, never neither.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('snapshots', conf => [
	'queue.segment_size = 1MB', 'queue.truncate_grace = 10' ]);
my $dir = PostgreSQL::Test::Utils::tempdir;
my $db = connect_db($node, must => 1);

# Dumps under load.  The copies are checked as a server after a crash is.
create_load($node, 'load');
my $load = start_load($node, 'load', producers => 2, consumers => 2);
for my $i (1 .. 3)
{
	sleep 1.5;
	my $start = time;
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$i", 'postgres' ],
		"dump $i under load");
	cmp_ok(time - $start, '<', 10, '... within the grace');
}
ok(stop_load($load), 'no consumer got a message that was done already');
for my $i (1 .. 3)
{
	$db->do("CREATE DATABASE copy$i TEMPLATE template0");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', "copy$i",
			"$dir/$i" ], "dump $i is restored");
	check_load($node, { queue => 'load', files => [] }, "copy $i", "copy$i");
}
check_load($node, $load, 'the original');

# A reader that has its snapshot, but has not touched the queue yet.
sub fill_and_drain
{
	my ($q) = @_;
	$db->do("SELECT queue.create('$q')");
	$db->do("CREATE TABLE result_$q (id bigint)");
	$db->do("SELECT queue.enqueue('$q', to_jsonb(repeat('x', 1000)))
		FROM generate_series(1, 3000)");
	my $reader = connect_db($node, must => 1, transactions => 1);
	$reader->do('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
	value($reader, 'SELECT 1');
	$db->do("WITH m AS MATERIALIZED (
			SELECT * FROM queue.dequeue('$q', 3000)),
		a AS (SELECT queue.ack_batch('$q', ARRAY(SELECT receipt FROM m)))
		INSERT INTO result_$q SELECT id FROM m, a");
	return $reader;
}

sub seen
{
	my ($reader, $q) = @_;
	return value($reader, "SELECT (SELECT count(*) FROM queue.$q) +
		(SELECT count(*) FROM result_$q)");
}

sub size
{
	my ($q) = @_;
	return value($db, "SELECT sum(pg_relation_size(s.relation))
		FROM queue.segment_def s JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = ? AND s.chain = 'm'", $q);
}

# Within the grace, and once it has read, for as long as it likes.
$node->safe_psql('postgres', 'ALTER SYSTEM SET queue.truncate_grace = 3');
$node->reload;
my $reader = fill_and_drain('graced');
sleep 1.5;
is(seen($reader, 'graced'), 3000, 'a reader sees the messages in the grace');
sleep 6;
is(seen($reader, 'graced'), 3000, 'and after it, since it has begun to read');
$reader->rollback;
ok(wait_for_true(20, sub { size('graced') == 0 }),
	'when it has ended, the segment is truncated');

# Without a limit, for those that keep a snapshot for long.
$node->safe_psql('postgres', 'ALTER SYSTEM SET queue.truncate_grace = -1');
$node->reload;
$reader = fill_and_drain('patient');
sleep 5;
is(seen($reader, 'patient'), 3000, 'grace -1: the reader is waited for');
$reader->rollback;
ok(wait_for_true(20, sub { size('patient') == 0 }),
	'grace -1: then the segment is truncated');

# Without such a reader there is no need to wait.
$node->safe_psql('postgres', 'ALTER SYSTEM SET queue.truncate_grace = 600');
$node->reload;
$reader = fill_and_drain('early');
$reader->rollback;
ok(wait_for_true(20, sub { size('early') == 0 }),
	'nobody reads: the segment is truncated long before the grace is over');
is(crashed($node), '', 'no crash');
done_testing();
